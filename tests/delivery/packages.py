"""The tarball, the Debian package and the image each run the example on a bare Debian 12 that has nothing of the build machine.

    python tests/delivery/packages.py --px build/release/bin/px
The bare Debian is build/debian12/rootfs.tar (tools/setup.sh test); chroot and buildah need root.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "e2e"))
from lib.harness import EXAMPLE, check, main  # noqa: E402

WORK = pathlib.Path(tempfile.mkdtemp(prefix="px-delivery-"))
QUESTION = "What is the financial outlook?"
IMAGE_LIMIT_MB = 250


def run(*command, expect=0, timeout=600, **more):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", timeout=timeout, check=False, **more)
    text = f"{' '.join(map(str, command))[:300]}: exit {done.returncode}, expected {expect}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    check(expect is None or done.returncode == expect, text)
    return done


def packages(px):
    """Makes tarball and package once."""
    out = WORK / "out"
    if not out.exists():
        run(sys.executable, TOP / "tools/package/package.py", px.resolve().parents[1], out)
    return next(out.glob("*.tar.gz")), next(out.glob("*.deb"))


def bare_debian(name):
    """A new bare Debian 12 with the example, its orders made, in /example."""
    check(os.geteuid() == 0, "chroot needs root; next: run the delivery lane as root")
    tar = TOP / "build/debian12/rootfs.tar"
    check(tar.exists(), f"there is no {tar}; next: tools/setup.sh test")
    root = WORK / name
    root.mkdir()
    run("tar", "-C", root, "--numeric-owner", "-xf", tar)
    put_example(root / "example")
    return root


def put_example(folder):
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("landing", "lake", "index", "catalog.db*", ".px", ".env"))
    run(sys.executable, "make_orders.py", cwd=folder)


def chroot(root, command, expect=0):
    """Runs a shell line in there, with its own /proc and without the network."""
    script = f"mount -t proc proc {root}/proc && exec chroot {root} /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -ec '{command}'"
    return run("unshare", "--mount", "--net", "--pid", "--fork", "sh", "-ec", script, expect=expect)


def check_answer(text):
    answer = json.loads(text)
    check(answer["grounded"] and answer["citations"], f"no grounded answer: {text[:300]}")


def the_tarball_runs_the_example_on_a_bare_debian(px):
    tarball, _ = packages(px)
    root = bare_debian("tarball")
    (root / "some where").mkdir()
    run("tar", "-C", root / "some where", "--strip-components=1", "-xzf", tarball)
    linked = chroot(root, 'ldd "/some where/bin/px"').stdout
    check("not found" not in linked, linked)
    outside = [line for line in linked.splitlines() if "=> /lib" in line and "libc.so" not in line and "libm.so" not in line
               and "libdl.so" not in line and "libpthread.so" not in line and "libresolv.so" not in line and "librt.so" not in line]
    check(not outside, f"libraries of the machine are loaded: {outside}")
    chroot(root, 'cd /example; "/some where/bin/px" run')
    check_answer(chroot(root, f'cd /example; "/some where/bin/px" ask --json "{QUESTION}"').stdout)
    chroot(root, 'cd /example; "/some where/bin/px" run', expect=99)
    shutil.rmtree(root)


def the_tarball_says_what_is_in_it(px):
    tarball, _ = packages(px)
    folder = WORK / "unpacked"
    folder.mkdir()
    run("tar", "-C", folder, "--strip-components=1", "-xzf", tarball)
    bill = json.loads((folder / "sbom.spdx.json").read_text())
    listed = {file["fileName"] for file in bill["files"]}
    there = {"./" + str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != "sbom.spdx.json"}
    check(listed == there, f"bill and files differ: {sorted(listed ^ there)[:5]}")
    contained = {p["name"] for p in bill["packages"] if p["SPDXID"].startswith("SPDXRef-debian-")}
    licences = {p.stem for p in (folder / "share/doc/px/licences").glob("*.txt")}
    check(contained == licences and len(licences) > 15, f"licences and bill differ: {sorted(contained ^ licences)}")
    rpath = run("readelf", "-d", folder / "bin/px").stdout
    check("$ORIGIN/../lib]" in rpath and str(TOP) not in rpath, "px looks for libraries where it was built")
    man = folder / "share/man/man1/px.1"
    warned = run("man", "--warnings", "-E", "UTF-8", "-l", man, env={**os.environ, "MANWIDTH": "100", "MANPAGER": "cat"})
    check(not warned.stderr.strip(), f"man page: {warned.stderr}")
    for command in subprocess.run([px, "--help"], capture_output=True, text=True, check=True).stdout.split("Subcommands:")[1].split("\n"):
        name = command.split()[0] if command.startswith("  ") and not command.startswith("   ") else None
        check(name is None or f"px {name}" in warned.stdout, f"the man page lacks px {name}")
    for shell, file in (("bash", "share/bash-completion/completions/px"), ("zsh", "share/zsh/vendor-completions/_px"),
                        ("fish", "share/fish/vendor_completions.d/px.fish")):
        said = run(px, "completion", shell).stdout
        check((folder / file).read_text() == said and "quarantine" in said, f"completions for {shell} differ")
    run("bash", "-n", folder / "share/bash-completion/completions/px")


def the_debian_package_installs_runs_the_example_and_goes(px):
    _, package = packages(px)
    root = bare_debian("deb")
    shutil.copy(package, root / "px.deb")
    chroot(root, "dpkg --unpack /px.deb; DEBIAN_FRONTEND=noninteractive apt-get install -f -y --no-install-recommends --no-download; px --version")
    chroot(root, "chown -R px:px /example; cp -a /example/. /var/lib/px/; chown -R px:px /var/lib/px")
    as_service = "cd /var/lib/px; setpriv --reuid px --regid px --clear-groups /usr/bin/px"
    chroot(root, f"{as_service} run")
    check_answer(chroot(root, f'{as_service} ask --json "{QUESTION}"').stdout)
    check(chroot(root, "stat -c %a:%U:%G /etc/px/px.env").stdout.strip() == "640:root:px", "px.env is readable by others")
    check("/etc/px/px.env" in chroot(root, "cat /var/lib/dpkg/info/pipeline-x.conffiles").stdout, "px.env is no conffile")
    chroot(root, "dpkg --verify pipeline-x")
    # A changed setting survives the next installation; removal keeps the data.
    chroot(root, 'echo "# mine" >>/etc/px/px.env; dpkg -i --force-confold /px.deb; grep -q "# mine" /etc/px/px.env')
    chroot(root, "dpkg --purge pipeline-x; test ! -e /usr/bin/px; test ! -e /etc/px; test -e /var/lib/px/pipeline.yaml")
    shutil.rmtree(root)


def the_service_is_well_formed_and_locked_in(px):
    unit = WORK / "px.service"
    text = (TOP / "deploy/systemd/px.service").read_text()
    unit.write_text(text.replace("/usr/bin/px", str(px.resolve())).replace("man:px(1)", "https://localhost"))
    said = run("systemd-analyze", "verify", "--man=no", unit, expect=None)
    complaints = [line for line in said.stderr.splitlines() if "px.service" in line]
    check(not complaints, f"systemd complains: {complaints}")
    run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)


def the_image_is_small_and_runs_the_example_from_a_read_only_root(px):
    tarball, _ = packages(px)
    base = bare_debian("base")
    context = WORK / "context"
    context.mkdir()
    shutil.copy(tarball, context / "px.tar.gz")
    shutil.copy(TOP / "deploy/docker/root.sh", context / "root.sh")
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
    store = ["--storage-driver", "vfs", "--root", WORK / "store", "--runroot", WORK / "runroot"]
    container = run("buildah", *store, "from", "scratch", env=environment).stdout.strip()
    run("buildah", *store, "add", "--quiet", container, base, "/", env=environment)
    run("buildah", *store, "commit", "--quiet", "--rm", container, "localhost/debian12", env=environment)
    shutil.rmtree(base)
    run("buildah", *store, "bud", "--isolation", "chroot", "--pull-never", "--build-arg", "BASE=localhost/debian12", "--format", "docker",
        "-f", TOP / "deploy/docker/Dockerfile", "-t", "localhost/px", context, env=environment)
    facts = json.loads(run("buildah", *store, "inspect", "--type", "image", "localhost/px", env=environment).stdout)
    settings = facts["Docker"]["config"]
    check(settings["User"] == "10001:10001", f"user is {settings['User']}")
    check("/usr/bin/wget" in settings["Healthcheck"]["Test"], f"health check: {settings.get('Healthcheck')}")
    check(settings["Entrypoint"] == ["/usr/bin/px"] and settings["Cmd"] == ["up"], f"starts {settings['Entrypoint']} {settings['Cmd']}")
    container = run("buildah", *store, "from", "--pull-never", "localhost/px", env=environment).stdout.strip()
    root = pathlib.Path(run("buildah", *store, "mount", container, env=environment).stdout.strip())
    size = sum(p.lstat().st_size for p in root.rglob("*") if p.is_file() and not p.is_symlink()) / 1e6
    print(f"image: {size:.0f} MB unpacked", flush=True)
    check(size < IMAGE_LIMIT_MB, f"the image has {size:.0f} MB, the limit is {IMAGE_LIMIT_MB}")
    check((root / "sbom.spdx.json").exists() and not (root / "bin/sh").exists(), "bill of materials missing, or a shell in the image")
    set_id = [str(p) for p in root.rglob("*") if p.is_file() and not p.is_symlink() and p.lstat().st_mode & 0o6000]
    check(not set_id, f"set-id programs: {set_id}")

    data = WORK / "data"
    put_example(data)
    run("chown", "-R", "10001:10001", data)
    # Only /data and /tmp can be written, as with `read_only: true`; the user is the image's.
    in_image = lambda *words: run(  # noqa: E731
        "unshare", "--mount", "--pid", "--fork", "sh", "-ec",
        f"mount --bind {root} {root}; mount --bind {data} {root}/data; mount -t tmpfs tmpfs {root}/tmp; mount -t proc proc {root}/proc; "
        f"mount -o remount,bind,ro {root}; cd {root}; exec env -i PATH=/usr/bin HOME=/data /usr/sbin/chroot --userspec=10001:10001 {root} \"$@\"",
        "sh", *words)
    in_image("/usr/bin/px", "-f", "/data/pipeline.yaml", "run")
    check_answer(in_image("/usr/bin/px", "-f", "/data/pipeline.yaml", "ask", "--json", QUESTION).stdout)


if __name__ == "__main__":
    try:
        main([the_tarball_runs_the_example_on_a_bare_debian, the_tarball_says_what_is_in_it,
              the_debian_package_installs_runs_the_example_and_goes, the_service_is_well_formed_and_locked_in,
              the_image_is_small_and_runs_the_example_from_a_read_only_root])
    finally:
        shutil.rmtree(WORK, ignore_errors=True)

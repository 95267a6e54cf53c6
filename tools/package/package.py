"""Makes what is handed out: the relocatable tarball and the Debian package, each with licences and a bill of materials.

    python3 tools/package/package.py BUILD_DIR OUT_DIR [tarball] [deb]        (make package)

tarball  px-VERSION-linux-x86_64.tar.gz: px, every shared library it needs besides the C library (glibc 2.36 or newer), PDFium,
         DuckDB, the model, man page, completions. Unpack it anywhere; bin/px finds the rest beside itself.
deb      pipeline-x_VERSION_amd64.deb for Debian 12 (there, a package `px` is another program): the system's libraries by `Depends` (computed by dpkg-shlibdeps), a user and a
         systemd unit.
The same input gives the same bytes: times are those of SOURCE_DATE_EPOCH (default: the last commit), owners root.
"""
import datetime
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import man_page
import sbom

TOP = pathlib.Path(__file__).resolve().parents[2]
FREE_MB = 1500
# The C library and its loader come from the machine: another one's would not fit its kernel interface and locales.
GLIBC = re.compile(r"^(ld-linux-x86-64|libc|libm|libdl|libpthread|librt|libresolv|libutil|libanl|libnss_\w+)\.so")
NEEDED = {"patchelf": "patchelf", "strip": "binutils", "dpkg-deb": "dpkg", "dpkg-shlibdeps": "dpkg-dev", "tar": "tar",
          "gzip": "gzip"}


def stop(what, hint):
    print(f"package: {what}; next: {hint}", file=sys.stderr)
    raise SystemExit(1)


def run(*command, **more):
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)
    if done.returncode != 0:
        text = (done.stderr or done.stdout).strip()
        if "No space left" in text:
            stop("the disk is full", "free some space and repeat the same command")
        stop(f"`{' '.join(map(str, command))[:200]}` failed: {text[-800:]}", "mend that and repeat the same command")
    return done.stdout


def needed_libraries(*programs):
    """Name to file of every shared library that the programs load at their start, transitively."""
    found = {}
    for program in programs:
        for line in run("ldd", program).splitlines():
            words = line.split()
            if "not found" in line:
                stop(f"{program} needs {words[0]}, which is not here", "make build")
            if "=>" in words and words[2].startswith("/"):
                found[words[0]] = pathlib.Path(words[2])
    return found


def stage_program(build, target, rpath_option):
    """bin/px, lib/, share/px/models below target: what px needs beside itself."""
    for folder in ("bin", "lib", "share/px/models"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(build / "bin" / "px", target / "bin" / "px")
    run("strip", "--strip-unneeded", target / "bin" / "px")
    # Only beside the program: the folder of the build machine goes away.
    run("patchelf", *rpath_option, "--set-rpath", "$ORIGIN/../lib", target / "bin" / "px")
    for name in ("libduckdb.so", "libpdfium.so"):
        shutil.copy(build / "lib" / name, target / "lib" / name)
        run("strip", "--strip-unneeded", target / "lib" / name)
    model = pathlib.Path("share/px/models/all-MiniLM-L6-v2")
    # What is read of a model's folder, and what tells its licence; not the trainer's lists.
    shutil.copytree(build / model, target / model, ignore=shutil.ignore_patterns("data_config.json", ".gitattributes"),
                    dirs_exist_ok=True)


def stage_documents(px, target, version, day):
    """Man page and completions, from px's own mouth."""
    man = target / "share/man/man1/px.1"
    man.parent.mkdir(parents=True, exist_ok=True)
    man.write_text(man_page.man_page(px, version, day), encoding="utf-8")
    for shell, name in (("bash", "share/bash-completion/completions/px"), ("zsh", "share/zsh/vendor-completions/_px"),
                        ("fish", "share/fish/vendor_completions.d/px.fish")):
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(run(px, "completion", shell), encoding="utf-8")


def stage_licences(folder, debian_parts):
    """The copyright file of every Debian package whose library is carried along, and the table of all parts."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(TOP / "docs" / "dependencies.md", folder / "parts.md")
    for name, copyright_file in debian_parts.items():
        if not copyright_file.exists():
            stop(f"Debian's package {name} has no copyright file here", f"apt-get install --reinstall {name}")
        shutil.copy(copyright_file, folder / f"{name}.txt")


def set_times_and_modes(root, epoch):
    for path in [*root.rglob("*"), root]:
        if not path.is_symlink():
            is_program = path.is_dir() or path.parent.name == "bin" or path.parent.name == "DEBIAN" and path.suffix == "" \
                and path.name in ("postinst", "prerm", "postrm")
            path.chmod(0o755 if is_program else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def make_tarball(build, out, version, epoch, work):
    name = f"px-{version}-linux-x86_64"
    root = work / name
    stage_program(build, root, ["--force-rpath"])  # DT_RPATH: it holds for the libraries' libraries, too
    debian_parts, versions = {}, set()
    for library, file in sorted(needed_libraries(root / "bin/px", root / "lib/libpdfium.so").items()):
        if GLIBC.match(library) or file.is_relative_to(root):
            continue
        shutil.copy(file.resolve(), root / "lib" / library)
        package = sbom.debian_package_of(file)
        if package is None:
            stop(f"{file} is of no Debian package, so its licence is not known", "build on Debian 12 with its own libraries")
        debian_parts[package[0]] = package[2]
        versions.add(package[:2])
    day = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc)
    stage_documents(root / "bin/px", root, version, day.strftime("%Y-%m-%d"))
    stage_licences(root / "share/doc/px/licences", debian_parts)
    shutil.copy(TOP / "README.md", root / "share/doc/px/README.md")
    shutil.copytree(TOP / "examples" / "company", root / "share/px/examples/company",
                    ignore=shutil.ignore_patterns("landing", "lake", "index", "catalog.db*", ".px", ".env", "__pycache__"))
    (root / "sbom.spdx.json").write_text(sbom.bill(version, day.strftime("%Y-%m-%dT%H:%M:%SZ"), root, versions),
                                         encoding="utf-8")
    set_times_and_modes(root, epoch)
    file = out / f"{name}.tar.gz"
    part = file.with_suffix(".part")
    with open(part, "wb") as stream:
        tar = subprocess.Popen(["tar", "-C", work, "--sort=name", f"--mtime=@{epoch}", "--owner=0", "--group=0", "--numeric-owner",
                                "-c", name], stdout=subprocess.PIPE)
        gzip = subprocess.run(["gzip", "-n", "-4"], stdin=tar.stdout, stdout=stream)
        if tar.wait() != 0 or gzip.returncode != 0:
            stop(f"{part} could not be written", "free some space (1.5 GB) and repeat the same command")
    part.rename(file)
    return file


def make_deb(build, out, version, epoch, work):
    root = work / "deb"
    home = root / "usr/lib/px"
    stage_program(build, home, [])
    usr = root / "usr"
    (usr / "bin").mkdir()
    (usr / "bin/px").symlink_to("../lib/px/bin/px")
    day = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc)
    stage_documents(home / "bin/px", usr, version, day.strftime("%Y-%m-%d"))
    run("gzip", "-n", "-9", usr / "share/man/man1/px.1")
    document = usr / "share/doc/pipeline-x"
    document.mkdir(parents=True)
    shutil.copy(TOP / "docs/dependencies.md", document / "copyright")
    shutil.copytree(TOP / "examples" / "company", document / "examples/company",
                    ignore=shutil.ignore_patterns("landing", "lake", "index", "catalog.db*", ".px", ".env", "__pycache__"))
    for source, target in (("systemd/px.service", "usr/lib/systemd/system/px.service"),
                           ("debian/px.env", "etc/px/px.env")):
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / "deploy" / source, root / target)
    (document / "sbom.spdx.json").write_text(sbom.bill(version, day.strftime("%Y-%m-%dT%H:%M:%SZ"), root, set()), encoding="utf-8")

    # dpkg-shlibdeps wants a source package's control file beside it.
    (work / "debian").mkdir()
    (work / "debian/control").write_text("Source: pipeline-x\n\nPackage: pipeline-x\nArchitecture: amd64\n")
    depends = run("dpkg-shlibdeps", "-O", f"-l{home / 'lib'}", "-xpipeline-x", home / "bin/px", home / "lib/libpdfium.so",
                  home / "lib/libduckdb.so", cwd=work)
    match = re.search(r"^shlibs:Depends=(.+)$", depends, re.MULTILINE)
    if match is None:
        stop(f"dpkg-shlibdeps named no dependency: {depends.strip()[:200]}", "see that px is linked with Debian's libraries")
    control = root / "DEBIAN"
    shutil.copytree(TOP / "deploy/debian/control", control)
    size_kb = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink()) // 1024
    text = (control / "control").read_text(encoding="utf-8")
    for key, value in (("VERSION", version), ("DEPENDS", match[1] + ", adduser, ca-certificates, tzdata"), ("SIZE", str(size_kb))):
        text = text.replace(f"@{key}@", value)
    (control / "control").write_text(text, encoding="utf-8")
    sums = [f"{run('md5sum', path).split()[0]}  {path.relative_to(root)}" for path in sorted(root.rglob("*"))
            if path.is_file() and not path.is_symlink() and control not in path.parents]
    (control / "md5sums").write_text("\n".join(sums) + "\n")
    set_times_and_modes(root, epoch)
    (root / "etc/px/px.env").chmod(0o640)
    file = out / f"pipeline-x_{version}_amd64.deb"
    part = file.with_suffix(".part")
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z4", "--build", root, part, env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)})
    part.rename(file)
    return file


def main():
    if len(sys.argv) < 3 or not set(sys.argv[3:]) <= {"tarball", "deb"}:
        print(__doc__, file=sys.stderr)
        raise SystemExit(2)
    build, out, kinds = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve(), sys.argv[3:] or ["tarball", "deb"]
    missing = sorted({package for tool, package in NEEDED.items() if shutil.which(tool) is None})
    if missing:
        stop(f"missing tools: {' '.join(missing)}", f"make package, or as root: apt-get install {' '.join(missing)}")
    if not (build / "bin/px").exists():
        stop(f"there is no {build}/bin/px", "make build")
    out.mkdir(parents=True, exist_ok=True)
    free_mb = shutil.disk_usage(out).free >> 20
    if free_mb < FREE_MB:
        stop(f"{out} has {free_mb} MB free, packaging needs {FREE_MB}", "free some space and repeat the same command")
    version = run(build / "bin/px", "--version").split()[-1]
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or run("git", "-C", TOP, "log", "-1", "--format=%ct"))
    for kind in kinds:
        with tempfile.TemporaryDirectory(dir=out, prefix=".work-") as work:
            make = make_tarball if kind == "tarball" else make_deb
            file = make(build, out, version, epoch, pathlib.Path(work))
        print(f"{file} ({file.stat().st_size / 1e6:.0f} MB)")


if __name__ == "__main__":
    main()

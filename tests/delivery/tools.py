"""The scripts behind the Makefile: what they refuse and how, what the documents say of them, the .env with its mode."""
import os
import pathlib
import re
import stat
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests" / "e2e"))
from lib.harness import check, main  # noqa: E402


def refused(expected, *command, code=1, **more):
    done = subprocess.run([str(word) for word in command], cwd=TOP, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
                          check=False, **more)
    said = done.stdout + done.stderr
    check(done.returncode == code and expected in said, f"{command}: exit {done.returncode}, said {said[-400:]}")
    check(code == 2 or "next: " in said, f"{command} does not say what to do: {said}")


def make_help_lists_every_target(_):
    makefile = (TOP / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    helped = set(re.findall(r"^  make (\S+)", subprocess.run(["make", "help"], cwd=TOP, capture_output=True, text=True, check=True).stdout,
                            re.MULTILINE))
    check(targets == helped, f"make help and the Makefile differ: {sorted(targets ^ helped)}")
    phony = set(re.search(r"^\.PHONY:((?:.*\\\n)*.*)", makefile, re.MULTILINE)[1].replace("\\", " ").split())
    check(phony == targets, f".PHONY differs: {sorted(phony ^ targets)}")
    for file in [TOP / "README.md", *(TOP / "docs").glob("*.md")]:
        for target in re.findall(r"`make ([a-z-]+)", file.read_text(encoding="utf-8")):
            check(target in targets, f"{file.name} speaks of make {target}")


def the_documents_cost_table_is_what_the_script_computes(_):
    said = subprocess.run([sys.executable, TOP / "tools/azure_cost.py", "--ratio", "0.455"], capture_output=True, text=True, check=True).stdout
    check(said in (TOP / "docs/infrastructure.md").read_text(encoding="utf-8"), f"docs/infrastructure.md has another table; computed:\n{said}")
    refused("--ratio", sys.executable, TOP / "tools/azure_cost.py", "--ratio", "7", code=2)


def what_is_missing_is_said_with_what_to_do(_):
    with tempfile.TemporaryDirectory(prefix="px-delivery-") as folder:
        empty = pathlib.Path(folder)
        refused("make build", sys.executable, "tools/package/package.py", empty, empty / "out")
        (empty / "bin").mkdir()
        (empty / "bin/bash").symlink_to("/bin/bash")
        (empty / "bin/dirname").symlink_to("/usr/bin/dirname")
        few = {"PATH": str(empty / "bin")}
        refused("apt-get install", sys.executable, "tools/package/package.py", empty, empty / "out", env=few)
        refused("there is no program 'terraform'", "/bin/bash", "tools/infra.sh", "plan", env=few)
        refused("ENV=staging or ENV=prod", "/bin/bash", "tools/infra.sh", "plan", env={**few, "ENV": "nowhere"})
        refused("usage", "/bin/bash", "tools/infra.sh", "destroy", code=2, env=few)
        refused("neither docker nor buildah", "/bin/bash", "tools/docker.sh", "build", env=few)
        refused("docker compose does not answer", "/bin/bash", "tools/docker.sh", "up", "minimal", env=few)
        refused("PROFILE=minimal or PROFILE=full", "/bin/bash", "tools/docker.sh", "up", "huge", env=few)


def the_env_file_is_for_its_owner_alone(_):
    """`make infra-env` over stand-ins for terraform and az: names and password arrive, nobody else may read them."""
    with tempfile.TemporaryDirectory(prefix="px-delivery-") as folder:
        top = pathlib.Path(folder)
        for name in ("tools", "bin", "infra/environments", "infra/.terraform"):
            (top / name).mkdir(parents=True)
        (top / "tools/infra.sh").write_bytes((TOP / "tools/infra.sh").read_bytes())
        (top / "infra/environments/staging.tfvars").write_text("")
        (top / "bin/terraform").write_text("#!/bin/sh\ncase $3 in\nvault) echo '{\"name\": \"kv\", \"secret\": \"postgres-password\"}' ;;\n"
                                           "env) echo '{\"POSTGRES_HOST\": \"db.example\", \"POSTGRES_USER\": \"px\"}' ;;\nesac\n")
        (top / "bin/az").write_text("#!/bin/sh\necho \"$*\" >>\"$0.log\"\necho p4ss\n")
        for name in ("terraform", "az"):
            (top / "bin" / name).chmod(0o755)
        done = subprocess.run(["/bin/bash", top / "tools/infra.sh", "env"], capture_output=True, text=True, check=False,
                              env={"PATH": f"{top / 'bin'}:{os.environ['PATH']}"})
        check(done.returncode == 0 and "p4ss" not in done.stdout + done.stderr, f"exit {done.returncode}: {done.stderr}")
        file = top / "build/infra-staging.env"
        check(stat.S_IMODE(file.stat().st_mode) == 0o600, f"mode {oct(file.stat().st_mode)}")
        check(file.read_text() == "POSTGRES_HOST=db.example\nPOSTGRES_USER=px\nPOSTGRES_PASSWORD=p4ss\n", file.read_text())
        check("--vault-name kv --name postgres-password" in (top / "bin/az.log").read_text(), "az was asked for another secret")


if __name__ == "__main__":
    main([make_help_lists_every_target, the_documents_cost_table_is_what_the_script_computes, what_is_missing_is_said_with_what_to_do,
          the_env_file_is_for_its_owner_alone])

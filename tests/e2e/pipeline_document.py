"""docs/formats/pipeline.md is true: it names every key px knows, and px accepts its example.

    python tests/e2e/pipeline_document.py --px build/release/bin/px
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = (TOP / "docs" / "formats" / "pipeline.md").read_text(encoding="utf-8")


def known_keys(px, folder):
    """Keys as px tells them: an unknown key in each mapping is answered by the list of those it knows."""
    probes = {
        "top": "{}zzzzzzzz: 1",
        "schedule": "schedule: {{{}zzzzzzzz: 1}}",
        "retries": "retries: {{{}zzzzzzzz: 1}}",
        "source": "sources: {{s: {{{}zzzzzzzz: 1}}}}",
        "csv": "sources: {{s: {{csv: {{{}zzzzzzzz: 1}}}}}}",
        "sql": "sources: {{s: {{sql: {{{}zzzzzzzz: 1}}}}}}",
        "contract": "contracts: {{c: {{{}zzzzzzzz: 1}}}}",
        "column": "contracts: {{c: {{columns: [{{{}zzzzzzzz: 1}}]}}}}",
        "quarantine": "contracts: {{c: {{columns: [{{name: a}}], quarantine: {{{}zzzzzzzz: 1}}}}}}",
        "check": "contracts: {{c: {{columns: [{{name: a}}], checks: [{{{}zzzzzzzz: 1}}]}}}}",
        "model": "models: {{m: {{{}zzzzzzzz: 1}}}}",
        "landing": "landing: {{{}zzzzzzzz: 1}}",
        "engine": "engine: {{{}zzzzzzzz: 1}}",
        "chunking": "chunking: {{{}zzzzzzzz: 1}}",
        "embedding": "embedding: {{{}zzzzzzzz: 1}}",
        "serve": "serve: {{{}zzzzzzzz: 1}}",
    }
    for name, probe in probes.items():
        (folder / "pipeline.yaml").write_text("pipeline: p\n" + probe.format(""), encoding="utf-8")
        done = subprocess.run([px, "config", "show"], cwd=folder, capture_output=True, text=True, check=False)
        known = re.search(r"Known keys: (.*)", done.stderr)
        if done.returncode != 2 or not known:
            sys.exit(f"{name}: an unknown key gave exit {done.returncode}: {done.stderr}")
        yield name, known[1].strip().split(", ")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px", required=True, type=pathlib.Path)
    px = parser.parse_args().px.resolve()
    words = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`\n]+)`", DOCUMENT))))
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        count = 0
        for where, keys in known_keys(px, folder):
            count += len(keys)
            missing = [key for key in keys if key not in words]
            if missing:
                sys.exit(f"docs/formats/pipeline.md does not mention {', '.join(missing)} ({where})")
        example = re.findall(r"```yaml\n(.*?)```", DOCUMENT, flags=re.DOTALL)[-1]
        (folder / "pipeline.yaml").write_text(example, encoding="utf-8")
        done = subprocess.run([px, "--json", "config", "show"], cwd=folder, capture_output=True, text=True, check=False,
                              env={**os.environ, "CRM_DATABASE": "sqlite:crm.db"})
        if done.returncode != 0:
            sys.exit(f"px refuses the example of docs/formats/pipeline.md:\n{done.stderr}")
        settings = {setting["key"]: setting for setting in json.loads(done.stdout)}
        for key, value, origin in [("sources.customers.sql.connection", "***", "pipeline.yaml"),
                                   ("chunking.size", "800", "pipeline.yaml"), ("embedding.kernel", "", "default")]:
            found = settings.get(key, {"value": None, "origin": ""})
            if found["value"] != value or not found["origin"].startswith(origin):
                sys.exit(f"{key} is {found}, expected {value!r} from {origin}")
    print(f"{count} keys, one example")


if __name__ == "__main__":
    main()

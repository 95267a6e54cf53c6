"""The command line as a demanding person meets it: what it refuses, what it prints, what it says to do next.

    python tests/e2e/commands.py --px build/release/bin/px
"""

import csv
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from lib.harness import Home, check, main, small_home


def published(px):
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    return home


def says(done, *words):
    text = done.stdout + done.stderr
    for word in words:
        check(word in text, f"'{word}' is not in: {text}")


def verify_says_ok_of_nothing_it_did_not_check(px):
    home = published(px)
    for text in ("", "\n", "{}", "[]", "null", '{"error": {"code": "NotFound"}}', '{"citations": [{}]}', '{"citations": [3]}', "no json"):
        says(home.run("verify", "-", stdin=text, expect=2), "this is no answer of px ask --json")
    answer = home.run("--json", "ask", "What is the outlook of site 3?", expect=0).stdout
    home.run("verify", "-", stdin=answer, expect=0)
    home.run("verify", "-", stdin=json.dumps(json.loads(answer), indent=2), expect=0)
    for path in (home.folder / "landing").rglob("*.csv"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b"pallets", b"parcels"))
    done = home.run("verify", "-", stdin=answer, expect=1)
    check("ok  " not in done.stdout and "not checked: quote" in done.stdout, done.stdout)
    for line in home.run("--json", "verify", "-", stdin=answer, expect=1).stdout.splitlines():
        steps = json.loads(line)["steps"]
        check(not any(step["passed"] for step in steps) and [step["checked"] for step in steps] == [True] + [False] * 4, line)
    home.remove()


if __name__ == "__main__":
    os.environ.setdefault("PX_LOG", "warning")
    main([function for name, function in list(globals().items())
          if callable(function) and getattr(function, "__module__", "") == "__main__" and name not in ("published", "says")])

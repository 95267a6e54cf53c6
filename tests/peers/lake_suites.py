"""Compares what tool_lake_demo reads of every table of the public Delta suites with what delta-rs reads: version, files, row counts. A table
that delta-rs reads and we refuse must be refused for a feature or a column type; one that delta-rs refuses must be refused by us.

    python tests/peers/lake_suites.py --px-bin build/dev/bin
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
from urllib.parse import unquote, urlparse

import deltalake

failures = []


def check(condition, message):
    if not condition:
        failures.append(message)
        print("FAILED:", message, file=sys.stderr)


def by_delta_rs(table):
    opened = deltalake.DeltaTable(table)
    actions = opened.get_add_actions()
    rows = None
    if "num_records" in actions.schema.names:
        counts = actions.column("num_records").to_pylist()
        rows = None if None in counts else sum(counts)
    files = []
    for uri in opened.file_uris():
        path = unquote(urlparse(uri).path) if uri.startswith("file:") else uri
        files.append(os.path.relpath(path, os.path.abspath(table)))
    return opened.version(), sorted(files), rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", type=pathlib.Path, required=True)
    px_bin = parser.parse_args().px_bin.resolve()
    suites = pathlib.Path(__file__).resolve().parents[2] / "../shared/data/suites"
    tables = sorted(log.parent for name in ("dat", "delta-rs") for log in (suites / name).rglob("_delta_log"))
    check(len(tables) >= 75, f"the suites have {len(tables)} tables")
    equal = refused = 0
    for table in tables:
        name = os.path.relpath(table, suites)
        ours = json.loads(subprocess.run([str(px_bin / "tool_lake_demo"), "describe", str(table.resolve())], capture_output=True, text=True,
                                         check=True).stdout)
        try:
            version, files, rows = by_delta_rs(str(table.resolve()))
        except Exception as error:  # delta-rs refuses it
            check("error" in ours, f"{name}: delta-rs refuses it ({str(error)[:100]}), we read {ours.get('version')}")
            refused += 1
            continue
        if "error" in ours:
            named = any(word in ours["message"] for word in ("table feature", "has type"))
            check(ours["error"] == "InvalidArgument" and named, f"{name}: refused without naming a feature or column: {ours['message']}")
            refused += 1
            continue
        check(ours["version"] == version, f"{name}: version {ours['version']}, delta-rs {version}")
        found = sorted(file["path"] for file in ours["files"])
        check(found == files, f"{name}: {len(found)} files, delta-rs {len(files)}: {found[:2]} {files[:2]}")
        if files:
            check(rows is None or ours["rows"] is None or ours["rows"] == rows, f"{name}: {ours['rows']} rows, delta-rs {rows}")
        equal += 1
    if failures:
        sys.exit(f"{len(failures)} failures")
    print(f"lake_suites: {equal} tables equal to delta-rs, {refused} refused")


if __name__ == "__main__":
    main()

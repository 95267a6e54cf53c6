"""Points per second into Qdrant, and bytes of a point on the wire.

    build/venv-test/bin/python bench/qdrant_upsert.py [--build build/release] [--url http://HOST:6333] [--points 20000] [--width 384]

Without --url the server is the tests' stand-in: Qdrant's engine behind an interpreter, one request at a time. Its seconds say little about a real server;
the adapter's own processor time does not depend on it. With --url only the seconds are known, not the bytes."""

import argparse
import json
import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests/e2e/lib"))
from qdrant import Qdrant  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=TOP / "build/release", type=pathlib.Path)
    parser.add_argument("--url")
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=384)
    arguments = parser.parse_args()

    def measure(url):
        done = subprocess.run([arguments.build / "bin/tool_index_qdrant", url, "px-bench", str(arguments.points), str(arguments.width)],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        result = json.loads(done.stdout)
        print(f"{result['points']} points of {arguments.width} dimensions: {result['seconds']:.1f} s, {result['points'] / result['seconds']:.0f} points/s; "
              f"the adapter's own time {result['cpu_seconds']:.1f} s, {result['points'] / result['cpu_seconds']:.0f} points a processor second")

    if arguments.url:
        return measure(arguments.url)
    with Qdrant() as server:
        measure(server.url)
        rows = server.requests()
        upserts = [row for row in rows if row[0] == "PUT" and row[1].endswith("/points?wait=true")]
        sent = sum(row[2] for row in upserts)
        print(f"{len(rows)} requests, {len(upserts)} of them upserts of {sent / len(upserts) / 1e6:.2f} MB; {sent / arguments.points:.0f} bytes a point in upserts, "
              f"{(sum(row[2] for row in rows) - sent) / arguments.points:.0f} more in lists of the release")


if __name__ == "__main__":
    main()

"""Runs the benchmarks one after another: our figure beside the peers', same input, same machine, one run.

    python bench/run.py BUILD_DIR [PART]...        (make bench BENCH="chunk search_http")

Parts are the scripts beside this file. What they print is also in build/bench/<part>.txt; tables row by row in
build/bench/results.jsonl. Run it on a machine that does nothing else.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import time

from measure import BENCH, ROOT

HERE = pathlib.Path(__file__).resolve().parent
ORDER = ["chunk", "embed", "embed_ndcg", "csv_parquet", "end_to_end", "search_http", "memory"]
HEAVY = re.compile(r"^(?:import|from)\s+(torch|openvino|sentence_transformers|transformers)\b", re.MULTILINE)


def parts():
    """The scripts with a main that take --px-bin, in the order above, others behind."""
    found = [path.stem for path in HERE.glob("*.py") if path.name != "run.py" and
             re.search(r"^if __name__ ==", path.read_text(encoding="utf-8"), re.MULTILINE)]
    return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("parts", nargs="*")
    args = parser.parse_args()
    for name in args.parts:
        if name not in parts():
            parser.error(f"there is no part '{name}'; parts: {', '.join(parts())}")
    if not (ROOT.parent / "shared" / "data").is_dir():
        parser.exit(2, f"bench: the real input is missing; next: lay the shared data at {ROOT.parent / 'shared' / 'data'}\n")
    BENCH.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in args.parts or parts():
        script = HERE / f"{name}.py"
        heavy = HEAVY.search(script.read_text(encoding="utf-8"))
        python = ROOT / "build" / ("venv-reference" if heavy else "venv-test") / "bin" / "python"
        print(f"\n=== {name}", flush=True)
        started = time.monotonic()
        with open(BENCH / f"{name}.txt", "w", encoding="utf-8") as copy:
            process = subprocess.Popen([python, "-u", script, "--px-bin", args.build.resolve() / "bin"], cwd=ROOT,
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for line in process.stdout:
                copy.write(line)
                print(line, end="", flush=True)
        seconds = time.monotonic() - started
        if process.wait() != 0:
            failed.append(name)
        with open(BENCH / "results.jsonl", "a", encoding="utf-8") as stream:
            stream.write(json.dumps({"part": name, "exit": process.returncode, "seconds": round(seconds, 1),
                                     "output": (BENCH / f"{name}.txt").read_text(encoding="utf-8")}) + "\n")
        print(f"=== {name}: {'failed' if name in failed else 'done'} in {seconds:.0f} s", flush=True)
    print(f"\nbench: {', '.join(failed)} failed" if failed else "\nbench: all done", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

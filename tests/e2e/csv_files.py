"""Every file of shared/data/csv is ingested or refused with a clear error by px itself; none crashes or hangs."""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import SHARED, check, main  # noqa: E402

PIPELINE = """pipeline: one_file
sources:
  file: {csv: {path: "${env:ONE_FILE}", delimiter: auto, encoding: auto}, mode: snapshot}
"""
ENDINGS = (".csv", ".tsv", ".txt", ".gz", ".zst", ".psv")


def one(px, path):
    with tempfile.TemporaryDirectory(prefix="px-csv-") as folder:
        (pathlib.Path(folder) / "pipeline.yaml").write_text(PIPELINE)
        try:
            done = subprocess.run([px, "run", "--ds", "2026-11-20"], cwd=folder, timeout=60, capture_output=True,
                                  env={**os.environ, "ONE_FILE": str(path).replace("{", "?").replace("}", "?")}, check=False)
        except subprocess.TimeoutExpired:
            return "hang", f"{path}: still working after 60 s"
        text = done.stdout + done.stderr
        if done.returncode == 0:
            return "ingested", ""
        if done.returncode == 3:
            # A refusal names the file, and what is wrong with it.
            if path.name.encode() not in text or b"halted" not in text:
                return "unclear", f"{path}: {text.decode(errors='replace')}"
            return "refused", ""
        return "broken", f"{path}: exit {done.returncode}: {text.decode(errors='replace')[-600:]}"


def every_file_is_ingested_or_refused(px):
    files = sorted(p for p in (SHARED / "csv").rglob("*") if p.is_file() and p.name.endswith(ENDINGS))
    check(len(files) > 900, f"only {len(files)} files below {SHARED / 'csv'}")
    counts, problems = {}, []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for outcome, problem in pool.map(lambda path: one(px.resolve(), path), files):
            counts[outcome] = counts.get(outcome, 0) + 1
            if problem:
                problems.append(problem)
    print(f"      {len(files)} files: {counts}")
    check(not problems, f"{len(problems)} problems, the first ones:\n" + "\n".join(problems[:5]))


if __name__ == "__main__":
    main([every_file_is_ingested_or_refused])

"""Peak resident memory of ingesting a large generated CSV; above 1 GB the benchmark fails.

    python bench/memory.py --px-bin build/release/bin [--megabytes 4000] [--limit-mb 1000]

Needs about three times the size of the CSV as free disk space: the file, its landed copy, the lake.
"""
import argparse
import json
import pathlib
import shutil
import sys

from csv_parquet import PEER
from measure import BENCH, csv_pipeline, generated_csv, run, table


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--megabytes", type=int, default=4000)
    parser.add_argument("--limit-mb", type=int, default=1000)
    args = parser.parse_args()
    px = (args.px_bin / "px").resolve()
    BENCH.mkdir(parents=True, exist_ok=True)
    free_mb = shutil.disk_usage(BENCH).free / 1e6
    if free_mb < 3 * args.megabytes:
        raise SystemExit(f"{free_mb:.0f} MB are free under {BENCH}; next: free {3 * args.megabytes} MB, or --megabytes less")
    source, rows = generated_csv(args.megabytes * 1_000_000)
    results = []
    try:
        for name, unique_id in (("px run", False), ("px run, ids unique", True)):
            folder = BENCH / "memory"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            csv_pipeline(folder, source, unique_id)
            done = run([px, "--quiet", "--json", "run", "--ds", "2026-01-01"], cwd=folder)
            accepted = json.loads(done.output)["sources"][0]["accepted"]
            shutil.rmtree(folder)
            if accepted != rows:
                raise SystemExit(f"{name}: {accepted} rows accepted of {rows}")
            results.append((name, done))
        for name, kind in (("DuckDB", "duckdb"), ("Polars", "polars")):
            target = BENCH / f"peer-{kind}.parquet"
            results.append((name, run([sys.executable, "-c", PEER, kind, source, target])))
            target.unlink()
    finally:
        source.unlink()
        source.with_suffix(".rows").unlink()
    table(f"Peak memory: a CSV of {args.megabytes} MB, {rows:,} rows; px may use {args.limit_mb} MB",
          ["program", "peak MB", "wall s", "CPU-s"],
          [[name, f"{done.rss_bytes / 1e6:.0f}", f"{done.wall_s:.1f}", f"{done.cpu_s:.1f}"] for name, done in results])
    worst = max(done.rss_bytes for name, done in results if name.startswith("px"))
    if worst > args.limit_mb * 1e6:
        sys.exit(f"px used {worst / 1e6:.0f} MB, more than {args.limit_mb} MB")


if __name__ == "__main__":
    main()

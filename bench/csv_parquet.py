"""CSV to Snappy Parquet, MB per CPU-second, beside DuckDB and Polars: same file, same machine, one run, every column typed.

    python bench/csv_parquet.py --px-bin build/release/bin [--megabytes 500] [--rounds 3]

px does more than the others: it lands the file (copy and SHA-256), judges each record against the contract, notes line
and byte range of every row, commits a Delta table and publishes a release; all of it is in its figure. The best of the
rounds counts for each. CPU seconds are user + system of all threads; the peers' without starting Python.
"""
import argparse
import json
import pathlib
import shutil
import sys

import duckdb

from measure import BENCH, COLUMNS, csv_pipeline, generated_csv, run, run_phases, table

PEER = '''
import json, os, resource, sys
kind, source, target = sys.argv[1:4]
if kind == "duckdb":
    import duckdb
    connection = duckdb.connect()
    connection.execute("SET enable_progress_bar=false")
    types = "{'id':'VARCHAR','title':'VARCHAR','author':'VARCHAR','published_at':'TIMESTAMP','category':'VARCHAR','revenue':'DECIMAL(18,2)','text':'VARCHAR'}"
    work = lambda: connection.execute(f"COPY (SELECT * FROM read_csv('{source}', header=true, delim=',', quote='\\"', escape='\\"', columns={types}, auto_detect=false)) TO '{target}' (FORMAT parquet, COMPRESSION snappy)")
else:
    import polars
    schema = {"id": polars.String, "title": polars.String, "author": polars.String, "published_at": polars.Datetime("us"),
              "category": polars.String, "revenue": polars.Decimal(18, 2), "text": polars.String}
    work = lambda: polars.scan_csv(source, schema=schema).sink_parquet(target, compression="snappy")
before = resource.getrusage(resource.RUSAGE_SELF)
work()
after = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}))
'''


def content(connection, files):
    """What every output must agree on."""
    return connection.execute(
        f"SELECT count(*), sum(revenue), min(published_at)::TIMESTAMP, max(published_at)::TIMESTAMP, "
        f"sum(length(text)), count(DISTINCT author) FROM read_parquet('{files}')").fetchone()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    px = (args.px_bin / "px").resolve()
    source, rows = generated_csv(args.megabytes * 1_000_000)
    megabytes = source.stat().st_size / 1e6
    connection = duckdb.connect()
    connection.execute("SET TimeZone='UTC'")
    best, contents, sizes, phases = {}, {}, {}, {}

    def note(name, cpu_s, wall_s, rss_bytes):
        if name not in best or cpu_s < best[name][0]:
            best[name] = (cpu_s, wall_s, rss_bytes)

    for _ in range(args.rounds):
        for name, unique_id in (("px run", False), ("px run, ids unique", True)):
            folder = BENCH / "csv_parquet"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            csv_pipeline(folder, source, unique_id)
            done = run([px, "--quiet", "run", "--ds", "2026-01-01"], cwd=folder)
            note(name, done.cpu_s, done.wall_s, done.rss_bytes)
            files = folder / "lake" / "reports"
            contents[name] = content(connection, f"{files}/**/*.parquet")
            sizes[name] = sum(file.stat().st_size for file in files.rglob("*.parquet"))
            phases[name] = run_phases(px, folder)
            shutil.rmtree(folder)
        for name, kind in (("DuckDB", "duckdb"), ("Polars", "polars")):
            target = BENCH / f"peer-{kind}.parquet"
            target.unlink(missing_ok=True)
            done = run([sys.executable, "-c", PEER, kind, source, target])
            note(name, json.loads(done.output.splitlines()[-1])["cpu_s"], done.wall_s, done.rss_bytes)
            contents[name] = content(connection, target)
            sizes[name] = target.stat().st_size
            target.unlink()
    expected = contents["DuckDB"]
    for name, found in contents.items():
        if found != expected or found[0] != rows:
            raise SystemExit(f"{name} wrote {found}, DuckDB {expected}, generated were {rows} rows")
    table(f"CSV to Snappy Parquet: {megabytes:.0f} MB, {rows:,} rows, {len(COLUMNS)} typed columns, best of {args.rounds}",
          ["program", "CPU-s", "wall s", "MB per CPU-s", "peak MB", "output/CSV"],
          [[name, f"{cpu_s:.2f}", f"{wall_s:.2f}", f"{megabytes / cpu_s:.0f}", f"{rss_bytes / 1e6:.0f}",
            f"{sizes[name] / megabytes / 1e6:.3f}"] for name, (cpu_s, wall_s, rss_bytes) in best.items()])
    for name, parts in phases.items():
        print(f"{name}, wall seconds of its last round: " + ", ".join(f"{part} {s:.2f}" for part, s in parts.items()))


if __name__ == "__main__":
    main()

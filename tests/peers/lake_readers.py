"""Lets tool_lake_demo write Delta tables (appends, partition overwrites, schema growth, a checkpoint, escaped names), reads every
version with delta-rs, Polars and DuckDB's delta extension, and compares rows and sums with the data files themselves. Then delta-rs
appends, overwrites and checkpoints, and our reader and writer go on from there.

    python tests/peers/lake_readers.py --px-bin build/dev/bin
"""
import argparse
import datetime
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import deltalake
import duckdb
import duckdb_extension_delta
import polars
import pyarrow
import pyarrow.parquet

failures = []


def check(condition, message):
    if not condition:
        failures.append(message)
        print("FAILED:", message, file=sys.stderr)


def tool(px_bin, *words):
    done = subprocess.run([str(px_bin / "tool_lake_demo"), *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"tool_lake_demo {' '.join(map(str, words))}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def open_duckdb():
    folder = pathlib.Path(duckdb_extension_delta.__file__).parent / "extensions"
    extension = next(folder.glob(f"v{duckdb.__version__}/delta.duckdb_extension"), None)
    if extension is None:
        sys.exit(f"no delta extension for DuckDB {duckdb.__version__} in {folder}")
    connection = duckdb.connect(config={"threads": 2})
    connection.execute(f"LOAD '{extension}'")
    return connection


def truth(table, files):
    """(rows, sum of ids, sum of amounts in cents, partitions) of data files, read one by one."""
    rows = ids = cents = 0
    partitions = set()
    for name in files:
        content = pyarrow.parquet.ParquetFile(table / name).read()
        rows += content.num_rows
        ids += sum(content["id"].to_pylist())
        if "amount" in content.column_names:
            cents += sum(int(value * 100) for value in content["amount"].to_pylist() if value is not None)
        partitions.add(name.split("/")[0])
    return rows, ids, cents, len(partitions)


def by_delta_rs(table, version):
    content = pyarrow.table(deltalake.DeltaTable(table, version=version).to_pyarrow_table())
    frame = polars.from_arrow(content)
    return summed(frame)


def by_polars(table, version):
    return summed(polars.scan_delta(str(table), version=version).collect())


def summed(frame):
    if frame.height == 0:
        return 0, 0, 0, 0
    return (frame.height, frame["id"].sum(), int((frame["amount"].sum() or 0) * 100), frame["ds"].n_unique())


def by_duckdb(connection, table, version):
    source = f"delta_scan('{table}', version => {version})"
    row = connection.execute(
        f"SELECT count(*), coalesce(sum(id), 0), coalesce(sum(amount) * 100, 0), count(DISTINCT ds) FROM {source}").fetchone()
    return tuple(int(value) for value in row)


def compare_version(connection, table, version, expected):
    for name, read in [("delta-rs", lambda: by_delta_rs(table, version)), ("Polars", lambda: by_polars(table, version)),
                       ("DuckDB", lambda: by_duckdb(connection, table, version))]:
        try:
            found = read()
        except Exception as error:  # every failure of a peer is a finding
            check(False, f"{name} can't read version {version} of {table.name}: {error}")
            continue
        check(found == expected, f"{name} sees {found} in version {version} of {table.name}, the files hold {expected}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", type=pathlib.Path, required=True)
    px_bin = parser.parse_args().px_bin.resolve()
    connection = open_duckdb()
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch) / "lake"
        lines = tool(px_bin, "write", root)
        reports = [line for line in lines if line["table"] == "reports"]
        table = root / "reports"
        check(reports[-1]["version"] == 14 and len(reports) == 15, "the demo has versions 0 to 14")
        expected = {}
        for line in reports:
            expected[line["version"]] = truth(table, line["files"])
            check(expected[line["version"]][0] == line["rows"], f"statistics of version {line['version']}: {line['rows']} rows")
            compare_version(connection, table, line["version"], expected[line["version"]])

        # Columns and values, not only sums: the newest version in full.
        newest = deltalake.DeltaTable(table)
        check([field.name for field in newest.schema().fields][-1] == "extra", "the schema grew by 'extra'")
        check(newest.schema().to_json().find('"containsNull":false') > 0, "array<float> has no null elements")
        check(newest.transaction_version("demo") == 14, "txn 14 of application 'demo'")
        check(newest.history(1)[0].get("runId") == "demo", "the run id is in commitInfo")
        frame = polars.scan_delta(str(table)).sort("id").collect()
        row = frame.filter(polars.col("id") == 14_001).to_dicts()[0]
        check(row["title"] == 'report 14001 — Zürich "0"' and row["extra"] == "extra 14001" and row["flag"] is False,
              f"row 14001 is {row}")
        check(row["vector"] == [14_001.0, 0.5, -1.25] and row["score"] == 14_001 / 4, f"row 14001 is {row}")
        filtered = connection.execute(
            f"SELECT count(*) FROM delta_scan('{table}') WHERE id >= 9100 AND id < 9200 AND ds = '2026-11-21'").fetchone()[0]
        check(filtered == 100, f"DuckDB finds {filtered} of 100 rows with statistics and partition pruning")

        # The checkpoint alone carries the older half of the log.
        cleaned = root / "cleaned"
        shutil.copytree(table, cleaned)
        for version in range(10):
            (cleaned / f"_delta_log/{version:020}.json").unlink()
        for version in range(10, 15):
            compare_version(connection, cleaned, version, expected[version])
            described = tool(px_bin, "describe", cleaned, version)[0]
            check(described.get("rows") == expected[version][0], f"our reader of version {version} from the checkpoint: {described}")
        check(tool(px_bin, "describe", cleaned, 9)[0].get("error") == "NotFound", "a cleaned version is NotFound")

        # Names with everything that gets escaped.
        odd = root / "odd"
        versions = [line for line in lines if line["table"] == "odd"]
        for line in versions:
            rows = truth(odd, line["files"])[0]
            version = line["version"]
            found = {
                "delta-rs": deltalake.DeltaTable(odd, version=version).to_pyarrow_table().num_rows,
                "Polars": polars.scan_delta(str(odd), version=version).collect().height,
                "DuckDB": connection.execute(f"SELECT count(*) FROM delta_scan('{odd}', version => {version})").fetchone()[0],
            }
            for name, count in found.items():
                check(count == rows, f"{name} sees {count} rows in version {version} of odd, the files hold {rows}")
        regions = {"Zürich / a b%", '100%="x"', "a+b&c#d?e", "日本"}
        for name, seen in [("delta-rs", set(deltalake.DeltaTable(odd).to_pyarrow_table()["region"].to_pylist())),
                           ("DuckDB", {r[0] for r in connection.execute(f"SELECT region FROM delta_scan('{odd}')").fetchall()})]:
            check(seen == regions, f"{name} sees the regions {seen}")

        # delta-rs writes on; we read it, write on top, and it reads us again.
        def rows_of(frame_rows, first):
            schema = deltalake.DeltaTable(table).to_pyarrow_table().schema
            empty = [[None] * frame_rows for _ in schema]
            columns = dict(zip(schema.names, empty))
            columns["id"] = list(range(first, first + frame_rows))
            columns["ds"] = [datetime.date(2026, 11, 30)] * frame_rows
            return pyarrow.table(columns, schema=schema)

        deltalake.write_deltalake(table, rows_of(25, 20_000), mode="append")
        described = tool(px_bin, "describe", table)[0]
        check(described.get("version") == 15 and described.get("rows") == expected[14][0] + 25, f"after delta-rs's append: {described}")
        files = [file["path"] for file in described["files"]]
        uris = sorted(uri.split("/reports/", 1)[1] for uri in deltalake.DeltaTable(table).file_uris())
        check(uris == sorted(files), "our file list is delta-rs's")
        deltalake.write_deltalake(table, rows_of(5, 21_000), mode="overwrite", predicate="ds = '2026-11-30'")
        described = tool(px_bin, "describe", table)[0]
        check(described.get("version") == 16 and described.get("rows") == expected[14][0] + 5, f"after delta-rs's overwrite: {described}")
        deltalake.DeltaTable(table).create_checkpoint()
        for old in (table / "_delta_log").glob("*.json"):
            if int(old.stem) < 16:
                old.unlink()
        described = tool(px_bin, "describe", table)[0]
        check(described.get("version") == 16 and described.get("rows") == expected[14][0] + 5, f"from delta-rs's checkpoint: {described}")
        line = tool(px_bin, "append", table, 30_000, 12)[0]
        check(line["version"] == 17 and line["rows"] == expected[14][0] + 17, f"our append on top: {line}")
        compare_version(connection, table, 17, truth(table, line["files"]))

    if failures:
        sys.exit(f"{len(failures)} failures")
    print("lake_readers: delta-rs, Polars and DuckDB agree with us on every version")


if __name__ == "__main__":
    main()

"""Reads the Parquet files of tool_columnar_write with pyarrow, DuckDB, Polars and delta-rs, and compares every value, the
statistics of every row group, the statistics for the lake's log, and the answers of filtered queries.

    python tests/peers/columnar_readers.py --px-bin build/dev/bin [--seeds 2]
"""
import argparse
import datetime
import decimal
import hashlib
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import deltalake
import duckdb
import numpy
import polars
import pyarrow
import pyarrow.compute
import pyarrow.parquet

failures = []
decimal.getcontext().prec = 60  # decimal(38,s) must not be rounded


def check(condition, message):
    if not condition:
        failures.append(message)
        if len(failures) <= 40:
            print("FAILED:", message, file=sys.stderr)


def shown(raw):
    return "sha256:" + hashlib.sha256(raw).hexdigest() if len(raw) > 2000 else raw.hex()


def bits(values, kind):
    """Floats (with None) as the text of their bits."""
    width, unsigned = ("f4", "u4") if kind == "float" else ("f8", "u8")
    out = []
    for value in values:
        out.append(None if value is None else str(int(numpy.array([value], width).view(unsigned)[0])))
    return out


def normal(column, kind):
    """An Arrow column in the form of the expected JSON."""
    arrow = column.type
    if kind == "boolean":
        check(pyarrow.types.is_boolean(arrow), f"boolean read as {arrow}")
        return column.to_pylist()
    if kind in ("integer", "long"):
        check(arrow == (pyarrow.int32() if kind == "integer" else pyarrow.int64()), f"{kind} read as {arrow}")
        return [None if v is None else str(v) for v in column.to_pylist()]
    if kind == "date":
        check(arrow == pyarrow.date32(), f"date read as {arrow}")
        return [None if v is None else str(v) for v in column.cast(pyarrow.int32()).to_pylist()]
    if kind == "timestamp":
        check(pyarrow.types.is_timestamp(arrow) and arrow.tz is not None, f"timestamp read as {arrow}")
        micros = column.cast(pyarrow.timestamp("us", arrow.tz)).cast(pyarrow.int64())
        return [None if v is None else str(v) for v in micros.to_pylist()]
    if kind.startswith("decimal"):
        precision, scale = map(int, kind[8:-1].split(","))
        check(pyarrow.types.is_decimal(arrow) and (arrow.precision, arrow.scale) == (precision, scale),
              f"{kind} read as {arrow}")
        return [None if v is None else str(int(v.scaleb(scale).to_integral_exact())) for v in column.to_pylist()]
    if kind in ("float", "double"):
        return bits(column.to_pylist(), kind)
    if kind == "string":
        check(pyarrow.types.is_string(arrow) or pyarrow.types.is_large_string(arrow)
              or pyarrow.types.is_string_view(arrow), f"string read as {arrow}")
        return [None if v is None else shown(v.encode()) for v in column.to_pylist()]
    if kind == "binary":
        return [None if v is None else shown(v) for v in column.to_pylist()]
    if kind == "array<float>":
        return [None if v is None else bits(v, "float") for v in column.to_pylist()]
    raise ValueError(kind)


def compare_sorted(reader, name, table, expected):
    """For readers that don't keep the order of rows."""
    check(table.num_rows == expected["rows"], f"{reader} {name}: {table.num_rows} rows, not {expected['rows']}")
    read = sorted(map(repr, zip(*(normal(table[c["name"]].combine_chunks(), c["type"]) for c in expected["columns"]))))
    wanted = sorted(map(repr, zip(*(c["values"] for c in expected["columns"]))))
    at = next((i for i, (a, b) in enumerate(zip(read, wanted)) if a != b), None)
    check(at is None, f"{reader} {name}: row {read[at or 0:][:1]} instead of {wanted[at or 0:][:1]}")


def compare(reader, name, table, expected):
    check(table.num_rows == expected["rows"], f"{reader} {name}: {table.num_rows} rows, not {expected['rows']}")
    names = [c["name"] for c in expected["columns"]]
    check(table.column_names == names, f"{reader} {name}: columns {table.column_names}")
    for column in expected["columns"]:
        values = normal(table[column["name"]].combine_chunks(), column["type"])
        if values == column["values"]:
            continue
        at = next((i for i, (a, b) in enumerate(zip(values, column["values"])) if a != b), len(values))
        check(False, f"{reader} {name}.{column['name']} row {at}: "
                     f"{values[at:at + 1]} instead of {column['values'][at:at + 1]}")


def sortable(kind, text):
    """A value of the expected JSON as something Python orders as Parquet does."""
    if kind == "boolean":
        return text
    if kind in ("float", "double"):
        width, unsigned = ("f4", "u4") if kind == "float" else ("f8", "u8")
        return float(numpy.array([int(text)], unsigned).view(width)[0])
    if kind in ("string", "binary"):
        return None if text.startswith("sha256:") else bytes.fromhex(text)
    return int(text)


def from_statistics(kind, value):
    if kind == "date":
        return (value - datetime.date(1970, 1, 1)).days
    if kind == "timestamp":
        epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
        if value.tzinfo is None:
            value = value.replace(tzinfo=epoch.tzinfo)
        delta = value - epoch
        return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds
    if kind.startswith("decimal"):
        return int(value.scaleb(int(kind[8:-1].split(",")[1])))
    if kind == "string":
        return value.encode()
    return value


def from_log(kind, value):
    if kind == "date":
        return from_statistics(kind, datetime.date.fromisoformat(value))
    if kind == "timestamp":
        return from_statistics(kind, datetime.datetime.fromisoformat(value.replace("Z", "+00:00")))
    if kind == "string":
        return value.encode()
    if kind.startswith("decimal"):
        return int(decimal.Decimal(value).scaleb(int(kind[8:-1].split(",")[1])))
    if kind in ("float", "double"):
        return float(value)
    return value


def bounds_hold(where, kind, least, greatest, values, must_know):
    present = [sortable(kind, v) for v in values if v is not None]
    if kind in ("float", "double") and any(math.isnan(v) for v in present):
        check(least is None and greatest is None, f"{where}: NaN, yet {least} to {greatest}")
        return
    hidden = None in present  # values known by their hash only
    present = [v for v in present if v is not None]
    if not present:
        return
    if must_know:
        check(least is not None and greatest is not None, f"{where}: no statistics")
    if kind == "string":
        # Cut to 32 code points: bounds, and exact when short.
        if least is not None:
            check(least <= min(present), f"{where}: min {least} above {min(present)}")
            check(hidden or min(present).startswith(least), f"{where}: min {least} is no prefix of {min(present)}")
        if greatest is not None:
            check(greatest >= max(present), f"{where}: max {greatest} below {max(present)}")
            if not hidden and len(max(present).decode()) <= 32 and all(len(v.decode()) <= 32 for v in present):
                check(greatest == max(present), f"{where}: max {greatest} is not {max(present)}")
    elif kind == "binary":
        if least is not None:
            check(least <= min(present), f"{where}: min {least}")
        if greatest is not None:
            check(greatest >= max(present), f"{where}: max {greatest}")
    else:
        if least is not None:
            check(least == min(present), f"{where}: min {least} is not {min(present)}")
        if greatest is not None:
            check(greatest == max(present), f"{where}: max {greatest} is not {max(present)}")


def check_statistics(name, path, expected):
    metadata = pyarrow.parquet.ParquetFile(path).metadata
    check(metadata.created_by == "pipeline-x", f"{name}: created by {metadata.created_by}")
    check(metadata.num_rows == expected["rows"], f"{name}: footer says {metadata.num_rows} rows")
    begin = 0
    for g in range(metadata.num_row_groups):
        group = metadata.row_group(g)
        for c, column in enumerate(expected["columns"]):
            kind = column["type"]
            chunk = group.column(c)
            values = column["values"][begin:begin + group.num_rows]
            statistics = chunk.statistics
            where = f"{name}.{column['name']} row group {g}"
            if kind == "array<float>":
                continue
            check(statistics is not None and statistics.null_count == values.count(None), f"{where}: null count")
            if statistics.has_min_max:
                bounds_hold(where, kind, from_statistics(kind, statistics.min), from_statistics(kind, statistics.max),
                            values, False)
            else:
                bounds_hold(where, kind, None, None, values,
                            kind not in ("binary", "string") and column["name"] != "double_nan")
        begin += group.num_rows
    check(begin == expected["rows"], f"{name}: row groups hold {begin} rows")
    for column in expected["columns"]:
        kind = column["type"]
        where = f"{name}.{column['name']} in the log"
        check(column["null_count"] == column["values"].count(None), f"{where}: null count {column['null_count']}")
        if kind in ("boolean", "binary", "array<float>"):
            check(column["min"] is None and column["max"] is None, f"{where}: statistics of a {kind}")
            continue
        least, greatest = (None if column[k] is None else from_log(kind, column[k]) for k in ("min", "max"))
        bounds_hold(where, kind, least, greatest, column["values"],
                    kind != "string" and column["name"] != "double_nan")


def check_filters(name, path, expected, connection):
    """Queries that readers answer with the help of statistics and dictionaries."""
    for column in expected["columns"]:
        kind, values = column["type"], [v for v in column["values"] if v is not None]
        if kind not in ("integer", "long", "date", "timestamp", "string") or not values:
            continue
        field = f'"{column["name"]}"'
        for pick in sorted({0, len(values) // 2, len(values) - 1}):
            text = values[pick]
            if text.startswith("sha256:"):
                continue
            if kind == "string":
                raw = bytes.fromhex(text).decode()
                literal = "'" + raw.replace("'", "''") + "'"
                polars_value = polars.lit(raw)
                key = polars.col(column["name"])
            else:
                literal = text
                polars_value = polars.lit(int(text))
                key = polars.col(column["name"]).cast(polars.Int64)
                if kind == "date":
                    field = f'date_diff(\'day\', DATE \'1970-01-01\', "{column["name"]}")'
                    key = polars.col(column["name"]).cast(polars.Int32).cast(polars.Int64)
                if kind == "timestamp":
                    field = f'epoch_us("{column["name"]}")'
                if kind in ("integer", "long"):
                    key = polars.col(column["name"])
            pivot = sortable(kind, text)
            ordered = [sortable(kind, v) for v in values]
            for sign, count in (("=", sum(v == pivot for v in ordered if v is not None)),
                                ("<=", sum(v <= pivot for v in ordered if v is not None))):
                if "\x00" in literal or any(v is None for v in ordered):
                    continue
                got = connection.execute(
                    f"select count(*) from read_parquet('{path}') where {field} {sign} {literal}").fetchone()[0]
                check(got == count, f"duckdb {name}.{column['name']} {sign} {literal!r}: {got} rows, not {count}")
                condition = key == polars_value if sign == "=" else key <= polars_value
                got = polars.scan_parquet(path).filter(condition).select(polars.len()).collect().item()
                check(got == count, f"polars {name}.{column['name']} {sign} {literal!r}: {got} rows, not {count}")


def delta_log(folder, path, expected):
    """A table of this one file, for delta-rs."""
    (folder / "_delta_log").mkdir(parents=True)
    (folder / path.name).symlink_to(path)
    fields = []
    for column in expected["columns"]:
        kind = column["type"]
        if kind == "array<float>":
            kind = {"type": "array", "elementType": "float", "containsNull": False}
        fields.append({"name": column["name"], "type": kind, "nullable": True, "metadata": {}})
    lines = [
        {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
        {"metaData": {"id": "00000000-0000-4000-8000-000000000000", "format": {"provider": "parquet", "options": {}},
                      "schemaString": json.dumps({"type": "struct", "fields": fields}), "partitionColumns": [],
                      "configuration": {}, "createdTime": 0}},
        {"add": {"path": path.name, "partitionValues": {}, "size": path.stat().st_size, "modificationTime": 0,
                 "dataChange": True}},
    ]
    log = folder / "_delta_log" / f"{0:020}.json"
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    connection = duckdb.connect()
    connection.execute("set TimeZone='UTC'")
    files = 0
    for seed in range(1, options.seeds + 1):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            subprocess.run([options.px_bin / "tool_columnar_write", folder, str(seed)], check=True)
            for path in sorted(folder.glob("*.parquet")):
                expected = json.loads(path.with_suffix(".json").read_text(), parse_float=decimal.Decimal)
                label = f"{path.stem} (seed {seed})"
                for reader, read in (
                    ("pyarrow", lambda: pyarrow.parquet.read_table(path)),
                    ("duckdb", lambda: connection.execute(f"select * from read_parquet('{path}')").to_arrow_table()),
                    ("polars", lambda: polars.read_parquet(path).to_arrow()),
                    ("polars scan", lambda: polars.scan_parquet(path).collect(engine="streaming").to_arrow()),
                ):
                    try:
                        compare(reader, label, read(), expected)
                    except Exception as error:  # a reader that refuses the file is the failure to report
                        check(False, f"{reader} {label}: {type(error).__name__}: {error}")
                table_folder = folder / f"delta_{path.stem}"
                delta_log(table_folder, path, expected)
                try:
                    table = deltalake.QueryBuilder().register("t", deltalake.DeltaTable(table_folder)).execute("select * from t")
                    compare_sorted("delta-rs", label, pyarrow.table(table.read_all()), expected)
                except Exception as error:
                    check(False, f"delta-rs {label}: {type(error).__name__}: {error}")
                check_statistics(label, path, expected)
                check_filters(label, path, expected, connection)
                files += 1
    if failures:
        sys.exit(f"columnar_readers: {len(failures)} differences")
    print(f"columnar_readers: {files} files equal in pyarrow {pyarrow.__version__}, DuckDB {duckdb.__version__}, "
          f"Polars {polars.__version__}, delta-rs {deltalake.__version__}")


main()

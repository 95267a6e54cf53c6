"""Reads every CSV file under ../shared/data/csv, and generated ones, with tool_source_dump and with Python's csv module, and
compares columns, fields and byte ranges of every record; then generated Parquet and JSON Lines with pyarrow and json.

    python tests/peers/source_csv.py --px-bin build/dev/bin
"""
import argparse
import csv
import datetime
import decimal
import io
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import pyarrow
import pyarrow.parquet

failures = []
csv.field_size_limit(1 << 28)


def check(condition, message):
    if not condition:
        failures.append(message)
        if len(failures) <= 20:
            print("FAILED:", message, file=sys.stderr)
    return condition


def dump(tool, path, options=None):
    done = subprocess.run([tool, str(path), json.dumps(options or {})], stdout=subprocess.PIPE, timeout=120)
    lines = [json.loads(line) for line in done.stdout.decode("utf-8").split("\n") if line]
    check(done.returncode in (0, 1), f"{path}: exit code {done.returncode}")
    error = lines.pop()["error"] if lines and isinstance(lines[-1], dict) and "error" in lines[-1] else None
    head = lines.pop(0) if lines else None
    return head, lines, error


def records_of(text):
    """The records of the text by Python's csv module: list of lists. Blank lines are left out."""
    return [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]


def compare_csv(tool, path):
    """True when the file was comparable."""
    head, lines, error = dump(tool, path, {"encoding": "utf-8"})
    if head is None or error is not None or not head["raw"]:
        return False
    data = path.read_bytes()
    records = [line[3] for line in lines]
    if any(isinstance(record, str) for record in records):
        return False  # Python's module accepts what is malformed here
    try:
        text = data.decode("utf-8-sig")
        expected = records_of(text)
    except (UnicodeDecodeError, csv.Error):
        check(False, f"{path}: read without a fault, but Python cannot")
        return False
    if len(head["columns"]) == 1:
        # A blank line is a record of one column here and nothing there.
        records = [r for line, r in zip(lines, records) if line[1] != line[2]]
    check(head["columns"] == expected[0], f"{path}: columns {head['columns']} != {expected[0]}")
    if check(len(records) == len(expected) - 1, f"{path}: {len(records)} records != {len(expected) - 1}"):
        for i, (found, wanted) in enumerate(zip(records, expected[1:])):
            check(found == wanted, f"{path}: record {i}: {found} != {wanted}")
    counted_line, counted_to = 1, 0
    for line, start, end, fields in lines:
        again = next(csv.reader(io.StringIO(data[start:end].decode("utf-8"), newline=""), strict=True), [""])
        check(again == fields, f"{path}: bytes {start} to {end} hold {again}, not {fields}")
        counted_line += len(re.findall(rb"\r\n|\r|\n", data[counted_to:start]))
        counted_to = start
        check(counted_line == line, f"{path}: byte {start} is not on line {line}")
    return True


def generated_csv(seed):
    rng = random.Random(seed)
    alphabet = ["a", "bc", " ", "ä", "€", "😀", ",", "\"", "\n", "\r\n", "x" * 70, "1.5", "", "\r", "\t", ";"]
    columns = rng.randint(2, 9)
    quoting = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    if quoting == csv.QUOTE_MINIMAL:
        alphabet.remove("\r")  # Python writes it without quotes, which makes it a line end
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=rng.choice(["\n", "\r\n"]), quoting=quoting)
    writer.writerow([f"column {i}" for i in range(columns)])
    for _ in range(rng.randint(0, 3000)):
        writer.writerow(["".join(rng.choice(alphabet) for _ in range(rng.randint(0, 4))) for _ in range(columns)])
    return out.getvalue()


def compare_jsonl(tool, folder):
    rng = random.Random(5)
    rows = []
    for i in range(3000):
        row = {"id": i, "name": rng.choice(["ä\"\\\n", "", "plain", "\u2028"]), "none": None, "flag": rng.random() < 0.5}
        if rng.random() < 0.5:
            row["nested"] = {"x": [1, "a b", None, {"y": []}], "ä": "\t"}
        rows.append(row)
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=rng.random() < 0.5) + "\n" for row in rows), encoding="utf-8")
    head, lines, error = dump(tool, path)
    check(error is None, f"jsonl: {error}")
    for row, line in zip(rows, lines):
        found = dict(zip(head["columns"], line[3]))
        for key in head["columns"]:
            value = row.get(key)
            if isinstance(value, (dict, list)):
                check(json.loads(found[key]) == value and ": " not in found[key], f"jsonl: {found[key]} != {value}")
            else:
                wanted = value if value is None or isinstance(value, str) else json.dumps(value)
                check(found[key] == wanted, f"jsonl: {key}: {found[key]!r} != {wanted!r}")
    check(len(rows) == len(lines), "jsonl: number of records")


def compare_parquet(tool, folder):
    utc = datetime.timezone.utc
    times = [datetime.datetime(2026, 11, 23, 8, 27, 1, i, utc) if i % 5 else None for i in range(5000)]
    table = pyarrow.table({
        "s": pyarrow.array([f"text {i}" if i % 3 else None for i in range(5000)]),
        "i": pyarrow.array(range(5000), pyarrow.int64()),
        "d": pyarrow.array([decimal.Decimal(i) / 1000 for i in range(5000)], pyarrow.decimal128(18, 3)),
        "t": pyarrow.array(times, pyarrow.timestamp("us", "UTC")),
        "b": pyarrow.array([i % 2 == 0 for i in range(5000)]),
        "l": pyarrow.array([[i, None] for i in range(5000)]),
        "day": pyarrow.array([datetime.date(2026, 1, 1) + datetime.timedelta(i % 365) for i in range(5000)]),
    })
    path = folder / "table.parquet"
    pyarrow.parquet.write_table(table, path, row_group_size=700)
    head, lines, error = dump(tool, path)
    check(error is None, f"parquet: {error}")
    check(head["columns"] == table.column_names, f"parquet: columns {head['columns']}")
    check(len(lines) == 5000, f"parquet: {len(lines)} rows")
    for i, (line, row) in enumerate(zip(lines, table.to_pylist())):
        wanted = [row["s"], str(row["i"]), f"{row['d']:.3f}",
                  row["t"] and row["t"].strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "true" if row["b"] else "false",
                  f"[{i},null]", row["day"].isoformat()]
        check(line[0] == i + 1 and line[3] == wanted, f"parquet: row {i}: {line} != {wanted}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True)
    tool = str(pathlib.Path(parser.parse_args().px_bin).resolve() / "tool_source_dump")
    data = pathlib.Path(__file__).resolve().parents[2] / "../shared/data/csv"
    files = sorted(p for p in data.rglob("*") if p.is_file() and p.suffix in (".csv", ".tsv", ".txt"))
    check(len(files) > 800, f"only {len(files)} files under {data}")
    compared = sum(compare_csv(tool, path) for path in files)
    check(compared > 400, f"only {compared} files could be compared")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for seed in range(40):
            path = folder / f"generated_{seed}.csv"
            path.write_text(generated_csv(seed), encoding="utf-8", newline="")
            check(compare_csv(tool, path), f"generated file of seed {seed} could not be compared")
        compare_jsonl(tool, folder)
        compare_parquet(tool, folder)
    if failures:
        print(f"{len(failures)} differences", file=sys.stderr)
        return 1
    print(f"source: {compared} files, 40 generated CSV files, JSON Lines and Parquet equal to Python's readers")
    return 0


if __name__ == "__main__":
    sys.exit(main())

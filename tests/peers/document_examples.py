#!/usr/bin/env python3
"""The sample company's built files against what builds them, and its broken records against the README's claims.

    python tests/peers/document_examples.py --px-bin DIR
"""
import argparse
import csv
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile

COMPANY = pathlib.Path(__file__).resolve().parents[2] / "examples" / "company"


def check(condition, message):
    if not condition:
        sys.exit(f"document_examples: {message}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin")
    parser.parse_args()

    done = subprocess.run([sys.executable, COMPANY / "make_documents.py", "--check"])
    check(done.returncode == 0, "the committed docx or pdf differs from make_documents.py; run it and commit the files")

    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        (copy / "data").mkdir()
        shutil.copy(COMPANY / "make_orders.py", copy)
        shutil.copy(COMPANY / "data" / "orders.sql", copy / "data")
        subprocess.run([sys.executable, copy / "make_orders.py"], check=True)
        first = (copy / "data" / "orders.db").read_bytes()
        subprocess.run([sys.executable, copy / "make_orders.py", "--force"], check=True)
        check((copy / "data" / "orders.db").read_bytes() == first, "orders.db is not the same twice")
        with sqlite3.connect(copy / "data" / "orders.db") as database:
            count, days, cents = database.execute(
                "select count(*), count(distinct day), sum(cast(round(amount * 100) as integer)) from orders").fetchone()
        check((count, days, cents) == (308, 22, 23571154), f"orders are {(count, days, cents)}")

    with open(COMPANY / "data" / "reports" / "reports.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    check(len(rows) == 46, f"reports.csv has {len(rows) - 1} records, the README says 45")
    ragged = [row[0] for row in rows if len(row) != 7]
    check(ragged == ["2025-Q4-EXTRA"], f"ragged records: {ragged}")
    check(sum("\n" in row[6] for row in rows if len(row) == 7) >= 4, "no text over several lines is left")
    check(sum('"' in row[6] for row in rows if len(row) == 7) >= 1, "no quoted quote is left")
    by_quarter = {}
    for row in rows[1:]:
        if len(row) == 7 and row[0][5:7] in ("Q1", "Q2", "Q3", "Q4") and row[0][8:] in ("PA", "MA", "FE", "OS"):
            by_quarter[row[0][:7]] = by_quarter.get(row[0][:7], 0) + float(row[5])
    results = {"2024": 58.1e6, "2025": 61.8e6}
    for year, revenue in results.items():
        total = sum(value for quarter, value in by_quarter.items() if quarter.startswith(year))
        check(round(total) == round(revenue), f"the sites' revenue of {year} is {total}, the annual results say {revenue}")
    print("document_examples: ok")


if __name__ == "__main__":
    main()

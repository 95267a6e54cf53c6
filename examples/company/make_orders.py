#!/usr/bin/env python3
"""Builds data/orders.db, the SQLite database of the sample company, from data/orders.sql.

Does nothing when the database is there and not older than the SQL. Python's standard library is enough.

    python3 make_orders.py [--force]
"""
import os
import pathlib
import sqlite3
import sys

DATA = pathlib.Path(__file__).resolve().parent / "data"


def main():
    source, target = DATA / "orders.sql", DATA / "orders.db"
    fresh = target.exists() and target.stat().st_mtime >= source.stat().st_mtime
    if fresh and "--force" not in sys.argv[1:]:
        return
    aside = target.with_suffix(".db.new")
    aside.unlink(missing_ok=True)
    connection = sqlite3.connect(aside)
    try:
        connection.executescript(source.read_text(encoding="utf-8"))
        connection.commit()
        count, first, last = connection.execute("select count(*), min(day), max(day) from orders").fetchone()
    finally:
        connection.close()
    os.replace(aside, target)
    print(f"data/orders.db: {count} orders from {first} to {last}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""Documents a second into the catalog in PostgreSQL, beside SQLAlchemy: same columns, keys and server, one run.

    python bench/catalog_rows.py --px-bin build/release/bin [--rows 100000]

px publishes a release: documents by COPY, then compared with those there, all in one transaction. SQLAlchemy only writes rows: plainly into an
empty table, then with ON CONFLICT DO UPDATE over the same ones. The server is Debian's PostgreSQL 15 on the loopback, fsync on.
"""
import argparse
import contextlib
import datetime
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import sqlalchemy
from sqlalchemy import BigInteger, Boolean, Column, DateTime, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import insert

from measure import BENCH, table

PROGRAMS = pathlib.Path("/usr/lib/postgresql/15/bin")
DAY = datetime.datetime(2026, 11, 23, tzinfo=datetime.timezone.utc)


@contextlib.contextmanager
def server():
    """Yields the address (without scheme) of an empty PostgreSQL server of our own."""
    if not (PROGRAMS / "initdb").exists():
        raise SystemExit("catalog_rows: no PostgreSQL 15; next: run tools/setup.sh test")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="px-bench-"))
    other = {}
    if os.geteuid() == 0:  # which PostgreSQL refuses
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
        other = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    process = None
    try:
        with open(folder / "log", "wb") as log:
            options = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL, "cwd": "/", **other}
            subprocess.run([PROGRAMS / "initdb", "-D", folder / "data", "-U", "bench", "--auth=trust", "--encoding=UTF8",
                            "--locale=C.UTF-8", "--no-sync"], check=True, **options)
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            process = subprocess.Popen([PROGRAMS / "postgres", "-D", folder / "data", "-p", str(port), "-c",
                                        "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="], **options)
            state = folder / "data" / "postmaster.pid"
            limit = time.monotonic() + 60
            while not (state.exists() and "ready" in state.read_text()):
                if process.poll() is not None or time.monotonic() > limit:
                    raise SystemExit(f"catalog_rows: PostgreSQL does not start: {(folder / 'log').read_text()[-1000:]}")
                time.sleep(0.05)
            yield f"bench@127.0.0.1:{port}/postgres?sslmode=disable"
    finally:
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def documents(count):
    for i in range(count):
        yield {"id": str(i), "title": f"Quarterly report {i} of the northern region", "author": f"Author {i % 500}",
               "created_at": DAY + datetime.timedelta(seconds=i), "category": "Finance" if i % 3 == 0 else "Research", "ingested_at": DAY,
               "document_id": f"reports/{i}", "source": "reports", "ds": "2026-11-23", "landed_key": "reports/2026-11-23/" + "f" * 64 + ".csv",
               "landed_sha256": "f" * 64, "path": "data/reports.csv", "line": i + 2, "byte_start": i * 200, "byte_end": i * 200 + 199,
               "offsets_are_raw": True, "text_sha256": f"{i:064x}", "text_length": 150, "extra_json": "", "from_release": 1}


def sqlalchemy_seconds(address, rows):
    engine = sqlalchemy.create_engine("postgresql+psycopg2://" + address)
    types = {"created_at": DateTime(timezone=True), "ingested_at": DateTime(timezone=True), "offsets_are_raw": Boolean}
    numbers = {"line", "byte_start", "byte_end", "text_length", "from_release"}
    names = list(next(documents(1)))
    metadata = Table("peer", MetaData(), *(Column(name, types.get(name, BigInteger if name in numbers else Text),
                                                  primary_key=name in ("document_id", "ds")) for name in names))
    metadata.metadata.create_all(engine)
    given = list(documents(rows))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE INDEX ON peer (source, ds)"))
    started = time.perf_counter()
    with engine.begin() as connection:
        connection.execute(metadata.insert(), given)
    new = time.perf_counter() - started
    statement = insert(metadata)
    statement = statement.on_conflict_do_update(index_elements=["document_id", "ds"],
                                                set_={name: statement.excluded[name] for name in names if name not in ("document_id", "ds")})
    started = time.perf_counter()
    with engine.begin() as connection:
        connection.execute(statement, given)
    again = time.perf_counter() - started
    with engine.connect() as connection:
        found = connection.execute(sqlalchemy.text("SELECT count(*) FROM peer")).scalar()
    engine.dispose()
    if found != rows:
        raise SystemExit(f"catalog_rows: SQLAlchemy wrote {found} of {rows} rows")
    return new, again


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=100_000)
    args = parser.parse_args()
    BENCH.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: exit(143))  # the server is stopped all the same
    with server() as address:
        told = subprocess.run([args.px_bin / "tool_catalog_rows", "postgresql://" + address, str(args.rows)], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        ours = {row["what"]: row["seconds"] for row in map(json.loads, told.splitlines())}
        new, again = sqlalchemy_seconds(address, args.rows)
    rate = lambda seconds: f"{args.rows / seconds:,.0f}"
    table(f"documents a second into PostgreSQL, {args.rows:,} documents of 19 columns, seconds by the clock, fsync on",
          ["", "new", "written again, the same", "a tenth changed"],
          [["px, publish", rate(ours["new"]), rate(ours["unchanged"]), rate(ours["tenth_changed"])],
           ["SQLAlchemy, insert / upsert", rate(new), rate(again), ""],
           ["ratio", f"{new / ours['new']:.1f}x", f"{again / ours['unchanged']:.1f}x", ""]])


if __name__ == "__main__":
    main()

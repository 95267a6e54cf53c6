"""delta-rs, Polars and DuckDB's delta extension read every version of every table px wrote, with equal counts and sums."""

import pathlib
import sys

import deltalake
import duckdb
import duckdb_extension_delta
import polars

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import check, main, report_rows, small_home  # noqa: E402


def delta_extension():
    folder = pathlib.Path(duckdb_extension_delta.__file__).parent
    found = sorted(folder.rglob("*.duckdb_extension"))
    check(found, f"no extension file below {folder}")
    return found[0]


def every_reader_sees_every_version(px):
    home = small_home(px)
    for number in range(1, 14):  # beyond the first checkpoint
        home.write("data/reports/a.csv", report_rows(1, 3 + number))
        home.write("data/items.jsonl", "".join(f'{{"sku": "S{i}", "price": {number}.{i}}}\n' for i in range(number)))
        home.run("run", "--ds", f"2026-11-{20 + number % 3}", expect=0)
    connection = duckdb.connect()
    connection.execute("SET autoinstall_known_extensions=false")
    connection.execute(f"LOAD '{delta_extension()}'")
    compared = 0
    sums = {"reports": "revenue", "items": "price", "revenue_by_author": "revenue", "chunks": "start", "quarantine": "line"}
    tables = [t["name"] for t in home.json("tables")]
    check(set(sums) <= set(tables), str(tables))
    for release in home.json("releases", "--limit", "100"):
        for table, column in sums.items():
            version = release["tables"][table]
            path = str(home.folder / "lake" / table)
            ours = home.sql(f'select count(*), coalesce(sum("{column}"), 0)::double from "{table}"',
                            "--as-of", str(release["id"]))[0]
            delta = deltalake.DeltaTable(path, version=version)
            arrow = delta.to_pyarrow_table() if hasattr(delta, "to_pyarrow_table") else None
            frame = polars.from_arrow(arrow)
            lazily = polars.scan_delta(path, version=version).select(polars.len(), polars.col(column).sum()).collect()
            by_duckdb = connection.execute(
                f"""select count(*), coalesce(sum("{column}"), 0)::double from delta_scan('{path}', version => {version})""").fetchone()
            readers = {"delta-rs": (frame.height, float(frame[column].sum() or 0)),
                       "polars": (lazily[0, 0], float(lazily[0, 1] or 0)), "duckdb": by_duckdb}
            for name, (count, total) in readers.items():
                check(count == ours[0] and abs(total - ours[1]) < 1e-6 * max(1, abs(total)),
                      f"{table} version {version}: {name} reads {count} rows, sum {total}; px {ours}")
                compared += 1
    print(f"      {compared} comparisons over {len(home.json('releases', '--limit', '100'))} releases")
    home.remove()


if __name__ == "__main__":
    main([every_reader_sees_every_version])

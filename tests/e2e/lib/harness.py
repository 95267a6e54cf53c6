"""What the end-to-end tests share: a folder with a small pipeline, px as a person calls it, and a digest of everything px keeps."""

import argparse
import hashlib
import json
import pathlib
import shutil
import sqlite3
import subprocess
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[3]
SHARED = TOP.parent / "shared" / "data"
EXAMPLE = TOP / "examples" / "company"


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px", required=True, type=pathlib.Path)
    return parser.parse_args()


class Failure(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Failure(message)


class Home:
    """A folder with a pipeline file; px runs inside it."""

    def __init__(self, px, folder=None):
        self.px = px.resolve()
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="px-e2e-"))

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, bytes):
            path.write_bytes(text)
        else:
            path.write_text(text, encoding="utf-8")
        return path

    def run(self, *words, expect=None, env=None, timeout=300, stdin=None):
        import os
        merged = {k: v for k, v in os.environ.items() if not k.startswith("PX_TEST")}
        merged.update(env or {})
        done = subprocess.run([self.px, *words], cwd=self.folder, env=merged, input=stdin, timeout=timeout,
                              capture_output=True, text=True, errors="replace", check=False)
        if expect is not None:
            codes = expect if isinstance(expect, tuple) else (expect,)
            check(done.returncode in codes,
                  f"px {' '.join(map(str, words))}: exit {done.returncode}, expected {codes}\n{done.stdout}\n{done.stderr}")
        return done

    def json(self, *words, expect=0, **more):
        return json.loads(self.run("--json", *words, expect=expect, **more).stdout)

    def files(self):
        """Every file and its SHA-256."""
        return {str(p.relative_to(self.folder)): hashlib.sha256(p.read_bytes()).hexdigest()
                for p in sorted(self.folder.rglob("*")) if p.is_file()}

    def lake_log(self):
        return {name: digest for name, digest in self.files().items() if "_delta_log" in name}

    def sql(self, query, *more):
        return self.json("sql", query, *more)["rows"]

    def state(self):
        """What a reader of the newest release can see, without ids of runs and times."""
        release = self.json("releases", "--limit", "1")[0]
        tables = {}
        for table in self.json("tables"):
            if table["name"] == "documents":  # read from the catalog below, without its times
                continue
            columns = ", ".join(f'"{c["name"]}"' for c in table["columns"])
            rows = self.sql(f'SELECT {columns} FROM "{table["name"]}" ORDER BY ALL', "--limit", "1000000")
            tables[table["name"]] = [json.dumps(row) for row in rows]
        database = sqlite3.connect(f"file:{self.folder / 'catalog.db'}?mode=ro", uri=True)
        columns = [row[1] for row in database.execute("pragma table_info(analytics_metadata)")
                   if row[1] not in ("ingested_at", "from_release", "to_release", "row_id")]
        documents = sorted(map(repr, database.execute(
            f"select {', '.join(columns)} from analytics_metadata where to_release is null")))
        database.close()
        return {"tables": tables, "documents": documents, "chunks": release["chunks"], "manifest": release["index_manifest"],
                "count": release["documents"]}


SMALL = """pipeline: small
sources:
  reports: {csv: "data/reports/*.csv", mode: append, contract: report}
  papers: {documents: "data/papers/*.{md,txt}", mode: snapshot}
  items: {jsonl: "data/items.jsonl", mode: merge, contract: item}
contracts:
  report:
    columns:
      - {name: id, type: string, role: id}
      - {name: title, type: string, role: title}
      - {name: author, type: string, role: author}
      - {name: day, type: date, role: date}
      - {name: revenue, type: "decimal(18,2)", min: 0}
      - {name: text, type: string, role: text}
    quarantine: {halt_above: 40%}
    checks:
      - {name: revenue is bounded, sql: "select count(*) from staged where revenue > 1000000", expect: 0}
  item:
    columns:
      - {name: sku, type: string, role: id}
      - {name: price, type: "decimal(10,2)"}
models:
  revenue_by_author: {sql: "select author, sum(revenue) as revenue from reports group by author order by author"}
"""


def report_rows(first, count, changed=()):
    lines = ["id,title,author,day,revenue,text"]
    for i in range(first, first + count):
        author = ("Ada", "Grace", "Edsger")[i % 3]
        note = "a changed sentence" if i in changed else "an ordinary sentence"
        lines.append(f'R{i:03},Report {i},{author},2026-0{i % 9 + 1}-1{i % 9},{i * 10}.50,'
                     f'"The site number {i} stored {i * 7} pallets, {note}. The outlook of site {i} is ""steady""."')
    lines.append("R999,Broken,Ada,2026-02-30,1.00,The day of this one does not exist.")
    return "\n".join(lines) + "\n"


def small_home(px):
    home = Home(px)
    home.write("pipeline.yaml", SMALL)
    home.write("data/reports/a.csv", report_rows(1, 8))
    home.write("data/papers/plan.md", "---\ntitle: The plan\nauthor: Ada\ndate: 2026-03-01\n---\n# The plan\n\n"
               + "We will open a second cold store in the north. It costs twelve million euro.\n\n" * 6)
    home.write("data/papers/note.txt", "A short note on forklifts.\n\nThey are yellow and there are nine of them.\n")
    home.write("data/items.jsonl", '{"sku": "A", "price": 1.5}\n{"sku": "B", "price": 2.25}\n')
    return home


def main(tests):
    """Runs functions of (px); prints a line each; exits 1 when one fails."""
    import sys
    import time
    px = arguments().px
    failed = 0
    for test in tests:
        started = time.monotonic()
        try:
            test(px)
            print(f"ok    {test.__name__} ({time.monotonic() - started:.1f} s)", flush=True)
        except Exception as error:  # a test reports whatever went wrong and the next one runs
            failed += 1
            print(f"FAIL  {test.__name__}: {type(error).__name__}: {error}", flush=True)
    sys.exit(1 if failed else 0)

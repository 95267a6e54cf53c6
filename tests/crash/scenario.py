"""What the crash tests share: three small pipelines at the point where px is disturbed, what must be there in the end, and a reader that polls.

    python tests/crash/X.py --px build/release/bin/px [--count N] [--seed S] [--only CASE]
"""

import argparse
import http.client
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e" / "lib"))
from harness import Failure, Home, check, report_rows, small_home  # noqa: E402

import deltalake  # noqa: E402

DAY, NEXT_DAY = "2026-11-20", "2026-11-21"
RECOVERY_S_MAX = 5.0  # in the middle of all cases: this machine may be busy with other work
QUESTIONS = ("What colour are the forklifts?", "How many pallets did site 31 store?", "What does the cold store cost?")


# ---- what is there -----------------------------------------------------------------------------------

def catalog_content(folder):
    """What the catalog says of its newest release; empty when there is none."""
    with tempfile.TemporaryDirectory(prefix="px-catalog-") as aside:
        # A copy: opening a database after a crash mends it, and that is for px to do.
        for name in ("catalog.db", "catalog.db-wal", "catalog.db-journal"):
            if (folder / name).exists():
                shutil.copy(folder / name, aside)
        database = sqlite3.connect(pathlib.Path(aside) / "catalog.db")
        try:
            if not database.execute("select count(*) from sqlite_schema where name = 'releases'").fetchone()[0]:
                return {}
            row = database.execute("select release_id, ds, index_manifest, documents, chunks from releases order by 1 desc limit 1").fetchone()
            if row is None:
                return {}
            check(database.execute("pragma integrity_check").fetchall() == [("ok",)], "the catalog is damaged")
            columns = [column[1] for column in database.execute("pragma table_info(analytics_metadata)") if column[1] != "ingested_at"]
            return {"release": row,
                    "versions": dict(database.execute("select table_name, version from release_tables where release_id = ?", row[:1])),
                    "documents": sorted(map(repr, database.execute(f"select {', '.join(columns)} from analytics_metadata"))),
                    "inputs": sorted(map(repr, database.execute("select * from release_inputs")))}
        finally:
            database.close()


def content(folder):
    """Everything the newest release consists of, without ids of runs and times; None when there is none. Read by other programs than px."""
    found = catalog_content(folder)
    for name, version in sorted(found.get("versions", {}).items()):
        rows = deltalake.DeltaTable(str(folder / "lake" / name), version=version).to_pyarrow_table().to_pylist()
        found[f"rows of {name}"] = sorted(repr(sorted(row.items())) for row in rows)
    return found or None


def files_by_content(folder):
    """The files that are named by what is in them: landed copies, Parquet files, segments, manifests."""
    return {str(path.relative_to(folder)): path.read_bytes() for part in ("landing", "lake", "index")
            for path in sorted((folder / part).rglob("*")) if path.is_file() and "_delta_log" not in path.parts}


def digest_sql(tables):
    return "select " + ", ".join(f"(select count(*) || ' ' || coalesce(bit_xor(hash(t)), 0) from \"{table}\" t)" for table in sorted(tables))


def polled(ask):
    """One look of a reader, by ask(path, body) → JSON: rows by SQL over every table, and passages; each with the release it came from."""
    rows = ask("/v1/sql", {"sql": digest_sql(("reports", "papers", "items", "revenue_by_author", "quarantine"))})
    looks = [(rows["release"], "rows", json.dumps(rows["rows"]))]
    for question in QUESTIONS:
        found = ask("/v1/search", {"question": question, "top_k": 5})
        looks.append((found["release"], question, json.dumps([[hit["chunk_id"], hit["text"]] for hit in found["results"]])))
    return looks


class Server:
    """px serve on a free port."""

    def __init__(self, home):
        self.process = subprocess.Popen([home.px, "serve", "--port", "0"], cwd=home.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        check("http://127.0.0.1:" in line, f"px serve does not start: {line}")
        self.port = int(line.split("http://127.0.0.1:")[1].split("/")[0])
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ask(self, path, body):
        self.connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        reply = self.connection.getresponse()
        text = reply.read()
        check(reply.status == 200, f"{path}: {reply.status} {text[:300]}")
        return json.loads(text)

    def stop(self):
        self.connection.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Reader(threading.Thread):
    """Polls px serve until it is stopped; whatever it saw must be a release that was published, and never an older one after a newer one."""

    def __init__(self, scenario, home):
        super().__init__(daemon=True)
        self.scenario, self.server = scenario, Server(home)
        self.ended, self.problem, self.looks = threading.Event(), None, 0
        self.start()

    def run(self):
        newest = 0
        try:
            while not self.ended.is_set():
                for release, what, seen in polled(self.server.ask):
                    check(release >= newest, f"a reader saw release {release} after release {newest}")
                    newest = release
                    check(seen == self.scenario.looks[release][what], f"a reader of release {release} saw half of another ({what}):\n{seen}\n"
                          f"instead of\n{self.scenario.looks[release][what]}")
                    self.looks += 1
                time.sleep(0.02)
        except Exception as error:  # told to the test that asks
            self.problem = error

    def stop_looking(self):
        """Ends; what it saw must have been whole."""
        self.ended.set()
        self.join()
        self.server.stop()
        check(self.problem is None, f"{self.problem}")

    def stop(self, release):
        """Ends, after one more look that must find the release."""
        self.ended.set()
        self.join()
        try:
            check(self.problem is None, f"{self.problem}")
            for number, what, seen in polled(self.server.ask):
                check(number == release and seen == self.scenario.looks[release][what], f"the reader does not find release {release} ({what})")
        finally:
            self.server.stop()


# ---- the scenarios -----------------------------------------------------------------------------------

class Scenario:
    """A home before a run (`base`), and all there must be after it (`after`)."""

    def __init__(self, name, base, ds):
        self.name, self.base, self.ds = name, base, ds
        self.before = content(base.folder)
        self.calm = self.copy("calm")
        started = time.monotonic()
        self.calm.run("run", "--ds", ds, expect=0)
        self.seconds = time.monotonic() - started
        self.after = content(self.calm.folder)
        self.files = files_by_content(self.calm.folder)
        self.release = self.after["release"][0]
        server = Server(self.calm)
        self.looks = {self.release: {what: seen for _, what, seen in polled(server.ask)}}
        server.stop()
        if self.before:
            server = Server(base)
            self.looks[self.before["release"][0]] = {what: seen for _, what, seen in polled(server.ask)}
            server.stop()

    def __repr__(self):
        return self.name

    def copy(self, name):
        """The base again, in a folder of its own; the weights of the model, which nobody changes, are not copied."""
        home = Home(self.base.px, f"{self.base.folder}-{name}")
        shutil.rmtree(home.folder, ignore_errors=True)
        shutil.copytree(self.base.folder, home.folder, copy_function=lambda source, target: os.link(source, target) if source.endswith(".packed")
                        else shutil.copy2(source, target))
        return home

    def check_before_or_after(self, home, when):
        """What is there after a crash is the release before or the one after, whole. Returns whether it is the one after."""
        seen = content(home.folder)
        if seen != self.before:
            self.check_equal(seen, when)
        return seen == self.after

    def check_equal(self, seen, when):
        check(seen is not None, f"{when}: there is no release")
        for part in sorted({*self.after, *seen}):
            check(seen.get(part) == self.after.get(part), f"{when}: {part} differ from an undisturbed run:\n{str(seen.get(part))[:1500]}\n"
                  f"instead of\n{str(self.after.get(part))[:1500]}")

    def recover(self, home, when, environment=None):
        """`px run` completes, in time, and everything is there; another one has nothing to do. Returns its seconds."""
        started = time.monotonic()
        done = home.run("run", "--ds", self.ds, env=environment)
        seconds = time.monotonic() - started
        check(done.returncode in (0, 99), f"{when}: the next run ends with {done.returncode}\n{done.stderr}")
        check(seconds < 10 * RECOVERY_S_MAX, f"{when}: recovery took {seconds:.1f} s")
        self.check_complete(home, when)
        done = home.run("run", "--ds", self.ds)
        check(done.returncode == 99, f"{when}: a run after recovery ends with {done.returncode} instead of 99\n{done.stdout}{done.stderr}")
        return seconds

    def check_complete(self, home, when):
        self.check_equal(content(home.folder), when)
        for name, data in self.files.items():
            path = home.folder / name
            check(path.exists(), f"{when}: {name} is missing")
            check(path.read_bytes() == data, f"{when}: {name} holds other bytes")

    def remove(self):
        self.base.remove()
        self.calm.remove()


def scenarios(px):
    """A first run; a second date; a date that is run again after every source changed."""
    empty = small_home(px)
    empty.run("run", "--ds", DAY, expect=0)  # packs the weights
    for name in ("landing", "lake", "index", "catalog.db", "catalog.db-shm", "catalog.db-wal", "catalog.db.lock"):
        path = empty.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    first = Scenario("first", empty, DAY)
    base = first.copy("second")
    base.run("run", "--ds", DAY, expect=0)
    base.write("data/reports/b.csv", report_rows(30, 5))
    second = Scenario("second", base, NEXT_DAY)
    base = second.copy("changed")
    base.write("data/papers/note.txt", "A short note on forklifts.\n\nThey are green and there are ten of them.\n")
    (base.folder / "data/papers/plan.md").unlink()
    base.write("data/items.jsonl", '{"sku": "B", "price": 3}\n{"sku": "C", "price": 4}\n')
    base.write("data/reports/a.csv", report_rows(1, 9, changed=(2, 5)))
    (base.folder / "data/reports/b.csv").unlink()
    changed = Scenario("changed", base, DAY)
    return [first, second, changed]


# ---- running many --------------------------------------------------------------------------------------

def arguments(count):
    parser = argparse.ArgumentParser()
    parser.add_argument("--px", required=True, type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("--count", type=int, default=count, help="how many cases (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=20261120, help="what the cases are drawn from (default: %(default)s)")
    parser.add_argument("--only", type=int, help="this case alone")
    return parser.parse_args()


def run_cases(title, cases, work, limit=3):
    """Runs work(case) for each, two at a time; prints the line tests/run.py counts. Returns what the cases gave. False ones failed."""
    started, failures, results = time.monotonic(), [], []

    def one(case):
        if len(failures) >= limit:
            return None
        try:
            return work(case)
        except Exception as error:  # a case tells what went wrong, the others go on
            text = str(error) if isinstance(error, Failure) else traceback.format_exc()
            failures.append(f"{case}: {text}")
            return None

    with ThreadPoolExecutor(max_workers=2) as pool:
        results = [result for result in pool.map(one, cases) if result is not None]
    for failure in failures:
        print(f"      {failure}", flush=True)
    print(f"{'FAIL' if failures else 'ok'}    {title} ({len(results)} cases, {time.monotonic() - started:.1f} s)".replace("FAIL ", "FAIL"), flush=True)
    return results, not failures


def recovery_is_fast(times):
    """Prints how long the next runs took; False: the one in the middle took too long."""
    times = sorted(times)
    if not times:
        return True
    middle = times[len(times) // 2]
    print(f"{'ok  ' if middle < RECOVERY_S_MAX else 'FAIL'}  recovery takes {middle:.2f} s in the middle, {times[-1]:.2f} s at most")
    return middle < RECOVERY_S_MAX


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode

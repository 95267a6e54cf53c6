"""kill -9 of a run on remote stores, Azurite and PostgreSQL, at labelled steps and at random instants; then `px run`. A reader polls px serve.

Everything must equal a run on local stores that was not disturbed.
"""

import random
import subprocess
import sys
import time
import urllib.parse

from kill import labelled_steps
from scenario import DAY, Reader, arguments, check, kill, recovery_is_fast, run_cases, scenarios
from servers import ACCOUNT, Azurite, Postgres

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # published with Azurite
TABLES = ("reports", "papers", "items", "revenue_by_author", "quarantine", "chunks", "embeddings")


class Remote:
    """The scenario of a changed input, in containers and a schema of its own for each case."""

    def __init__(self, local, azurite, postgres):
        self.local, self.azurite, self.postgres = local, azurite, postgres
        self.name, self.ds, self.release, self.looks, self.seconds = "remote", local.ds, local.release, local.looks, 1.0
        self.rows = self.rows_of(local.calm)

    def __repr__(self):
        return self.name

    def rows_of(self, home):
        release = home.json("releases", "--limit", "1")[0]
        rows = {table: home.sql(f'select columns(c -> c <> \'ingested_at\') from "{table}" order by all', "--limit", "100000") for table in TABLES}
        versions = {table["name"]: table["version"] for table in home.json("tables") if table["name"] in TABLES}
        return {"rows": rows, "versions": versions, "chunks": release["chunks"], "documents": release["documents"], "manifest": release["index_manifest"],
                "release": release["id"]}

    def home(self, name):
        """The first release made there, and then the input that changes."""
        home = self.local.copy(name)
        for part in ("landing", "lake", "index"):
            subprocess.run(["rm", "-rf", home.folder / part], check=True)
        (home.folder / "catalog.db").unlink()
        catalog = f"postgresql://px_admin:{urllib.parse.quote(self.postgres.PASSWORD, safe='')}@127.0.0.1:{self.postgres.port}/px?schema={name}"
        bucket = name.replace("_", "-")
        home.write(".env", f"PX_LANDING_URL={self.azurite.endpoint}/{bucket}-raw/\nPX_LAKE_URL={self.azurite.endpoint}/{bucket}-data/lake\n"
                   f"PX_VECTORS_URL=embedded:{self.azurite.endpoint}/{bucket}-data/index\nPX_CATALOG_URL={catalog}\n"
                   f"AZURE_STORAGE_ACCOUNT_NAME={ACCOUNT}\nAZURE_STORAGE_ACCOUNT_KEY={KEY}\n")
        changed = {path: path.read_bytes() for path in (home.folder / "data").rglob("*") if path.is_file()}
        for path in changed:
            path.unlink()
        for path in (self.local.first_data).rglob("*"):
            if path.is_file():
                home.write(f"data/{path.relative_to(self.local.first_data)}", path.read_bytes())
        home.run("run", "--ds", DAY, expect=0)
        subprocess.run(["rm", "-rf", home.folder / "data"], check=True)
        for path, data in changed.items():
            home.write(path.relative_to(home.folder), data)
        return home

    def finished_by_the_next(self, home, reader, when):
        try:
            started = time.monotonic()
            done = home.run("run", "--ds", self.ds)
            seconds = time.monotonic() - started
            check(done.returncode in (0, 99), f"{when}: the next run ends with {done.returncode}\n{done.stderr}")
            found = self.rows_of(home)
            for part, expected in self.rows.items():
                check(found[part] == expected, f"{when}: {part} differ from an undisturbed run:\n{str(found[part])[:1500]}\ninstead of\n{str(expected)[:1500]}")
            check(home.run("run", "--ds", self.ds).returncode == 99, f"{when}: a run after recovery finds something to do")
            if reader:
                reader.stop(self.release)
                reader = None
            return seconds
        finally:
            if reader:
                reader.ended.set()
                reader.join()
                reader.server.stop()
            home.remove()

    def killed_at_a_step(self, case):
        number, step = case
        home = self.home(f"step_{number}")
        reader = Reader(self, home) if number % 3 else None
        done = home.run("run", "--ds", self.ds, env={"PX_TEST_KILL_AT": step})
        check(done.returncode == -9, f"{step}: px was not killed but gave {done.returncode}\n{done.stderr}")
        return self.finished_by_the_next(home, reader, f"killed at {step}")

    def killed_at_an_instant(self, case):
        number, seed = case
        home = self.home(f"instant_{number}")
        reader = Reader(self, home) if number % 3 else None
        instant = random.Random(f"{seed}/{number}").random() * self.seconds * 1.1
        process = subprocess.Popen([home.px, "run", "--ds", self.ds], cwd=home.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(instant)
        code = kill(process)
        check(code in (-9, 0, 99), f"px ended by itself with {code}")
        self.seconds = max(0.2, self.seconds * (1.05 if code == -9 else 0.85))
        return code, self.finished_by_the_next(home, reader, f"killed after {instant * 1000:.0f} ms")


def main():
    given = arguments(6)
    print(f"      seed {given.seed}", flush=True)
    chance = random.Random(given.seed)
    scenes = scenarios(given.px)
    local = scenes[2]
    local.first_data = scenes[0].base.folder / "data"
    servers = []
    try:
        servers += [Azurite(), Postgres()]
        remote = Remote(local, *servers)
        steps = list(enumerate(labelled_steps(local)))
        if given.count < 100:
            steps = sorted(chance.sample(steps, min(given.count, len(steps))))
        good = given.only is not None or run_cases("killed at steps a run on remote stores is finished by the next", steps, remote.killed_at_a_step)[1]
        cases = [(number, given.seed) for number in range(given.count) if given.only in (None, number)]
        done, fine = run_cases("killed at any instant a run on remote stores is finished by the next", cases, remote.killed_at_an_instant)
        print(f"      {sum(code == -9 for code, _ in done)} kills")
        fine &= recovery_is_fast(seconds for _, seconds in done)
    finally:
        for server in servers:
            server.stop()
        for scene in scenes:
            scene.remove()
    sys.exit(0 if good and fine else 1)


if __name__ == "__main__":
    main()

"""The scenario of a changed input on remote stores, Azurite and PostgreSQL, in containers and a schema of its own for each case."""

import pathlib
import subprocess
import time
import urllib.parse

from scenario import DAY, check
from servers import ACCOUNT

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # published with Azurite
TABLES = ("reports", "papers", "items", "revenue_by_author", "quarantine", "chunks", "embeddings")


class Remote:
    """What must be there in the end is what a run on local stores that was not disturbed left."""

    def __init__(self, scenes, azurite, postgres):
        local = scenes[2]
        self.first_data = scenes[0].base.folder / "data"
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
        for path in (self.first_data).rglob("*"):
            if path.is_file():
                home.write(f"data/{path.relative_to(self.first_data)}", path.read_bytes())
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

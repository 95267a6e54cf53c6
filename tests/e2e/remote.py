"""The same pipeline file on Azure Storage (Azurite) and PostgreSQL, by changing addresses only: equal releases, and clear errors."""

import datetime
import http.server
import json
import pathlib
import shutil
import subprocess
import sys
import threading
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import EXAMPLE, Failure, Home, check, main, report_rows, small_home  # noqa: E402
from qdrant import Qdrant  # noqa: E402
from servers import ACCOUNT, Azurite, Postgres  # noqa: E402

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # published with Azurite
servers = {}


def remote(home, name, **more):
    """Addresses beside the pipeline file: containers and a database of `name`."""
    azurite, postgres = servers["azurite"], servers["postgres"]
    postgres.sql(f"drop schema if exists {name} cascade")
    values = {"PX_LANDING_URL": f"{azurite.endpoint}/{name}-raw-landing-zone/", "PX_LAKE_URL": f"{azurite.endpoint}/{name}-processed-data/lake",
              "PX_CATALOG_URL": f"postgresql://px_admin:{urllib.parse.quote(postgres.PASSWORD, safe='')}@127.0.0.1:{postgres.port}/px?schema={name}",
              "PX_VECTORS_URL": f"embedded:{azurite.endpoint}/{name}-processed-data/index", "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
              "AZURE_STORAGE_ACCOUNT_KEY": KEY, **more}
    home.write(".env", "".join(f"{key}={value}\n" for key, value in values.items()))
    return values


def copy_of(home, name):
    other = Home(home.px, f"{home.folder}-{name}")
    shutil.copytree(home.folder, other.folder, dirs_exist_ok=True)
    return other


def seen(home, questions=()):
    """What readers see, without ids of runs and times."""
    release = home.json("releases", "--limit", "1")[0]
    tables = {}
    for table in home.json("tables"):
        columns = ", ".join(f'"{c["name"]}"' for c in table["columns"] if c["name"] != "ingested_at")
        tables[table["name"]] = home.sql(f'SELECT {columns} FROM "{table["name"]}" ORDER BY ALL', "--limit", "1000000")
    found = {question: [result["chunk_id"] for result in home.json("search", question, "--top-k", "10")["results"]] for question in questions}
    return {"tables": tables, "chunks": release["chunks"], "documents": release["documents"], "manifest": release["index_manifest"], "found": found}


def equal(one, other):
    for part in one:
        check(one[part] == other[part], f"{part} differs:\n{str(one[part])[:600]}\n{str(other[part])[:600]}")


def the_example_gives_equal_releases_on_remote_stores(px):
    local = Home(px)
    shutil.copytree(EXAMPLE, local.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".px", "lake", "landing", "index", "catalog.db*"))
    subprocess.run([sys.executable, "make_orders.py"], cwd=local.folder, check=True, capture_output=True)
    cloud = copy_of(local, "cloud")
    remote(cloud, "example")
    for home in (local, cloud):
        done = home.run("run", "--ds", "2026-03-31", expect=0)
    check("example-raw-landing-zone" in done.stderr and "container_created" in done.stderr, f"no word on the container that was created:\n{done.stderr}")
    titles = [row[0] for row in local.sql("select distinct title from documents where title is not null order by 1 limit 24")]
    equal(seen(local, titles), seen(cloud, titles))
    for folder in ("lake", "landing", "index"):
        check(not (cloud.folder / folder).exists(), f"the remote run made a local {folder}")
    again = cloud.run("run", "--ds", "2026-03-31", expect=99)
    check("nothing" in (again.stdout + again.stderr).lower(), again.stdout + again.stderr)
    answer = cloud.json("ask", "What is the financial outlook?")
    check(answer["citations"], "no citation from the remote stores")
    cloud.run("verify", "-", expect=0, stdin=json.dumps(answer))
    # The lake is a Delta lake to others.
    import deltalake
    storage = {"account_name": ACCOUNT, "account_key": KEY, "endpoint": servers["azurite"].endpoint, "allow_http": "true"}
    rows = deltalake.DeltaTable("az://example-processed-data/lake/reports", storage_options=storage).to_pyarrow_table().num_rows
    check(rows == local.sql("select count(*) from reports")[0][0], f"delta-rs reads {rows} rows")
    shown = cloud.run("config", "show", "--origin", expect=0).stdout + cloud.run("doctor", expect=0).stdout
    secret = servers["postgres"].PASSWORD
    for text in (shown, json.dumps(cloud.json("runs"))):
        check(secret not in text and urllib.parse.quote(secret, safe="") not in text and KEY not in text, "a secret is shown")
    check(servers["postgres"].sql("select count(*) from example.analytics_metadata")[0] != "0", "analytics_metadata is empty")
    # The catalog by the names of its parts; its schema is then the default one.
    named = small_home(px)
    remote(named, "px", PX_CATALOG_URL="postgresql:", **servers["postgres"].variables())
    named.run("run", "--ds", "2026-11-20", expect=0)
    check(servers["postgres"].sql("select count(*) from px.releases") == ["1"], "POSTGRES_* do not lead to the catalog")
    named.remove()
    # And with the index in Qdrant besides.
    with Qdrant() as qdrant:
        three = copy_of(local, "three")
        for folder in ("lake", "landing", "index"):
            shutil.rmtree(three.folder / folder)
        for file in three.folder.glob("catalog.db*"):
            file.unlink()
        remote(three, "three", PX_VECTORS_URL=f"{qdrant.url}/example")
        three.run("run", "--ds", "2026-03-31", expect=0)
        equal({**seen(local, titles), "manifest": ""}, {**seen(three, titles), "manifest": ""})
        check(not any((three.folder / name).exists() for name in ("lake", "landing", "index", "catalog.db")), "something is kept beside the remote stores")
        three.run("verify", "-", expect=0, stdin=json.dumps(three.json("ask", "What is the financial outlook?")))
        three.remove()
    # From another machine, with nothing but the addresses.
    other = Home(px)
    shutil.copy(cloud.folder / "pipeline.yaml", other.folder)
    shutil.copy(cloud.folder / ".env", other.folder)
    equal({"manifest": seen(cloud)["manifest"]}, {"manifest": seen(other)["manifest"]})
    for home in (local, cloud, other):
        home.remove()


def killed_anywhere_a_remote_run_is_finished_by_the_next(px):
    base = small_home(px)
    steps_file = base.folder.with_name(base.folder.name + ".steps")
    calm = copy_of(base, "calm")
    calm.run("run", "--ds", "2026-11-20", expect=0)
    calm.write("data/reports/b.csv", report_rows(30, 5))
    calm.run("run", "--ds", "2026-11-21", expect=0, env={"PX_TEST_STEPS": str(steps_file)})
    expected = seen(calm)
    steps = list(dict.fromkeys(steps_file.read_text().split("\n")[:-1]))
    for number, step in enumerate(steps[::5]):
        home = copy_of(base, "kill")
        remote(home, f"kill{number}")
        home.run("run", "--ds", "2026-11-20", expect=0)
        home.write("data/reports/b.csv", report_rows(30, 5))
        done = home.run("run", "--ds", "2026-11-21", env={"PX_TEST_KILL_AT": step})
        check(done.returncode == -9, f"{step}: px was not killed but gave {done.returncode}\n{done.stderr}")
        if number % 2:
            servers["postgres"].end()
            servers["postgres"].start()
        home.run("run", "--ds", "2026-11-21", expect=(0, 99))
        equal(expected, seen(home))
        home.remove()
    print(f"      {len(steps[::5])} steps")
    for folder in (base, calm):
        folder.remove()
    steps_file.unlink()


class NoTokens:
    """A token service that knows nobody."""

    def __init__(self):
        class Refuse(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                body = b'{"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret provided."}'
                self.send_response(401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def what_is_wrong_with_a_service_is_said_in_one_line(px):
    home = small_home(px)
    azurite, postgres = servers["azurite"], servers["postgres"]
    remote(home, "wrong")
    home.run("run", "--ds", "2026-11-20", expect=0)
    before = seen(home)
    postgres.sql("drop role if exists px_reader; create role px_reader login password 'reader'")
    address = f"127.0.0.1:{postgres.port}/px?schema=wrong"
    no_key = {"AZURE_STORAGE_ACCOUNT_KEY": ""}

    def sas(permission, hours, broken=False):
        from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=hours)
        token = generate_account_sas(ACCOUNT, KEY, ResourceTypes(container=True, object=True), AccountSasPermissions.from_string(permission), end,
                                     start=end - datetime.timedelta(hours=3))
        return {**no_key, "AZURE_STORAGE_SAS_TOKEN": token[:-4] + "AA%3D" if broken else token}

    tokens = NoTokens()
    home.run("run", "--ds", "2026-11-20", env=sas(permission="racwdl", hours=1), expect=99)
    home.write("data/reports/b.csv", report_rows(30, 5))
    # What is wrong, the variables, words of the answer.
    cases = [
        ("wrong key", {"AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmc="}, ["AZURE_STORAGE_ACCOUNT_KEY"]),
        ("wrong SAS", sas(permission="racwdl", hours=1, broken=True), ["SAS", "AZURE_STORAGE_SAS_TOKEN"]),
        ("SAS that ended", sas(permission="racwdl", hours=-1), ["SAS", "AZURE_STORAGE_SAS_TOKEN"]),
        ("SAS without rights", sas(permission="rl", hours=1), ["SAS", "racwdl"]),
        ("wrong client secret", {**no_key, "AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "client", "AZURE_CLIENT_SECRET": "n0t-this-0ne",
                                 "AZURE_AUTHORITY_HOST": tokens.url}, ["client secret", "AZURE_CLIENT_SECRET"]),
        ("wrong store", {"PX_LAKE_URL": f"http://127.0.0.1:9/{ACCOUNT}/wrong-processed-data/lake"}, ["127.0.0.1:9"]),
        ("wrong password", {"PX_CATALOG_URL": f"postgresql://px_admin:wrong@{address}"}, ["password"]),
        ("wrong host", {"PX_CATALOG_URL": f"postgresql://px_admin:wrong@127.0.0.1:9/px?schema=wrong"}, ["127.0.0.1"]),
        ("no rights", {"PX_CATALOG_URL": f"postgresql://px_reader:reader@{address}"}, ["px_reader"]),
    ]
    for name, variables, words in cases:
        done = home.run("run", "--ds", "2026-11-21", env=variables, timeout=120)
        text = done.stdout + done.stderr
        check(done.returncode == 4, f"{name}: exit {done.returncode}\n{text}")
        last = [line for line in text.splitlines() if line.strip()][-1]
        for word in words:
            check(word in text, f"{name}: '{word}' is not in\n{text}")
        check(len(last) > 30 and "wrong@" not in text and KEY not in text and "n0t-this-0ne" not in text and "sig=" not in text, f"{name}: {text}")
        if name in ("wrong store", "wrong host", "wrong key", "SAS that ended"):
            continue  # px doctor says the same, and waits as long
        doctor = home.json("doctor", env=variables, expect=4, timeout=120)
        failed = [finding for finding in doctor if finding["state"] == "failed"]
        check(failed and all(finding["fix"] for finding in failed), f"{name}: px doctor says {failed}")
    tokens.stop()
    equal(before, seen(home))
    postgres.sql("alter table wrong.releases rename to lost")
    done = home.run("run", "--ds", "2026-11-21")
    check(done.returncode == 4 and "release" in done.stderr, f"dropped table: exit {done.returncode}\n{done.stderr}")
    home.remove()


def two_runs_at_a_time_are_kept_apart_by_the_catalog(px):
    home = small_home(px)
    remote(home, "twice")
    other = copy_of(home, "other")
    first = subprocess.Popen([home.px, "run", "--ds", "2026-11-20"], cwd=home.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    second = subprocess.Popen([home.px, "run", "--ds", "2026-11-20"], cwd=other.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    errors = second.communicate(timeout=300)[1]
    codes = sorted((first.wait(timeout=300), second.returncode))
    check(codes in ([0, 4], [0, 99]), f"exit codes {codes}: {errors}")
    check([row[0] for row in home.sql("select count(*) from reports")] == [8], "rows are doubled or lost")
    check(len(home.json("releases")) == 1, "there are two releases")
    for folder in (home, other):
        folder.remove()


def with_servers(tests):
    try:
        servers["azurite"] = Azurite()
        servers["postgres"] = Postgres()
        main(tests)
    except Failure as failure:
        sys.exit(f"FAILED {failure}")
    finally:
        for server in servers.values():
            server.stop()


if __name__ == "__main__":
    with_servers([the_example_gives_equal_releases_on_remote_stores, two_runs_at_a_time_are_kept_apart_by_the_catalog,
                  what_is_wrong_with_a_service_is_said_in_one_line, killed_anywhere_a_remote_run_is_finished_by_the_next])

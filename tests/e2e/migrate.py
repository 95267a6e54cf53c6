"""A pipeline with its history moves to other stores and back, and no kill, mistake or other user of the target gets in the way."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import Home, check, report_rows, small_home  # noqa: E402
from remote import KEY, copy_of, equal, remote, seen, servers, with_servers  # noqa: E402
from servers import ACCOUNT  # noqa: E402

KEYS = {"PX_LANDING_URL": "landing", "PX_LAKE_URL": "lake", "PX_CATALOG_URL": "catalog", "PX_VECTORS_URL": "vectors"}


def file_for(home, name, addresses):
    """Writes NAME.yaml beside the pipeline file: the same pipeline elsewhere."""
    text = (home.folder / "pipeline.yaml").read_text()
    home.write(f"{name}.yaml", text + "".join(f"{key}: {{url: \"{address}\"}}\n" for key, address in addresses.items()))
    return f"{name}.yaml"


def cloud_file(home, name):
    values = remote(home, name)
    home.write(".env", f"AZURE_STORAGE_ACCOUNT_NAME={ACCOUNT}\nAZURE_STORAGE_ACCOUNT_KEY={KEY}\n")
    return file_for(home, name, {key: values[variable] for variable, key in KEYS.items()})


def local_file(home, name):
    return file_for(home, name, {"landing": f"./{name}/landing", "lake": f"./{name}/lake", "catalog": f"sqlite:./{name}/catalog.db",
                                 "vectors": f"embedded:./{name}/index"})


class At:
    """px with another pipeline file of the same folder."""

    def __init__(self, home, file):
        self.home, self.file = home, file

    def run(self, *words, **more):
        return self.home.run("--file", self.file, *words, **more)

    def json(self, *words, **more):
        return self.home.json("--file", self.file, *words, **more)

    def sql(self, query, *more):
        return self.json("sql", query, *more)["rows"]


def with_history(px):
    """Three releases, one halted run, quarantined rows, a changed and a deleted document."""
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    home.write("data/reports/b.csv", report_rows(30, 5))
    home.write("data/papers/plan.md", "---\ntitle: The plan\nauthor: Grace\n---\nThe plan has changed: there will be no cold store at all.\n")
    home.run("run", "--ds", "2026-11-21", expect=0)
    (home.folder / "data/papers/note.txt").unlink()
    good = (home.folder / "data/reports/a.csv").read_text()
    home.write("data/reports/a.csv", "id,title,author,day,revenue,text\n" + "R1,x,y,bad,bad,z\n" * 9)
    home.run("run", "--ds", "2026-11-22", expect=3)
    home.write("data/reports/a.csv", good + report_rows(60, 2).split("\n", 1)[1])
    home.run("run", "--ds", "2026-11-22", expect=0)
    return home


def history(home):
    """Everything a person can ask of the past."""
    releases = home.json("releases")
    told = {"releases": releases, "runs": home.json("runs"), "quarantine": home.json("quarantine", "list", "--limit", "1000")}
    for release in releases:
        number = str(release["id"])
        told[number] = (home.sql("select document_id, title, author, ingested_at from documents order by 1", "--as-of", number),
                        home.sql("select * from reports order by all", "--as-of", number),
                        [r["chunk_id"] for r in home.json("search", "the cold store", "--as-of", number, "--top-k", "10")["results"]])
    return told


def a_pipeline_moves_to_the_cloud_and_back_with_its_history(px):
    home = with_history(px)
    cloud = At(home, cloud_file(home, "moved"))
    before = history(home)
    shown = home.run("migrate", "--to", cloud.file, expect=0)
    check("Migrated to moved.yaml" in shown.stdout and "3 releases" in shown.stdout, shown.stdout)
    for part, told in history(cloud).items():
        check(told == before[part], f"{part} differs:\n{str(before[part])[:500]}\n{str(told)[:500]}")
    equal(seen(home, ["outlook of site 4", "forklifts"]), seen(cloud, ["outlook of site 4", "forklifts"]))
    answer = cloud.json("ask", "What stored pallets?")
    cloud.run("verify", "-", expect=0, stdin=json.dumps(answer))
    # Once more sends nothing; work goes on there; then home again, the new release included.
    again = home.json("migrate", "--to", cloud.file)
    check(again["catalog_was_there"] and all(store["sent"] == 0 for store in again["stores"]), str(again))
    cloud.run("run", "--ds", "2026-11-22", expect=99)
    home.write("data/items.jsonl", '{"sku": "C", "price": 9}\n')
    cloud.run("run", "--ds", "2026-11-23", expect=0)
    refused = home.run("migrate", "--to", cloud.file)
    check(refused.returncode == 1 and "other releases" in refused.stderr, f"{refused.returncode} {refused.stderr}")
    back = At(home, local_file(home, "back"))
    cloud.run("migrate", "--to", back.file, expect=0)
    after = history(cloud)
    check(len(after["releases"]) == 4, str(after["releases"]))
    for part, told in history(back).items():
        check(told == after[part], f"{part} differs on the way back")
    back.run("run", "--ds", "2026-11-23", expect=99)
    home.remove()


def killed_anywhere_it_goes_on_and_the_target_shows_nothing_before(px):
    home = with_history(px)
    expected = history(home)
    steps = home.folder / "steps"
    home.run("migrate", "--to", local_file(home, "calm"), expect=0, env={"PX_TEST_STEPS": str(steps)})
    labels = steps.read_text().split()
    check(len(labels) == 7, str(labels))
    dice = random.Random(5)
    moments = [(label, None) for label in labels] + [(None, dice.uniform(0.02, 0.4)) for _ in range(4)]
    for number, (label, moment) in enumerate(moments):
        target = At(home, cloud_file(home, f"killed{number}") if number % 3 == 2 else local_file(home, f"killed{number}"))
        if label:
            home.run("migrate", "--to", target.file, expect=-9, env={"PX_TEST_KILL_AT": label})
        else:
            process = subprocess.Popen([home.px, "migrate", "--to", target.file], cwd=home.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(moment)
            process.send_signal(signal.SIGKILL)
            process.wait()
        if label and label not in ("migrate.begin", "migrate.end"):
            refused = target.run("run", "--ds", "2026-11-30")
            if label == "migrate.catalog.end":  # nothing lacks, and nothing is to be done
                check(refused.returncode == 99, f"{label}: {refused.returncode} {refused.stderr}")
            else:
                check(refused.returncode == 4 and "has not finished" in refused.stderr, f"{label}: {refused.returncode} {refused.stderr}")
                check(target.run("releases").stdout.count("\n") <= 1, f"{label}: the target shows releases")
        report = home.json("migrate", "--to", target.file)
        if label == "migrate.index":
            check(all(store["sent"] == 0 for store in report["stores"]), f"{label}: {report['stores']}")
        equal(expected, history(target))
    # An object that was damaged on the way is sent again.
    lake = home.folder / "killed0/lake"
    part = next(lake.rglob("*.parquet"))
    part.chmod(0o644)
    part.write_bytes(bytes(len(part.read_bytes())))
    report = home.json("migrate", "--to", "killed0.yaml")
    check([store["sent"] for store in report["stores"]] == [0, 1, 0], str(report["stores"]))
    home.remove()


def what_can_not_be_moved_is_refused_with_a_reason(px):
    home = small_home(px)
    target = local_file(home, "target")

    def refused(words, code, *arguments, file=target):
        done = home.run(*arguments, "migrate", "--to", file)
        check(done.returncode == code, f"exit {done.returncode}, not {code}: {done.stderr}")
        for word in words:
            check(word in done.stderr, f"'{word}' is not in {done.stderr}")

    refused(["has not run yet", "px run"], 1)
    home.run("run", "--ds", "2026-11-20", expect=-9, env={"PX_TEST_KILL_AT": "gate.end"})
    refused(["unfinished", "px run"], 1)
    home.run("run", "--ds", "2026-11-20", expect=0)
    refused(["both pipeline files name"], 1, file="pipeline.yaml")
    other = (home.folder / "target.yaml").read_text()
    home.write("other.yaml", other.replace("halt_above: 40%", "halt_above: 41%"))
    refused(["halt_above", "40%", "41%"], 2, file="other.yaml")
    home.write("other.yaml", other + "chunking: {size: 300}\n")
    refused(["chunking.size"], 2, file="other.yaml")
    home.run("--file", "target.yaml", "run", "--ds", "2026-11-20", expect=0)
    refused(["other releases", "empty place"], 1)
    foreign = local_file(home, "foreign")
    home.write("foreign/lake/strange/_delta_log/00000000000000000000.json", "{}\n")
    refused(["strange", "not of this pipeline"], 1, file=foreign)
    # While someone works.
    with open(home.folder / ".px/run.lock", "a") as lock:
        import fcntl
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused(["another px"], 4, file=local_file(home, "later"))
    # Stopped by the keyboard.
    process = subprocess.Popen([home.px, "migrate", "--to", local_file(home, "stopped")], cwd=home.folder, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, env={**os.environ, "PX_TEST_KILL_AT": "none"})
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    check(process.returncode in (0, 1, -signal.SIGINT), f"{process.returncode} {errors}")
    home.json("migrate", "--to", "stopped.yaml")
    home.remove()


if __name__ == "__main__":
    with_servers([a_pipeline_moves_to_the_cloud_and_back_with_its_history, killed_anywhere_it_goes_on_and_the_target_shows_nothing_before,
                  what_can_not_be_moved_is_refused_with_a_reason])

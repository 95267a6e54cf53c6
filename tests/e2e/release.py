"""The release as a person meets it: run, run again, edit, delete, look back, verify, and a gate that halts."""

import json
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import EXAMPLE, Home, check, main, report_rows, small_home  # noqa: E402


def second_run_changes_nothing(px):
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    before = home.files()
    done = home.run("run", "--ds", "2026-11-20", expect=99)
    check("Nothing to do" in done.stdout, done.stdout)
    check(home.files() == before, f"files changed: {set(home.files().items()) ^ set(before.items())}")
    check(home.json("releases")[0]["id"] == 1, "a second release was published")
    home.run("run", "--ds", "2026-11-21", expect=99)
    check(home.files() == before, "another day without new input changed files")
    home.remove()


def rerun_of_a_day_overwrites_its_partition(px):
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    home.write("data/reports/a.csv", report_rows(1, 5))
    home.run("run", "--ds", "2026-11-20", expect=0)
    check(home.sql("select count(*) from reports") == [[5]], "the partition was not overwritten")
    home.write("data/reports/b.csv", report_rows(20, 4))
    report = home.json("run", "--ds", "2026-11-21")
    check(home.sql("select ds, count(*) from reports group by ds order by ds") == [["2026-11-20", 5], ["2026-11-21", 4]],
          "the new day must hold the new file alone")
    check(report["sources"][0]["files"] == 1, "a file that was ingested before was ingested again")
    check(home.sql("select count(*) from reports", "--as-of", "1") == [[8]], "as_of release 1 sees other rows")
    home.remove()


def only_what_changed_is_embedded_and_the_plan_knows(px):
    home = small_home(px)
    planned = home.json("plan", "--ds", "2026-11-20")["chunks"]
    check(not (home.folder / "lake").exists() and not (home.folder / "catalog.db").exists(), "px plan wrote something")
    made = home.json("run", "--ds", "2026-11-20")["chunks"]
    check({k: planned[k] for k in ("embed", "reuse", "delete")} == {k: made[k] for k in ("embed", "reuse", "delete")},
          f"plan {planned}, run {made}")
    home.write("data/reports/a.csv", report_rows(1, 8, changed=(3,)))
    home.write("data/papers/note.txt", "A short note on forklifts.\n\nThey are green and there are ten of them.\n")
    planned = home.json("plan", "--ds", "2026-11-20")["chunks"]
    made = home.json("run", "--ds", "2026-11-20")["chunks"]
    check(all(planned[k] == made[k] for k in ("embed", "reuse", "delete")), f"plan {planned}, run {made}")
    check(made["embed"] == 2 and made["delete"] == 2, f"two chunks changed, but {made}")
    now = " ".join(r["text"] for r in home.json("search", "What colour are the forklifts?")["results"])
    check("green" in now and "yellow" not in now, now)
    then = " ".join(r["text"] for r in home.json("search", "What colour are the forklifts?", "--as-of", "1")["results"])
    check("yellow" in then and "green" not in then, f"as_of release 1: {then}")
    home.remove()


def deleted_document_is_not_quoted(px):
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    (home.folder / "data/papers/plan.md").unlink()
    report = home.json("run", "--ds", "2026-11-20")
    check(report["chunks"]["delete"] > 0 and report["chunks"]["embed"] == 0, str(report["chunks"]))
    found = home.json("search", "second cold store in the north, twelve million euro")["results"]
    check(all("plan.md" not in r["document_id"] for r in found), "a deleted document is still found")
    check(home.sql("select count(*) from documents where title = 'The plan'") == [[0]], "still among the documents")
    home.remove()


def merge_updates_by_key(px):
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    home.write("data/items.jsonl", '{"sku": "B", "price": 3}\n{"sku": "C", "price": 4}\n')
    home.run("run", "--ds", "2026-11-21", expect=0)
    check(home.sql("select sku, price, ds from items order by sku") ==
          [["A", 1.5, "2026-11-20"], ["B", 3.0, "2026-11-21"], ["C", 4.0, "2026-11-21"]],
          str(home.sql("select sku, price, ds from items order by sku")))
    home.remove()


def missing_column_halts_before_the_lake_is_touched(px):
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    log = home.lake_log()
    text = report_rows(1, 8).replace("id,title,author,day", "id,title,autor,day", 1)
    home.write("data/reports/a.csv", text)
    for command in ("plan", "run"):
        done = home.run(command, "--ds", "2026-11-20", expect=3)
        for word in ("a.csv", "author", "autor", "revenue"):
            check(word in done.stdout + done.stderr, f"'{word}' is not named:\n{done.stdout}{done.stderr}")
    check(home.lake_log() == log, "the lake's log changed")
    check(home.json("status")["release"]["id"] == 1, "the old release is not served")
    check(home.json("runs")[0]["state"] == "halted", "the run is not recorded as halted")
    home.write("data/reports/a.csv", report_rows(1, 9))
    home.run("run", "--ds", "2026-11-20", expect=0)
    home.remove()


def too_many_rejects_and_failed_checks_halt(px):
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    bad = report_rows(1, 8).replace(".50,", ".505,")
    home.write("data/reports/a.csv", bad)
    done = home.run("run", "--ds", "2026-11-20", expect=3)
    check("revenue" in done.stdout and "a.csv:2" in done.stdout, done.stdout)
    home.write("data/reports/a.csv", report_rows(1, 8).replace("10.50", "9000000.50"))
    done = home.run("run", "--ds", "2026-11-20", expect=3)
    check("revenue is bounded" in done.stdout, done.stdout)
    check(home.json("status")["release"]["id"] == 1, "a halted run published")
    home.remove()


def quarantine_is_listed_and_replayed(px):
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    rows = home.json("quarantine", "list")
    check(len(rows) == 1 and rows[0]["rule"] == "type" and rows[0]["column"] == "day" and "R999" in rows[0]["raw"], str(rows))
    text = (home.folder / "pipeline.yaml").read_text()
    home.write("pipeline.yaml", text.replace("{name: day, type: date, role: date}", "{name: day, type: timestamp, role: date}"))
    # Another type is another column: the gate refuses to change the lake's.
    home.run("run", "--ds", "2026-11-20", expect=3)
    home.write("pipeline.yaml", text.replace('type: "decimal(18,2)", min: 0', 'type: "decimal(18,2)", min: 11'))
    (home.folder / "data/reports/a.csv").unlink()
    home.run("quarantine", "replay", "--ds", "2026-11-20", expect=0)
    check(len(home.json("quarantine", "list")) == 2, "the replay did not use the landed file and the new rule")
    home.remove()


def one_run_at_a_time(px):
    home = small_home(px)
    fifo = home.folder / "hold.jsonl"
    import os
    os.mkfifo(fifo)
    lock = home.folder / ".px"
    lock.mkdir()
    holder = subprocess.Popen([sys.executable, "-c",
                               "import fcntl,os,sys,time\n"
                               f"f=os.open({str(lock / 'run.lock')!r}, os.O_RDWR|os.O_CREAT)\n"
                               "fcntl.flock(f, fcntl.LOCK_EX); os.write(f, b'4711'); print('held', flush=True); time.sleep(60)"],
                              stdout=subprocess.PIPE, text=True)
    try:
        check(holder.stdout.readline().strip() == "held", "no lock")
        done = home.run("run", "--ds", "2026-11-20", expect=4)
        check("another px" in done.stderr and "4711" in done.stderr, done.stderr)
    finally:
        holder.kill()
        holder.wait()
    home.run("run", "--ds", "2026-11-20", expect=0)
    home.remove()


def every_command_answers(px):
    home = small_home(px)
    done = home.run("status", expect=1)
    check("px run" in done.stderr, done.stderr)
    home.run("run", "--ds", "2026-11-20", expect=0)
    for words in (["status"], ["runs"], ["releases"], ["tables"], ["doctor"], ["config", "show", "--origin"], ["graph"],
                  ["completion", "bash"], ["completion", "fish"], ["search", "pallets"], ["ask", "How many pallets?"],
                  ["quarantine", "list"], ["vacuum", "--dry-run"], ["sql", "select 1"], ["plan"]):
        for json_flag in ([], ["--json"]):
            done = home.run(*json_flag, *words, expect=(0, 99))
            check(done.stdout.strip(), f"{words} printed nothing")
            if json_flag and words[0] != "completion":
                json.loads(done.stdout)
    run_id = home.json("runs")[0]["id"]
    detail = home.json("runs", run_id)
    check({t["task"] for t in detail["tasks"] if t["state"] == "done"} >= {"look", "land.reports", "stage.reports", "gate", "merge.items", "embed", "index",
                                                    "model.revenue_by_author", "metadata", "publish"}, str(detail["tasks"]))
    done = home.run("serch", "x", expect=2)
    check("search" in done.stderr, done.stderr)
    line = json.dumps({"id": 7, "text": "cold store"})
    vector = json.loads(home.run("embed", stdin=line + "\n", expect=0).stdout)
    check(vector["id"] == 7 and abs(sum(x * x for x in vector["vector"]) - 1) < 1e-3, "px embed gave no unit vector")
    check(home.run("embed", stdin="{}\n").returncode == 2, "px embed accepted a line without text")
    home.remove()


def vacuum_keeps_what_releases_need(px):
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    home.write("data/reports/a.csv", report_rows(1, 4))
    home.run("run", "--ds", "2026-11-20", expect=0)
    home.run("vacuum", "--retention-days", "0", expect=0)
    check(home.sql("select count(*) from reports") == [[4]], "vacuum broke the newest release")
    check(home.json("search", "pallets")["count"] > 0, "vacuum broke the index")
    home.remove()


def the_example_shows_every_feature(px):
    home = Home(px)
    shutil.rmtree(home.folder)
    shutil.copytree(EXAMPLE, home.folder)
    subprocess.run([sys.executable, "make_orders.py"], cwd=home.folder, check=True, capture_output=True)
    report = home.json("run")
    check(sum(s["quarantined"] for s in report["sources"]) == 5, str(report["sources"]))
    answer = home.json("ask", "What is the financial outlook?")
    check(answer["grounded"] and answer["citations"], answer["answer"])
    done = home.run("verify", "-", stdin=json.dumps(answer), expect=0)
    check("NOT VERIFIED" not in done.stdout, done.stdout)
    nothing = home.json("ask", "Who won the chess championship in Reykjavik?")
    check(not nothing["grounded"] and nothing["answer"] == "Not in the sources.", nothing["answer"])
    check(home.sql("select count(*) from orders_by_route")[0][0] > 0, "the model is empty")
    home.remove()


if __name__ == "__main__":
    main([second_run_changes_nothing, rerun_of_a_day_overwrites_its_partition, only_what_changed_is_embedded_and_the_plan_knows,
          deleted_document_is_not_quoted, merge_updates_by_key, missing_column_halts_before_the_lake_is_touched,
          too_many_rejects_and_failed_checks_halt, quarantine_is_listed_and_replayed, one_run_at_a_time, every_command_answers,
          vacuum_keeps_what_releases_need, the_example_shows_every_feature])

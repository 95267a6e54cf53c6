"""`px task`: the graph executed task by task, in many processes, by whatever calls them, equals one `px run`."""

import json
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import Home, check, main, report_rows, small_home  # noqa: E402

DAY = "2026-11-20"


def graph(home):
    return json.loads(home.run("graph", expect=0).stdout)["tasks"]


def task(home, name, run="nightly", ds=DAY, expect=0, **more):
    """The last line a task prints; None if it printed nothing."""
    lines = home.run("task", name, "--run-id", run, "--ds", ds, expect=expect, **more).stdout.splitlines()
    return json.loads(lines[-1]) if lines else None


def whole_run(home, run="nightly", ds=DAY):
    return {t["name"]: task(home, t["name"], run, ds) for t in graph(home)}


def copy_of(home, name):
    copy = Home(home.px, f"{home.folder}-{name}")
    shutil.rmtree(copy.folder, ignore_errors=True)
    shutil.copytree(home.folder, copy.folder)
    return copy


def task_by_task_equals_one_run(px):
    home = small_home(px)
    calm = copy_of(home, "calm")
    for ds in (DAY, "2026-11-21"):
        calm.run("run", "--ds", ds, expect=0)
        done = whole_run(home, run=f"scheduled__{ds}T01:00:00+00:00", ds=ds)
        check(all(line["state"] == "done" and line["ds"] == ds for line in done.values()), str(done))
        check(len({line["run"] for line in done.values()}) == 1, str(done))
        check(home.state() == calm.state(), f"{ds}: tasks made another release than px run")
        report, expected = (h.json("runs", h.json("runs")[0]["id"])["report"] for h in (home, calm))
        for changing in ("elapsed_s", "resumed", "cpu_s", "memory_max_bytes"):
            report.pop(changing), expected.pop(changing)
        check(report == expected, f"{report}\n{expected}")
        for h in (home, calm):
            h.write("data/reports/b.csv", report_rows(30, 5))
            (h.folder / "data/papers/plan.md").unlink(missing_ok=True)
            h.write("data/items.jsonl", '{"sku": "B", "price": 3}\n{"sku": "C", "price": 4}\n')
    before = home.files()
    line = task(home, "look", run="another", ds="2026-11-21", expect=99)
    check(line["state"] == "skipped" and home.files() == before, f"a look that finds nothing new wrote something: {line}")
    home.remove()
    calm.remove()


def a_task_done_twice_is_done_once(px):
    home = small_home(px)
    for name in [t["name"] for t in graph(home)]:
        first = task(home, name)
        state = home.files() if name != "publish" else None
        again = task(home, name)
        check(not first["already"] and again["already"] and again["run"] == first["run"], f"{name}: {again}")
        check(state is None or {k: v for k, v in home.files().items() if "catalog" not in k} ==
              {k: v for k, v in state.items() if "catalog" not in k}, f"{name}: the second time wrote something")
    check([r["state"] for r in home.json("runs")] == ["published"], str(home.json("runs")))
    attempts = [t["attempt"] for t in home.json("runs", home.json("runs")[0]["id"])["tasks"]]
    check(set(attempts) == {1}, str(attempts))
    home.remove()


def killed_tasks_are_repeated(px):
    base = small_home(px)
    base.run("run", "--ds", DAY, expect=0)
    base.write("data/reports/b.csv", report_rows(30, 5))
    base.write("data/items.jsonl", '{"sku": "B", "price": 3}\n{"sku": "C", "price": 4}\n')
    calm = copy_of(base, "calm")
    calm.run("run", "--ds", "2026-11-21", expect=0)
    expected = calm.state()
    steps = base.folder.with_name(base.folder.name + ".steps")
    home = copy_of(base, "kill")
    for name in [t["name"] for t in graph(home)]:
        # Every step of the task: killed there, then repeated.
        steps.unlink(missing_ok=True)
        probe = copy_of(home, "probe")
        task(probe, name, ds="2026-11-21", env={"PX_TEST_STEPS": str(steps)})
        probe.remove()
        labels = list(dict.fromkeys(steps.read_text().split("\n")[:-1])) if steps.exists() else []
        for label in labels:
            victim = copy_of(home, "victim")
            task(victim, name, ds="2026-11-21", env={"PX_TEST_KILL_AT": label}, expect=-9)
            if name == "publish" or (label == labels[-1] and name in ("merge.items", "embed")):
                for later in [t["name"] for t in graph(home)]:
                    task(victim, later, ds="2026-11-21")
                check(victim.state() == expected, f"killed in {name} at {label}: another release")
            else:
                task(victim, name, ds="2026-11-21")
            victim.remove()
        task(home, name, ds="2026-11-21")
    check(home.state() == expected, "the release differs")
    for h in (base, calm, home):
        h.remove()
    steps.unlink(missing_ok=True)


def streams_run_side_by_side_in_processes_of_their_own(px):
    home = small_home(px)
    calm = copy_of(home, "calm")
    calm.run("run", "--ds", DAY, expect=0)
    tasks = graph(home)
    done, running = set(), {}
    overlap = 0
    while len(done) < len(tasks):
        for t in tasks:
            if t["name"] not in done and t["name"] not in running and set(t["depends_on"]) <= done:
                running[t["name"]] = subprocess.Popen([px.resolve(), "task", t["name"], "--run-id", "x", "--ds", DAY], cwd=home.folder,
                                                      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        overlap = max(overlap, len(running))
        for name, process in list(running.items()):
            if process.poll() is not None:
                check(process.returncode == 0, f"{name}: {process.returncode} {process.stderr.read()}")
                process.stderr.close()
                done.add(name)
                del running[name]
        time.sleep(0.005)
    check(overlap >= 3, f"only {overlap} tasks at once")
    check(home.state() == calm.state(), "side by side they made another release")
    home.remove()
    calm.remove()


def a_halt_ends_the_run_and_look_begins_another(px):
    home = small_home(px)
    good = (home.folder / "data/reports/a.csv").read_text()
    home.write("data/reports/a.csv", good.replace("id,title,author", "id,title,autor", 1))
    task(home, "look")
    task(home, "land.reports")
    line = task(home, "stage.reports", expect=3)
    check(line["state"] == "halted" and "autor" in line["reasons"][0], str(line))
    for name in ("stage.reports", "gate", "publish"):
        check(task(home, name, expect=3)["state"] == "halted", name)
    check(home.json("runs")[0]["state"] == "halted" and not home.lake_log(), str(home.json("runs")))
    home.write("data/reports/a.csv", good)
    whole_run(home)
    check([r["state"] for r in home.json("runs")] == ["published", "halted"], str(home.json("runs")))
    home.remove()


def a_gate_that_halted_is_not_passed_by_whoever_takes_the_run_up(px):
    for taken_up in (["run", "--ds", DAY], ["task", "gate", "--run-id", "x", "--ds", DAY]):
        home = small_home(px)
        home.write("data/reports/a.csv", (home.folder / "data/reports/a.csv").read_text().replace("10.50", "99999999.50", 1))
        if taken_up[0] == "run":
            home.run("run", "--ds", DAY, env={"PX_TEST_KILL_AT": "gate.noted"}, expect=-9)
        else:
            for t in graph(home):
                if t["name"] == "gate":
                    break
                task(home, t["name"], run="x")
            task(home, "gate", run="x", expect=-9, env={"PX_TEST_KILL_AT": "gate.noted"})
            check("not done yet" in home.run("task", "chunk", "--run-id", "x", "--ds", DAY, expect=2).stderr, "a stream started behind a halted gate")
        done = home.run(*taken_up, expect=3)
        check("revenue is bounded" in done.stdout, done.stdout)
        check(home.json("runs")[0]["state"] == "halted" and not home.json("releases") and not home.lake_log(), str(home.json("runs")))
        home.remove()


def a_file_withdrawn_between_two_attempts_to_land_is_not_read(px):
    home = small_home(px)
    home.write("data/reports/b.csv", report_rows(30, 5))
    task(home, "look")
    task(home, "land.reports", expect=-9, env={"PX_TEST_KILL_AT": "land.reports.end"})
    (home.folder / "data/reports/b.csv").unlink()
    whole_run(home)
    check(home.sql("select count(*) from reports") == [[8]], str(home.sql("select count(*) from reports")))
    home.write("data/reports/b.csv", report_rows(30, 5))
    home.run("run", "--ds", DAY, expect=0)
    check(home.sql("select count(*) from reports") == [[13]], str(home.sql("select count(*) from reports")))
    home.remove()


def a_failed_stream_keeps_what_the_others_did(px):
    home = small_home(px)
    # The lake's stream fails: a file stands where its model's folder has to be.
    home.run("plan", "--ds", DAY, expect=0)
    (home.folder / "lake").mkdir(exist_ok=True)
    blocker = home.write("lake/revenue_by_author", "in the way")
    done = home.run("run", "--ds", DAY)
    check(done.returncode in (1, 2, 4) and "revenue_by_author" in done.stderr, done.stderr)
    run = home.json("runs")[0]
    states = {t["task"]: t["state"] for t in home.json("runs", run["id"])["tasks"]}
    check(states["model.revenue_by_author"] == "failed" and states["index"] == states["metadata"] == "done" and "publish" not in states, str(states))
    blocker.unlink()
    home.run("run", "--ds", DAY, expect=0)
    home.remove()


def a_run_taken_over_by_px_run_stays_one_run(px):
    home = small_home(px)
    calm = copy_of(home, "calm")
    calm.run("run", "--ds", DAY, expect=0)
    names = [t["name"] for t in graph(home)]
    for name in names[:names.index("chunk")]:
        task(home, name)
    home.run("run", "--ds", DAY, expect=0)
    check(len(home.json("runs")) == 1 and home.state() == calm.state(), str(home.json("runs")))
    for name in names[names.index("chunk"):]:
        check(task(home, name)["already"], name)
    home.remove()
    calm.remove()


def another_release_in_between_is_built_upon(px):
    home = small_home(px)
    home.run("run", "--ds", DAY, expect=0)
    home.write("data/items.jsonl", '{"sku": "D", "price": 9}\n')
    names = [t["name"] for t in graph(home)]
    for name in names[:-1]:
        task(home, name, ds="2026-11-21")
    # Given up by the catalog alone, as if another machine had done so; a release follows; then the run is back.
    database = sqlite3.connect(home.folder / "catalog.db")
    database.execute("update runs set state = 'failed' where run_id = '2026-11-21-0001'")
    database.commit()
    home.write("data/papers/new.txt", "Entirely new: the eleventh forklift is blue.\n")
    home.run("run", "--ds", "2026-11-22", expect=0)
    database.execute("update runs set state = 'running' where run_id = '2026-11-21-0001'")
    database.commit()
    database.close()
    task(home, "publish", ds="2026-11-21")
    check(home.sql("select count(*) from papers where text like '%eleventh forklift%'") == [[1]], "the release in between was lost")
    check(home.json("search", "eleventh forklift blue")["count"] > 0, "its vectors were lost")
    check(sorted(row[0] for row in home.sql("select sku from items")) == ["A", "B", "D"], str(home.sql("select sku from items")))
    home.remove()


def the_pipeline_file_of_the_beginning_counts(px):
    home = small_home(px)
    for name in [t["name"] for t in graph(home)]:
        task(home, name)
        if name == "look":
            file = home.folder / "pipeline.yaml"
            file.write_text(file.read_text().replace("halt_above: 40%", "halt_above: 0%").replace("sum(revenue)", "no_such(revenue)"), encoding="utf-8")
    check(home.json("runs")[0]["state"] == "published", str(home.json("runs")))
    home.remove()


def wrong_calls_are_told(px):
    home = small_home(px)
    check("look" in home.run("task", "gate", "--run-id", "x", "--ds", DAY, expect=1).stderr, "no hint to begin with look")
    task(home, "look", run="x")
    for words, code, text in ((["gate", "--run-id", "x", "--ds", DAY], 2, "not done yet"),
                              (["gat", "--run-id", "x", "--ds", DAY], 2, "Its tasks: look"),
                              (["land.reports", "--run-id", "y", "--ds", DAY], 1, "no run is called 'y'"),
                              (["land.reports", "--run-id", "x", "--ds", "2026-11-21"], 2, "not for 2026-11-21"),
                              (["look", "--run-id", "x", "--ds", "2026-02-30"], 2, "--ds"),
                              (["look", "--run-id", "", "--ds", DAY], 2, "1 to 500 bytes"),
                              (["look", "--ds", DAY], 2, "--run-id")):
        done = home.run("task", *words, expect=code)
        check(text in done.stderr and not done.stdout, f"{words}: {done.stdout}{done.stderr}")
    home.remove()


def a_catalog_of_an_older_px_is_brought_forward(px):
    for command in (["ask", "How many pallets?"], ["run", "--ds", "2026-11-21"]):
        home = small_home(px)
        home.run("run", "--ds", DAY, expect=0)
        database = sqlite3.connect(home.folder / "catalog.db")
        later = [f"drop table {name}" for (name,) in
                 database.execute("select name from sqlite_schema where type = 'table' and name glob 'schedule_*'")]
        for statement in later + ["drop index runs_by_external_id", "alter table runs drop column external_id",
                                  "delete from schema_version where version > 1"]:
            database.execute(statement)
        database.commit()
        database.close()
        home.run(*command, expect=(0, 99))
        check(len(home.json("runs")) >= 1, "runs can't be read")
        home.remove()


if __name__ == "__main__":
    main([task_by_task_equals_one_run, a_task_done_twice_is_done_once, killed_tasks_are_repeated, streams_run_side_by_side_in_processes_of_their_own,
          a_halt_ends_the_run_and_look_begins_another,
          a_gate_that_halted_is_not_passed_by_whoever_takes_the_run_up, a_file_withdrawn_between_two_attempts_to_land_is_not_read, a_failed_stream_keeps_what_the_others_did, a_run_taken_over_by_px_run_stays_one_run,
          another_release_in_between_is_built_upon, the_pipeline_file_of_the_beginning_counts, wrong_calls_are_told,
          a_catalog_of_an_older_px_is_brought_forward])

"""The scheduler as a person uses it: triggers, retries, cancel, pause, backfill, kill -9 and takeover, two schedulers at once, messages.

    python tests/e2e/schedule.py --px build/release/bin/px
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from lib.harness import Home, check, main

PIPELINE = """pipeline: small
schedule: {cron: "%(cron)s", timezone: Europe/Berlin, catchup: true}
retries: {attempts: 2, delay: 0s}
%(more)ssources:
  notes: {csv: "data/{ds}.csv", mode: append, contract: note}
contracts:
  note:
    columns:
      - {name: id, type: string, role: id}
      - {name: value, type: "decimal(10,2)"}
      - {name: body, type: string, role: text}
    quarantine: {halt_above: 10%%}
"""
DAYS = [f"2026-01-{day:02}" for day in range(1, 7)]


def start(px, cron="0 1 1 1 *", more=""):
    home = Home(px)
    home.write("pipeline.yaml", PIPELINE % {"cron": cron, "more": more})
    for day in DAYS:
        home.write(f"data/{day}.csv", f"id,value,body\n{day},1.5,The note of {day} is short.\n")
    return home


class Scheduler:
    """px schedule in the background; its children end with the test."""

    def __init__(self, home, *words):
        self.log = open(home.folder / "scheduler.log", "a", encoding="utf-8")
        self.process = subprocess.Popen([home.px, "schedule", *words], cwd=home.folder, stdout=self.log, stderr=self.log,
                                        start_new_session=True)

    def stop(self, number=signal.SIGTERM, timeout=60):
        self.process.send_signal(number)
        code = self.process.wait(timeout)
        self.log.close()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def status(home):
    return home.json("schedule", "status")


def wait(home, what, condition, timeout=60):
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    log = (home.folder / "scheduler.log").read_text() if (home.folder / "scheduler.log").exists() else ""
    check(False, f"{what}: not within {timeout} s\n{json.dumps(status(home), indent=1)}\n{log}")
    return None


def item(home, number):
    return next((each for each in status(home)["items"] if each["item"] == number), None)


def ended(home, number, state):
    return wait(home, f"item {number} {state}", lambda: (item(home, number) or {}).get("state") == state and item(home, number))


def a_trigger_runs_and_tells_its_run(px):
    home = start(px)
    with Scheduler(home) as scheduler:
        made = home.json("trigger", "--ds", DAYS[0])
        done = ended(home, made["item"], "done")
        check(done["run_id"] == f"{DAYS[0]}-0001" and done["exit_code"] == 0, done)
        again = home.json("trigger", "--ds", DAYS[0])
        check(ended(home, again["item"], "skipped")["exit_code"] == 99, "a second run of the same date did something")
        logs = home.run("logs", DAYS[0], expect=0).stdout
        check("nothing to do" in logs, logs)
        first = home.json("logs", str(made["item"]))
        check(first["outcome"] == "done" and first["run_id"] in first["log"], first)
        check(scheduler.stop() == 0, "SIGTERM is no failure")
    home.remove()


def what_is_wrong_is_told_at_once(px):
    home = start(px)
    for words, text in ((("trigger", "--ds", "2999-01-01"), "in the future"), (("trigger", "--ds", "2026-02-30"), "2026-02-30"),
                        (("backfill", "--from", DAYS[2], "--to", DAYS[0]), "is before --from"),
                        (("backfill", "--from", "2998-01-01", "--to", "2999-01-01"), "in the future"),
                        (("cancel", "77"), "no item"), (("schedule", "nowhere.yaml"), "nowhere.yaml")):
        done = home.run(*words)
        check(done.returncode in (1, 2) and text in done.stderr, f"{words}: {done.returncode} {done.stderr}")
    for before, after, text in (("0 1 1 1 *", "0 25 * * *", "'25' in field 2 of the schedule is no hour"),
                                ("Europe/Berlin", "Europe/Berln", "Europe/Berlin"), ("Europe/Berlin", "../../etc/passwd", "is no time zone")):
        home.write("pipeline.yaml", (PIPELINE % {"cron": "0 1 1 1 *", "more": ""}).replace(before, after))
        done = home.run("schedule", "--until-idle", expect=2)
        check(text in done.stderr, done.stderr)
    home.write("pipeline.yaml", PIPELINE % {"cron": "0 1 * * *", "more": ""})
    done = home.run("schedule", "--until-idle", env={"TZDIR": "/nowhere"})
    check(done.returncode != 0 and "tzdata" in done.stderr, done.stderr)
    home.remove()


def a_backfill_is_resumed_and_never_doubled(px):
    home = start(px)
    first = home.json("backfill", "--from", DAYS[0], "--to", DAYS[3], "--order", "newest", "--detach")
    check(first["added"] == 4 and [each["ds"] for each in first["items"]] == DAYS[3::-1], first)
    over = home.json("backfill", "--from", DAYS[2], "--to", DAYS[4], "--detach")
    check((over["added"], over["present"]) == (1, 2), over)
    done = home.run("--json", "backfill", "--from", DAYS[0], "--to", DAYS[4], expect=0)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    check(sorted(line["ds"] for line in lines) == DAYS[:5] and all(line["state"] == "done" for line in lines), lines)
    check(len(home.json("releases")) == 5, "a date was doubled or lost")
    home.write(f"data/{DAYS[1]}.csv", "id,value,body\nx,no number,A.\ny,none,B.\n")
    halted = home.run("backfill", "--from", DAYS[0], "--to", DAYS[5], expect=3)
    check("halted" in halted.stdout and len(home.json("releases")) == 5, halted.stdout)
    home.run("backfill", "--from", DAYS[0], "--to", DAYS[5], "--keep-going", expect=3)
    check(len(home.json("releases")) == 6, "the dates after the halted one were not run")
    home.remove()


def a_paused_pipeline_waits_and_a_queued_item_can_be_cancelled(px):
    home = start(px)
    home.json("pause")
    home.run("backfill", "--from", DAYS[0], "--to", DAYS[0], expect=2)
    made = home.json("trigger", "--ds", DAYS[0])
    other = home.json("trigger", "--ds", DAYS[1])
    home.run("schedule", "--until-idle", expect=0)
    check(item(home, made["item"])["state"] == "queued" and status(home)["paused"], "a paused pipeline ran")
    check(home.json("cancel", str(other["item"]))["cancelled"] == 1, "nothing was cancelled")
    home.json("cancel", expect=99)
    home.json("resume")
    home.run("schedule", "--until-idle", expect=0)
    check([item(home, each["item"])["state"] for each in (made, other)] == ["done", "cancelled"], status(home))
    home.remove()


def slow(home):
    """A run of this home takes some seconds."""
    home.write("pipeline.yaml", (PIPELINE % {"cron": "0 1 1 1 *", "more": ""}).replace(
        "sources:", "sources:\n  big: {csv: \"big/*.csv\", mode: append, contract: note}"))
    rows = "".join(f"{i},1.5,\"Note {i} says that {i * 7} pallets went to the {i % 13}th store of the {i % 17} we have.\"\n" for i in range(4_000))
    home.write("big/a.csv", "id,value,body\n" + rows)


def a_working_run_can_be_cancelled(px):
    home = start(px)
    slow(home)
    with Scheduler(home) as scheduler:
        made = home.json("trigger", "--ds", DAYS[0])
        ended(home, made["item"], "running")
        wait(home, "a child", lambda: home.json("runs")[:1] if home.run("--json", "runs").returncode == 0 else None)
        home.json("cancel", str(made["item"]))
        found = ended(home, made["item"], "cancelled")
        check(found["attempt"] == 1, found)
        check(scheduler.stop() == 0, "not drained")
    home.remove()


def children(pid):
    path = pathlib.Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def a_killed_scheduler_is_followed_once_and_its_child_not_doubled(px):
    home = start(px)
    slow(home)
    with Scheduler(home) as first:
        made = home.json("trigger", "--ds", DAYS[0])
        ended(home, made["item"], "running")
        child = wait(home, "a child", lambda: children(first.process.pid))[0]
        first.process.kill()
        first.process.wait()
        check(pathlib.Path(f"/proc/{child}").exists(), "the child died with its scheduler")
        with Scheduler(home) as second, Scheduler(home) as third:
            wait(home, "a takeover", lambda: item(home, made["item"])["attempt"] == 2)
            time.sleep(1.5)
            alive = pathlib.Path(f"/proc/{child}").exists()
            if alive:
                check(not children(second.process.pid) and not children(third.process.pid), "a second run works beside the orphan")
                os.killpg(child, signal.SIGKILL)  # and the orphan too: what it began is finished by another
            with_one = wait(home, "the end", lambda: item(home, made["item"])["state"] in ("done", "skipped") and item(home, made["item"]),
                            timeout=150)
            check(with_one["attempt"] == 2, with_one)
            for each in (second, third):
                check(each.stop() == 0, "not drained")
    home.run("run", "--ds", DAYS[0], expect=99)
    check(len(home.json("releases")) == 1, "not exactly one release")
    home.remove()


def two_schedulers_share_a_queue(px):
    home = start(px)
    home.json("backfill", "--from", DAYS[0], "--to", DAYS[5], "--detach")
    with Scheduler(home) as one, Scheduler(home) as two:
        wait(home, "the backfill", lambda: not [each for each in status(home)["items"] if each["state"] in ("queued", "running")], timeout=120)
        for each in (one, two):
            check(each.stop() == 0, "not drained")
    items = status(home)["items"]
    check(len(items) == 6 and all(each["state"] == "done" and each["attempt"] == 1 for each in items), items)
    check(len(home.json("releases")) == 6, "not one release for each date")
    home.remove()


def a_due_time_starts_a_run_by_itself(px):
    home = start(px, cron="* * * * *")
    home.write("pipeline.yaml", (PIPELINE % {"cron": "* * * * *", "more": ""}).replace("data/{ds}.csv", "data/*.csv"))
    with Scheduler(home) as scheduler:
        wait(home, "a catalog", lambda: home.run("schedule", "status").returncode == 0)
        due = wait(home, "a due run", lambda: [each for each in status(home)["items"] if each["state"] == "done"], timeout=90)
        check(due[0]["kind"] == "schedule", due)
        check(scheduler.stop() == 0, "not drained")
    home.remove()


def failures_halts_and_recovery_are_told(px):
    got = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home = start(px, more="notify: {webhook: {url: \"${env:ALERT}\"}, at_most_every: 0s}\n")
    environment = {"ALERT": f"http://127.0.0.1:{server.server_port}/hook?key=s3cret"}
    good = (home.folder / f"data/{DAYS[0]}.csv").read_text()
    home.write(f"data/{DAYS[0]}.csv", "id,value,body\nx,no number,A.\ny,none,B.\n")
    home.run("trigger", "--ds", DAYS[0], expect=0, env=environment)
    halted = home.run("schedule", "--until-idle", expect=0, env=environment)
    home.write(f"data/{DAYS[0]}.csv", good)
    home.run("trigger", "--ds", DAYS[0], expect=0, env=environment)
    home.run("schedule", "--until-idle", expect=0, env=environment)
    server.shutdown()
    server.server_close()
    check([each["event"] for each in got] == ["halt", "recovery"], got)
    check(got[0]["pipeline"] == "small" and got[0]["ds"] == DAYS[0] and got[0]["exit_code"] == 3, got)
    check("s3cret" not in halted.stderr, "a key was logged")
    check("s3cret" not in home.run("config", "show", "--origin", env=environment).stdout, "a key is shown")
    home.remove()


if __name__ == "__main__":
    main([a_trigger_runs_and_tells_its_run, what_is_wrong_is_told_at_once, a_backfill_is_resumed_and_never_doubled,
          a_paused_pipeline_waits_and_a_queued_item_can_be_cancelled, a_working_run_can_be_cancelled,
          a_killed_scheduler_is_followed_once_and_its_child_not_doubled, two_schedulers_share_a_queue, a_due_time_starts_a_run_by_itself,
          failures_halts_and_recovery_are_told])

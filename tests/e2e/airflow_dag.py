"""Airflow runs the pipeline: to a release, to "nothing to do", to a halt that is not tried again; its scheduler runs the streams side by side."""

import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import TOP, Failure, check, main, report_rows, small_home  # noqa: E402

AIRFLOW = TOP / "build" / "venv-airflow" / "bin" / "airflow"
DAG = "pipeline_x_ingestion"
GROUPS = ("lake", "metadata", "vectors")


class Airflow:
    """An Airflow of its own, with its database made, over what `px export airflow` writes for a home."""

    made = None  # the folder of a fresh Airflow, its database migrated once

    def __init__(self, home, **variables):
        self.home = home
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="px-airflow-"))
        home.run("export", "airflow", "--to", str(self.folder / "dags"), expect=0)
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PX_", "PYTHON"))}
        self.environment |= {
            "PATH": f"{AIRFLOW.parent}:{os.environ['PATH']}", "AIRFLOW_HOME": str(self.folder), "AIRFLOW__CORE__DAGS_FOLDER": str(self.folder / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__PARALLELISM": "4", "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True", "AIRFLOW__API__HOST": "127.0.0.1", "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2", "PX_BIN": str(home.px), **variables}
        if Airflow.made is None:
            done = self.call("db", "migrate")
            check(done.returncode == 0, f"airflow db migrate: {done.stdout[-2000:]}")
            Airflow.made = pathlib.Path(tempfile.mkdtemp(prefix="px-airflow-made-"))
            shutil.copy(self.folder / "airflow.db", Airflow.made)
        else:
            shutil.copy(Airflow.made / "airflow.db", self.folder)

    def call(self, *words):
        return subprocess.run([AIRFLOW, *words], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=300, check=False)

    def test(self, ds):
        """`airflow dags test`. Returns its end, and task → (state, attempts)."""
        done = self.call("dags", "test", DAG, ds)
        rows = self.rows("select task_id, state, try_number from task_instance where run_id = (select run_id from dag_run order by id desc limit 1)")
        return done, {task: (state, attempts) for task, state, attempts in rows}

    def rows(self, query):
        database = sqlite3.connect(f"file:{self.folder / 'airflow.db'}?mode=ro", uri=True, timeout=30)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Alerts(http.server.ThreadingHTTPServer):
    """What PX_ALERT_URL is sent."""

    def __init__(self):
        self.seen = []
        alerts = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                alerts.seen.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def eager_home(px):
    """What fails on a busy machine, such as a worker that Airflow can't start in time, is tried again soon."""
    home = small_home(px)
    home.write("pipeline.yaml", (home.folder / "pipeline.yaml").read_text() + "retries: {attempts: 3, delay: 1s}\n")
    return home


def expected_state(px, ds):
    """What `px run` makes of the same input."""
    twin = small_home(px)
    twin.run("run", "--ds", ds, expect=0)
    state = twin.state()
    twin.remove()
    return state


def a_dag_run_publishes_a_release_and_the_next_has_nothing_to_do(px):
    home = eager_home(px)
    airflow = Airflow(home)
    done, tasks = airflow.test("2026-11-20")
    check(done.returncode == 0, f"airflow dags test: {done.returncode}\n{done.stdout[-4000:]}")
    planned = {task["name"]: task["group"] for task in home.json("graph")["tasks"]}
    check({f"{group}.{name}" if group else name for name, group in planned.items()} == set(tasks), f"tasks of the DAG: {sorted(tasks)}")
    check({state for state, _ in tasks.values()} == {"success"}, f"{tasks}")
    for part, expected in expected_state(px, "2026-11-20").items():
        check(home.state()[part] == expected, f"{part} differ from those of px run")
    told = json.loads(airflow.rows("select value from xcom where task_id = 'publish' and key = 'return_value'")[0][0])
    told = json.loads(told) if isinstance(told, str) else told
    check(told["task"] == "publish" and told["ds"] == "2026-11-20", f"XCom of publish: {told}")
    done, tasks = airflow.test("2026-11-21")
    check(done.returncode == 0 and {state for state, _ in tasks.values()} == {"skipped"}, f"second run: {done.returncode} {tasks}")
    check(len(home.json("releases")) == 1, "a run with nothing to do published a release")
    airflow.remove()
    home.remove()


def a_halt_of_the_gate_is_not_tried_again_and_nothing_follows(px):
    home = eager_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    before = home.state()
    home.write("data/reports/b.csv", report_rows(30, 1))  # one record of two is broken: more than 40 %
    alerts = Alerts()
    airflow = Airflow(home, PX_ALERT_URL=f"http://127.0.0.1:{alerts.server_port}/")
    _, tasks = airflow.test("2026-11-21")
    failed = [(task, *what) for task, what in tasks.items() if what[0] == "failed"]
    check(len(failed) == 1 and failed[0][2] == 1, f"a halt must fail one task, once: {tasks}")
    check(tasks["publish"][0] == "upstream_failed", f"{tasks}")
    streams = {state for task, (state, _) in tasks.items() if task.startswith(GROUPS)}
    check(streams == {"upstream_failed"}, f"the streams ran after a halt: {tasks}")
    check(home.state() == before, "a halted run changed what readers see")
    check([alert["task"] for alert in alerts.seen] == [failed[0][0]] and "gate" in alerts.seen[0]["error"], f"alerts: {alerts.seen}")
    alerts.shutdown()
    airflow.remove()
    home.remove()


class Standalone:
    """`airflow standalone` in a process group of its own."""

    def __init__(self, airflow):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.log = airflow.folder / "standalone.log"
        environment = {**airflow.environment, "AIRFLOW__API__PORT": str(port), "AIRFLOW__API__BASE_URL": self.address,
                       "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.address}/execution/", "AIRFLOW__API__WORKERS": "1"}
        self.process = subprocess.Popen([AIRFLOW, "standalone"], cwd=airflow.folder, env=environment, stdin=subprocess.DEVNULL,
                                        stdout=open(self.log, "wb"), stderr=subprocess.STDOUT, start_new_session=True)
        self.token = None
        try:
            self.until(lambda: self.ask("GET", f"/api/v2/dags/{DAG}", starting=True).get("dag_id") == DAG, 240, "the DAG is not there")
        except Exception:
            self.stop()
            raise

    def ask(self, method, path, body=None, starting=False, tries=5):
        """starting: what does not answer yet, or does not know the DAG yet, gives {}. Airflow's own SQLite may be busy: asked again."""
        headers = {"content-type": "application/json", **({"authorization": f"Bearer {self.token}"} if self.token else {})}
        request = urllib.request.Request(self.address + path, json.dumps(body).encode() if body is not None else None, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.loads(reply.read() or b"{}")
        except urllib.error.HTTPError as error:
            if error.code == 401 and self.token is None:
                self.token = self.ask("GET", "/auth/token")["access_token"]
                return self.ask(method, path, body, starting)
            if error.code == 404 and starting:
                return {}
            text = error.read()
            if error.code == 500 and b"Database error" in text and tries > 1:
                time.sleep(2)
                return self.ask(method, path, body, starting, tries - 1)
            raise Failure(f"{method} {path}: {error.code} {text[:500]}") from error
        except OSError:
            if starting:
                return {}
            raise

    def until(self, holds, limit_s, otherwise):
        end = time.monotonic() + limit_s
        while not holds():
            check(self.process.poll() is None and time.monotonic() < end, f"{otherwise} after {limit_s} s\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.3)

    def nightly(self):
        """The run of the last 01:00, which the scheduler begins by itself as soon as it knows the DAG."""
        path = f"/api/v2/dags/{DAG}/dagRuns"
        self.until(lambda: self.ask("GET", path)["dag_runs"], 120, "the scheduler begins no run")
        run = self.ask("GET", path)["dag_runs"][0]
        check(run["run_type"] == "scheduled" and run["logical_date"][11:16] == "01:00", f"the nightly run: {run}")
        return run["dag_run_id"]

    def path(self, run):
        return f"/api/v2/dags/{DAG}/dagRuns/{urllib.parse.quote(run)}"

    def state(self, run):
        return self.ask("GET", self.path(run))["state"]

    def tasks(self, run):
        return {task["task_id"]: task for task in self.ask("GET", f"{self.path(run)}/taskInstances")["task_instances"]}

    def stop(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(timeout=10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
        self.process.wait()


SLOW = """#!/bin/sh
# px, but while the file `slow` is there the task chunk waits, and notes that it was told to stop. Tasks of the streams take
# two seconds longer, or the scheduler would be done with one before it looks after the next.
if [ "$1 $2" = "task chunk" ] && [ -e "{folder}/slow" ]; then
    trap 'echo stopped >"{folder}/stopped"; exit 143' TERM
    echo waiting >"{folder}/waiting"
    while :; do sleep 0.1; done
fi
case "$1 $2" in "task model."* | "task metadata" | "task chunk") sleep 2 ;; esac
exec "{px}" "$@"
"""


def the_scheduler_runs_the_streams_side_by_side_and_stops_what_it_is_told_to(px):
    home = eager_home(px)
    slow = home.write("px-slow", SLOW.format(folder=home.folder, px=home.px))
    slow.chmod(0o755)
    airflow = Airflow(home, PX_BIN=str(slow))
    home.write("slow", "")
    standalone = Standalone(airflow)
    try:
        # Stopped from outside while a task of px runs: px is told so.
        run = standalone.nightly()
        standalone.until(lambda: (home.folder / "waiting").exists(), 180, "the task chunk does not start")
        standalone.ask("PATCH", standalone.path(run), {"state": "failed"})
        standalone.until(lambda: (home.folder / "stopped").exists(), 120, "px was not told to stop")
        (home.folder / "slow").unlink()
        # Cleared, the same run goes on; what px had done stays done.
        standalone.ask("POST", f"{standalone.path(run)}/clear", {"dry_run": False})
        standalone.until(lambda: standalone.state(run) in ("success", "failed"), 180, "the run does not end")
        tasks = standalone.tasks(run)
        check(standalone.state(run) == "success", f"{ {name: task['state'] for name, task in tasks.items()} }")
        spans = [(name.split(".")[0], task["start_date"], task["end_date"]) for name, task in tasks.items() if name.startswith(GROUPS)]
        beside = {tuple(sorted((one, other))) for one, start, end in spans for other, begin, finish in spans if one < other and start < finish and begin < end}
        check(len(beside) >= 2, f"the streams did not overlap: {spans}")
        events = standalone.ask("GET", "/api/v2/assets/events")["asset_events"]
        check(len(events) == 1 and events[0]["extra"].get("release") == 1, f"events of the asset: {events}")
        check(home.state() == expected_state(px, events[0]["extra"]["ds"]), "the release differs from that of px run")
    finally:
        standalone.stop()
    airflow.remove()
    home.remove()


if __name__ == "__main__":
    if not AIRFLOW.exists():
        sys.exit("FAIL  Airflow is not installed; next: tools/setup.sh test")
    try:
        main([a_dag_run_publishes_a_release_and_the_next_has_nothing_to_do, a_halt_of_the_gate_is_not_tried_again_and_nothing_follows,
              the_scheduler_runs_the_streams_side_by_side_and_stops_what_it_is_told_to])
    finally:
        if Airflow.made:
            shutil.rmtree(Airflow.made, ignore_errors=True)

"""What a run tells machines: structured logs with its id, metrics, traces for a collector, figures in its report."""

import contextlib
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import check, main, small_home  # noqa: E402

DAY = "2026-11-20"


@contextlib.contextmanager
def collector(status=200):
    """An OpenTelemetry collector that keeps the spans it gets."""
    spans = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            check(self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json", self.path)
            for resource in body["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    spans.extend(scope["spans"])
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def a_run_is_a_trace(px):
    home = small_home(px)
    with collector() as (url, spans):
        home.run("run", "--ds", DAY, expect=0, env={"OTEL_EXPORTER_OTLP_ENDPOINT": url + "/"})
        tasks = {t["name"] for t in json.loads(home.run("graph", expect=0).stdout)["tasks"]}
        check({s["name"] for s in spans} == tasks | {"run small"}, str([s["name"] for s in spans]))
        root = next(s for s in spans if s["name"] == "run small")
        check(all(s["traceId"] == root["traceId"] and s is root or s["parentSpanId"] == root["spanId"] for s in spans), "not one tree")
        check(all(int(root["startTimeUnixNano"]) <= int(s["startTimeUnixNano"]) <= int(s["endTimeUnixNano"]) <= int(root["endTimeUnixNano"])
                  for s in spans), "a task's time is not within its run's")
        keys = {a["key"] for a in root["attributes"]}
        check(keys >= {"px.run", "px.ds", "px.state", "px.release", "px.cpu_s", "px.chunks.embed"}, str(keys))
        # Nothing to do is no run.
        del spans[:]
        home.run("run", "--ds", DAY, expect=99, env={"OTEL_EXPORTER_OTLP_ENDPOINT": url})
        check(not spans, str(spans))
        # A halt is one, with its reason; by the pipeline file too.
        home.write("pipeline.yaml", (home.folder / "pipeline.yaml").read_text() + f"telemetry: {{otlp: '{url}'}}\n")
        home.write("data/reports/a.csv", "id,nonsense\n1,2\n")
        home.run("run", "--ds", DAY, expect=3)
        root = next(s for s in spans if s["name"] == "run small")
        check(root["status"]["code"] == 2 and "nonsense" in root["status"]["message"], str(root))
    home.remove()


def tasks_of_many_processes_are_one_trace(px):
    home = small_home(px)
    with collector() as (url, spans):
        for task in json.loads(home.run("graph", expect=0).stdout)["tasks"]:
            home.run("task", task["name"], "--run-id", "x", "--ds", DAY, expect=0, env={"OTEL_EXPORTER_OTLP_ENDPOINT": url})
        check(len({s["traceId"] for s in spans}) == 1, str(spans))
        roots = [s for s in spans if "parentSpanId" not in s]
        check(len(roots) == 1 and all(s["parentSpanId"] == roots[0]["spanId"] for s in spans if s is not roots[0]), str(roots))
        cpu = [a for s in spans if s["name"] == "embed" for a in s["attributes"] if a["key"] == "px.cpu_s"]
        check(cpu and cpu[0]["value"]["doubleValue"] > 0, "embed has no processor time")
    report = home.json("runs", home.json("runs")[0]["id"])["report"]
    check(report["cpu_s"] > cpu[0]["value"]["doubleValue"], f"the run used less than one task: {report['cpu_s']}")
    home.remove()


def a_collector_that_fails_disturbs_nothing(px):
    home = small_home(px)
    with collector(status=503) as (url, _):
        done = home.run("run", "--ds", DAY, expect=0, env={"OTEL_EXPORTER_OTLP_ENDPOINT": url})
        check("telemetry.not_sent" in done.stderr and "503" in done.stderr, done.stderr)
    home.write("data/items.jsonl", '{"sku": "A", "price": 9}\n')
    done = home.run("run", "--ds", DAY, expect=0, env={"OTEL_EXPORTER_OTLP_ENDPOINT": url})
    check("telemetry.not_sent" in done.stderr, done.stderr)
    home.remove()


def log_lines_name_the_run(px):
    home = small_home(px)
    done = home.run("--log-format", "json", "run", "--ds", DAY, expect=0)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    run = home.json("runs")[0]["id"]
    check(lines and all({"time", "level", "event"} <= line.keys() for line in lines), str(lines))
    check([line["run"] for line in lines if line["event"] == "stage.done"] == [run] * 3, str(lines))
    home.write("data/items.jsonl", '{"sku": "A", "price": 9}\n')
    done = home.run("run", "--ds", DAY, expect=0)
    check(f"run={home.json('runs')[0]['id']}" in done.stderr, done.stderr)
    home.remove()


def a_report_tells_what_the_run_used_and_cost(px):
    home = small_home(px)
    home.write("pipeline.yaml", (home.folder / "pipeline.yaml").read_text() + "costs: {cpu_hour: 3600, storage_gb_month: 500000000, currency: XTS}\n")
    report = home.json("run", "--ds", DAY)
    written = sum(p.stat().st_size for p in (home.folder / "lake").rglob("*.parquet"))
    check(report["bytes_written"] == written, f"{report['bytes_written']} bytes said, {written} written")
    check(0 < report["cpu_s"] < 60 and 10_000_000 < report["memory_max_bytes"] < 2_000_000_000, str(report))
    check(abs(report["cost"] - report["cpu_s"] - written / 2) < 1e-6 * written, f"{report['cost']} is not {report['cpu_s']} + {written} / 2")
    home.write("data/items.jsonl", '{"sku": "A", "price": 9}\n')
    check(" XTS" in home.run("run", "--ds", DAY, expect=0).stdout, "no cost is printed")
    for wrong in ("costs: {cpu_hour: dear}", "costs: {cpu_hour: -1}", "costs: {hour: 1}", "telemetry: {otlp: [1]}"):
        home.write("pipeline.yaml", (home.folder / "pipeline.yaml").read_text().split("costs:")[0] + wrong + "\n")
        check("pipeline.yaml:" in home.run("plan", expect=2).stderr, wrong)
    home.remove()


def metrics_tell_of_the_last_run(px):
    home = small_home(px)
    home.run("run", "--ds", DAY, expect=0)
    server = subprocess.Popen([px.resolve(), "serve", "--port", "0"], cwd=home.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        url = None
        while url is None:
            line = server.stdout.readline()
            check(line, "px serve ended")
            url = next((word.rstrip("/") for word in line.replace("url=", " ").split() if word.startswith("http://")), None)
        threading.Thread(target=server.stdout.read, daemon=True).start()
        for _ in range(100):
            text = urllib.request.urlopen(url + "/metrics", timeout=10).read().decode()
            if "px_run_last_state" in text:
                break
            time.sleep(0.1)
        for wanted in ('px_run_last_state{state="published"} 1', 'px_run_last_rows{source="reports",verdict="accepted"} 8',
                       'px_run_last_rows{source="reports",verdict="quarantined"} 1', 'px_run_last_task_seconds{task="gate"}',
                       "px_run_last_cpu_seconds", "px_runs_unfinished 0"):
            check(wanted in text, f"{wanted} is missing")
    finally:
        server.terminate()
        server.wait(30)
    home.remove()


if __name__ == "__main__":
    main([a_run_is_a_trace, tasks_of_many_processes_are_one_trace, a_collector_that_fails_disturbs_nothing, log_lines_name_the_run,
          a_report_tells_what_the_run_used_and_cost, metrics_tell_of_the_last_run])

"""What the scheduler costs: a backlog drained, and many pipelines watched.

    python bench/schedule.py --px build/release/bin/px [--runs 10000] [--pipelines 500] [--seconds 60]

1. A backlog of due runs of one pipeline, each run nothing at all (the scheduler and its catalog alone), and a tenth of it with one process each.
2. `px schedule` over a folder of pipelines none of which is due: CPU share of one core and memory, from /proc.
Prints one JSON object a line; ends with 1 when a run was missed or doubled, or a bound was not kept.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

CPU_SHARE_MAX = 0.01
MEMORY_MB_MAX = 50
PIPELINE = """pipeline: p%(n)s
schedule: {cron: "%(minute)d %(hour)d 1 1 *", timezone: %(zone)s}
sources:
  notes: {csv: "data/*.csv", mode: append, contract: note}
contracts:
  note:
    columns:
      - {name: id, type: string, role: id}
      - {name: body, type: string, role: text}
"""


def drain(tool, runs, *program):
    with tempfile.TemporaryDirectory(prefix="px-bench-") as folder:
        done = subprocess.run([tool, folder, str(runs), *program], capture_output=True, text=True, check=True, timeout=3600)
    found = json.loads(done.stdout) | {"each_run": program[0] if program else "nothing"}
    print(json.dumps({"drain": found}), flush=True)
    return runs <= found["done"] == found["due_times"] == found["attempts"]


def cpu_seconds(pid):
    words = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid):
    """What the process alone has: anonymous memory and its stack; and all that is mapped."""
    lines = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return {"resident": int(lines["VmRSS"].split()[0]) / 1024, "anonymous": int(lines["RssAnon"].split()[0]) / 1024}


def watch(px, pipelines, seconds):
    with tempfile.TemporaryDirectory(prefix="px-bench-") as folder:
        zones = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
        for n in range(pipelines):
            home = pathlib.Path(folder) / f"p{n:04}"
            home.mkdir()
            (home / "pipeline.yaml").write_text(PIPELINE % {"n": n, "minute": n % 60, "hour": n % 24, "zone": zones[n % len(zones)]})
        process = subprocess.Popen([px, "--quiet", "schedule", folder])
        try:
            start = time.monotonic()
            while not all((pathlib.Path(folder) / f"p{n:04}/catalog.db").exists() for n in range(pipelines)):
                if time.monotonic() - start > 600 or process.poll() is not None:
                    sys.exit("px schedule did not make its catalogs")
                time.sleep(0.2)
            time.sleep(20)  # idle catalogs are closed, their stamps settle
            ready = time.monotonic() - start
            before, then = cpu_seconds(process.pid), time.monotonic()
            time.sleep(seconds)
            share = (cpu_seconds(process.pid) - before) / (time.monotonic() - then)
            memory = memory_mb(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    print(json.dumps({"watch": {"pipelines": pipelines, "seconds": seconds, "ready_s": round(ready, 1), "cpu_share_of_a_core": round(share, 5),
                                **{f"{key}_mb": round(value, 1) for key, value in memory.items()}}}), flush=True)
    return share < CPU_SHARE_MAX and memory["resident"] < MEMORY_MB_MAX


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px", required=True, type=pathlib.Path)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--pipelines", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    px = options.px.resolve()
    tool = px.parent / "tool_schedule_bench"
    kept = [drain(tool, options.runs), drain(tool, max(1, options.runs // 10), "/bin/true"), watch(px, options.pipelines, options.seconds)]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())

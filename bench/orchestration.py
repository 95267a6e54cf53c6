"""What it costs to orchestrate: one small run as a whole, as `px task` after `px task`, and the same tasks by Airflow. Milliseconds a task.

    python bench/orchestration.py --px-bin build/release/bin

The work is the same each time (a first run over four small files), so what differs is who starts the tasks. `px run` works in one process;
Airflow 3.3.2, with SQLite and its LocalExecutor, starts a process of its own and one of px for each.
"""
import argparse
import datetime
import pathlib
import shutil
import sys
import time

from measure import BENCH, ROOT, run, table

sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "e2e" / "lib")]
from airflow_dag import Airflow, Standalone  # noqa: E402
from harness import small_home  # noqa: E402

DAY = "2026-11-20"
REPEATS = 5


def fresh(px):
    """A home whose weights are packed, so that a first run pays for its work alone."""
    home = small_home(px)
    home.run("run", "--ds", DAY, expect=0)
    for name in ("landing", "lake", "index"):
        shutil.rmtree(home.folder / name)
    for file in home.folder.glob("catalog.db*"):
        file.unlink()
    return home


def wall_of_run(px):
    times = []
    for _ in range(REPEATS):
        home = fresh(px)
        times.append(run([px, "run", "--ds", DAY], cwd=home.folder).wall_s)
        home.remove()
    return sorted(times)[REPEATS // 2]


def wall_of_tasks(px):
    times = []
    for _ in range(REPEATS):
        home = fresh(px)
        started = time.monotonic()
        for task in home.json("graph")["tasks"]:
            run([px, "task", task["name"], "--run-id", "bench", "--ds", DAY], cwd=home.folder, expect=(0, 99))
        times.append(time.monotonic() - started)
        home.remove()
    return sorted(times)[REPEATS // 2]


def span(rows):
    """Seconds from the first start to the last end."""
    def at(text):
        return datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    return (max(at(end) for _, end in rows) - min(at(start) for start, _ in rows)).total_seconds()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    px = (parser.parse_args().px_bin / "px").resolve()
    BENCH.mkdir(parents=True, exist_ok=True)
    home = small_home(px)
    count = len(home.json("graph")["tasks"])
    rows = [("px run, one process", wall_of_run(px)), ("px task, one process each, one after another", wall_of_tasks(px))]
    airflow = Airflow(home)
    airflow.test(DAY)
    rows.append(("Airflow, dags test: one process, no scheduler", span(airflow.rows("select start_date, end_date from task_instance"))))
    airflow.remove()
    home.remove()
    home = small_home(px)
    airflow = Airflow(home)
    standalone = Standalone(airflow)
    try:
        begun = standalone.nightly()
        standalone.until(lambda: standalone.state(begun) in ("success", "failed"), 300, "the run does not end")
        rows.append(("Airflow, standalone: its scheduler, four tasks at a time",
                     span([(task["start_date"], task["end_date"]) for task in standalone.tasks(begun).values()])))
    finally:
        standalone.stop()
    airflow.remove()
    home.remove()
    work = rows[0][1]
    table(f"Orchestration of {count} tasks", ("who", "seconds", "ms a task", "ms a task beyond px run"),
          [(name, f"{wall:.2f}", f"{wall / count * 1000:.0f}", f"{(wall - work) / count * 1000:.0f}") for name, wall in rows])


if __name__ == "__main__":
    main()

"""The pipeline as a DAG of Airflow 3: every task of `px graph`, with its dependencies, retries and time limit.

The graph is asked for when Airflow reads this file, so the DAG is always the pipeline as it is. px_operator.py must lie beside it.
  PX_BIN             the program (default: px on the PATH)
  PX_PIPELINE_FILE   the pipeline file (default: the one below)
  PX_ALERT_URL       where a failed task is told as JSON by POST (default: the log alone)
"""

import json
import logging
import os
import pathlib
import subprocess
import sys
import urllib.request
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from airflow.sdk import DAG, Asset, CronTriggerTimetable, Param, TaskGroup

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from px_operator import PxOperator  # noqa: E402

DAG_ID = "pipeline_x_ingestion"
PIPELINE_FILE = "pipeline.yaml"

PX = os.environ.get("PX_BIN", "px")
PIPELINE = os.path.abspath(os.environ.get("PX_PIPELINE_FILE", PIPELINE_FILE))
GROUPS = {"lake": "SQL models over the staged tables", "metadata": "authors, dates, categories of the documents",
          "vectors": "chunks, their embeddings, the index"}
DELAY_MAX = timedelta(hours=1)


def graph():
    done = subprocess.run([PX, "graph", "--json", "--file", PIPELINE], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"px graph ended with {done.returncode} (PX_BIN={PX}, PX_PIPELINE_FILE={PIPELINE}): {done.stderr.strip()}")
    return json.loads(done.stdout)


def tell_of_failure(context):
    """One line in the log, and a message to PX_ALERT_URL; that this fails must not change what became of the task."""
    instance = context["ti"]
    alert = {"dag": instance.dag_id, "run": instance.run_id, "task": instance.task_id, "attempt": instance.try_number,
             "error": str(context.get("exception"))[:2000]}
    logging.getLogger("pipeline_x").error("task failed: %s", json.dumps(alert))
    url = os.environ.get("PX_ALERT_URL")
    if not url:
        return
    try:
        request = urllib.request.Request(url, json.dumps(alert).encode(), {"content-type": "application/json"})
        urllib.request.urlopen(request, timeout=10).close()
    except (OSError, ValueError) as error:
        logging.getLogger("pipeline_x").warning("PX_ALERT_URL does not take the message: %s", error)


PLAN = graph()
SCHEDULE = PLAN["schedule"]
RELEASE = Asset(name=f"{PLAN['pipeline']}.release", uri=f"x-px://{PLAN['pipeline']}/release")

with DAG(
    dag_id=DAG_ID,
    description=f"{PLAN['pipeline']}: from its sources to one release",
    doc_md=__doc__,
    schedule=CronTriggerTimetable(SCHEDULE["cron"], timezone=SCHEDULE["timezone"]) if SCHEDULE["cron"] else None,
    start_date=datetime(2026, 1, 1, tzinfo=ZoneInfo(SCHEDULE["timezone"])),
    catchup=SCHEDULE["catchup"],
    max_active_runs=SCHEDULE["max_active_runs"],
    default_args={"on_failure_callback": tell_of_failure},
    params={
        "ds": Param(None, type=["null", "string"], format="date", title="Logical date", description="YYYY-MM-DD; empty: the date of the run"),
        "pipeline_file": Param(PIPELINE, type="string", title="Pipeline file", description="on the worker; with the tasks of the one this DAG was made from"),
    },
    tags=["pipeline-x"],
) as dag:
    groups, tasks = {}, {}
    for task in PLAN["tasks"]:
        group = task["group"]
        if group and group not in groups:
            groups[group] = TaskGroup(group, tooltip=GROUPS.get(group, ""))
        exponential = task["retry_backoff"] == "exponential"
        operator = PxOperator(
            task_id=task["name"],
            task_group=groups.get(group),
            task=task["name"],
            px=PX,
            pipeline_file="{{ params.pipeline_file }}",
            ds="{{ params.ds or '' }}",
            timezone=SCHEDULE["timezone"],
            retries=task["retries"],
            retry_delay=timedelta(seconds=task["retry_delay_s"]),
            retry_exponential_backoff=2.0 if exponential else 0,
            max_retry_delay=DELAY_MAX if exponential else None,
            execution_timeout=timedelta(seconds=task["timeout_s"]) if task["timeout_s"] else None,
            # What had nothing to do does not hold up what needs another as well.
            trigger_rule="none_failed_min_one_success",
            outlets=[RELEASE] if task["stage"] == "publish" else [],
        )
        tasks[task["name"]] = operator
        for before in task["depends_on"]:
            tasks[before] >> operator

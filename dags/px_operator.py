"""Runs one task of a pipeline, `px task NAME`, as a task of Airflow 3.

What it means to Airflow: exit 0 done, 99 nothing to do (skipped), 3 halted by the gate and 2 wrong usage (failed, and not tried again: the input
or the pipeline file has to be mended), anything else failed and tried again. The last line of stdout, one JSON object, is the task's XCom; the log of px is the task's log.
Secrets come from the worker's environment or from the .env file beside the pipeline file, never from here.
"""

import json
import os
import signal
import subprocess
import threading
from zoneinfo import ZoneInfo

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

WRONG_USAGE, HALTED, NOTHING_TO_DO = 2, 3, 99
LAST_LINES = 20  # of the log, told again in the error


class PxOperator(BaseOperator):
    """task: as `px graph` names it. px: the program. pipeline_file, ds: may be templates. timezone: of the pipeline's dates."""

    template_fields = ("pipeline_file", "ds")
    ui_color = "#e8f1ee"

    def __init__(self, *, task, px, pipeline_file, ds="", timezone="UTC", grace_s=30, **more):
        super().__init__(**more)
        self.task, self.px, self.pipeline_file, self.ds, self.timezone, self.grace_s = task, px, pipeline_file, ds, timezone, grace_s
        self._process = None

    def execute(self, context):
        run = context["dag_run"]
        # A run by hand need not have a logical date; the day it was asked for is its date then.
        ds = self.ds or (run.logical_date or run.run_after).astimezone(ZoneInfo(self.timezone)).date().isoformat()
        command = [self.px, "task", self.task, "--run-id", run.run_id, "--ds", ds, "--file", self.pipeline_file]
        self.log.info("%s", " ".join(command))
        try:
            # A session of its own, so that all of it can be told to stop.
            self._process = subprocess.Popen(command, cwd=os.path.dirname(os.path.abspath(self.pipeline_file)), stdin=subprocess.DEVNULL,
                                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True)
        except OSError as error:
            raise AirflowException(f"px can't be started: {error}; next: set PX_BIN to the program") from error
        try:
            code, report, log = self._follow()
        finally:  # also when Airflow's time is up
            self.on_kill()
        if code == NOTHING_TO_DO:
            raise AirflowSkipException(f"{self.task}: nothing to do")
        if code == HALTED:
            raise AirflowFailException(f"{self.task}: the gate halted the run, and the release before it keeps serving\n" + "\n".join(log))
        if code != 0:
            kind = AirflowFailException if code == WRONG_USAGE else AirflowException
            raise kind(f"px task {self.task} ended with {code}\n" + "\n".join(log))
        for asset in self.outlets:
            context["outlet_events"][asset].extra = {"run": report["run"], "ds": report["ds"], "release": report["metrics"]["release"]}
        return report

    def _follow(self):
        """Exit code, the JSON of the last line of stdout, the end of the log."""
        lines, log = [], []

        def read_output():
            for line in self._process.stdout:
                if line.strip():
                    lines[:] = [line]

        reader = threading.Thread(target=read_output, daemon=True)
        reader.start()
        for line in self._process.stderr:
            self.log.info("%s", line.rstrip())
            log = [*log[1 - LAST_LINES:], line.rstrip()]
        code = self._process.wait()
        reader.join()
        try:
            report = json.loads(lines[0]) if lines else {}
        except ValueError:
            report = {}
        return code, report if isinstance(report, dict) else {}, log

    def on_kill(self):
        """Asks px to stop, waits until it has (a task stops between two files or batches), insists after grace_s seconds."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                pass
            try:
                process.wait(timeout=self.grace_s)
                return
            except subprocess.TimeoutExpired:
                self.log.warning("px task %s goes on after %s", self.task, number.name)

"""One run on Azure Storage (Azurite) and PostgreSQL, with one fault at its n-th request: the same release as without, or a clear error with
exit 4 and the old release served, and the next run makes it good. A seeded sample of all n; --all: every n of every fault."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import check, report_rows, small_home  # noqa: E402
from proxy import FAULTS, HTTP_FAULTS, Proxy  # noqa: E402
from remote import copy_of, remote, servers, with_servers  # noqa: E402
from servers import ACCOUNT, Azurite  # noqa: E402

SECONDS = 75  # of the sample
ALL = "--all" in sys.argv
if ALL:
    sys.argv.remove("--all")


def port_of(azurite):
    return int(azurite.endpoint.rsplit(":", 1)[1].split("/")[0])


class Stage:
    """A pipeline with one release whose services stand behind proxies, and what the second release has to be."""

    def __init__(self, px):
        self.number = 0
        self.azure = Proxy(port_of(servers["azurite"]))
        self.postgres = Proxy(servers["postgres"].port)
        self.base = small_home(px)
        self.base.write("pipeline.yaml", (self.base.folder / "pipeline.yaml").read_text().split("models:")[0])
        calm = self.ready()
        self.azure.set()
        self.postgres.set()
        calm.run("run", "--ds", "2026-11-21", expect=0)
        self.requests = {"azure": self.azure.count, "postgres": self.postgres.count}
        self.expected = self.told(calm)
        calm.remove()

    def ready(self):
        """A copy with its first release, about to make the second."""
        self.number += 1
        if self.number % 200 == 0:  # it keeps what it has in memory, and has only so much
            servers["azurite"].stop()
            servers["azurite"] = Azurite()
            self.azure.upstream = port_of(servers["azurite"])
        name = f"fault{self.number}"
        home = copy_of(self.base, name)
        self.azure.set()
        self.postgres.set()
        values = remote(home, name)
        through = {key: value.replace(f":{self.azure.upstream}/{ACCOUNT}", f":{self.azure.port}/{ACCOUNT}")
                   .replace(f":{self.postgres.upstream}/", f":{self.postgres.port}/") for key, value in values.items()}
        home.write(".env", "".join(f"{key}={value}\n" for key, value in through.items()))
        home.run("run", "--ds", "2026-11-20", expect=0)
        home.write("data/reports/b.csv", report_rows(30, 5))
        return home

    def told(self, home):
        release = home.json("releases", "--limit", "1")[0]
        return {"rows": home.sql("select * from reports order by all"), "documents": home.sql("select id, title, author from documents order by all"),
                "manifest": release["index_manifest"], "chunks": release["chunks"], "release": release["id"]}

    def check_after(self, home, done, what):
        self.azure.set()
        self.postgres.set()
        if done.returncode != 0:
            check(done.returncode == 4 and "next:" in done.stderr, f"{what}: exit {done.returncode}\n{done.stderr[-1500:]}")
            served = home.json("releases", "--limit", "1")[0]["id"]
            check(served in (1, 2), f"{what}: release {served}")
            check([row[0] for row in home.sql("select count(*) from reports")] == [8 if served == 1 else 13], f"{what}: the release served has other rows")
            home.run("run", "--ds", "2026-11-21", expect=(0, 99))
        told = self.told(home)
        for part, value in self.expected.items():
            check(told[part] == value, f"{what}: {part} differs\n{str(value)[:400]}\n{str(told[part])[:400]}")
        home.remove()
        return done.returncode == 0


def a_fault_at_any_request_changes_nothing(px):
    stage = Stage(px)
    print(f"      a run of {stage.requests['azure']} requests to the store and {stage.requests['postgres']} to the catalog")
    cases = [(service, n, fault) for service, faults in (("azure", HTTP_FAULTS), ("postgres", FAULTS))
             for n in range(1, stage.requests[service] + 1) for fault in faults]
    if not ALL:
        random.Random(7).shuffle(cases)
    started, passed, recovered = time.monotonic(), 0, 0
    for service, n, fault in cases:
        if not ALL and time.monotonic() - started > SECONDS:
            break
        home = stage.ready()
        proxy = getattr(stage, service)
        proxy.set({n: fault})
        done = home.run("run", "--ds", "2026-11-21", timeout=200)
        if stage.check_after(home, done, f"{fault} at request {n} to {service}"):
            passed += 1
        else:
            recovered += 1
    stage.base.remove()
    print(f"      {passed + recovered} of {len(cases)} faults: {passed} runs unharmed, {recovered} said what is wrong and the next run finished")
    check(passed > recovered, "most faults should be mended by trying again")


def the_database_goes_down_between_any_two_steps(px):
    stage = Stage(px)
    steps_file = stage.base.folder.with_name(stage.base.folder.name + ".steps")
    calm = stage.ready()
    calm.run("run", "--ds", "2026-11-21", expect=0, env={"PX_TEST_STEPS": str(steps_file)})
    steps = list(dict.fromkeys(steps_file.read_text().split("\n")[:-1]))
    calm.remove()
    steps_file.unlink()
    chosen = steps if ALL else steps[::7]
    unharmed = 0
    for step in chosen:
        home = stage.ready()
        environment = {**os.environ, "PX_TEST_STOP_AT": step}
        process = subprocess.Popen([home.px, "run", "--ds", "2026-11-21"], cwd=home.folder, env=environment, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        check(os.WIFSTOPPED(status), f"{step}: px did not stop there")
        servers["postgres"].end()
        servers["postgres"].start()
        process.send_signal(signal.SIGCONT)
        output, errors = process.communicate(timeout=200)
        done = subprocess.CompletedProcess([], process.returncode, output, errors)
        unharmed += stage.check_after(home, done, f"restart at {step}")
    stage.base.remove()
    print(f"      {len(chosen)} of {len(steps)} steps: {unharmed} runs unharmed")


def a_full_disk_of_the_cache_is_said_and_harms_nothing(px):
    import resource
    stage = Stage(px)
    home = stage.ready()
    # No file of this process may grow beyond the limit: as on a full disk, a write fails.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PX_TEST")}

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

    done = subprocess.run([home.px, "run", "--ds", "2026-11-21"], cwd=home.folder, env=environment, preexec_fn=limited, capture_output=True, text=True,
                          timeout=200, check=False)
    check(done.returncode not in (0, 3, 99) and "next:" in done.stderr, f"exit {done.returncode}\n{done.stderr}")
    check(home.json("releases", "--limit", "1")[0]["id"] == 1, "a release was made on a full disk")
    done = home.run("run", "--ds", "2026-11-21")
    stage.check_after(home, done, "after the disk was full")
    stage.base.remove()


if __name__ == "__main__":
    with_servers([a_fault_at_any_request_changes_nothing, the_database_goes_down_between_any_two_steps,
                  a_full_disk_of_the_cache_is_said_and_harms_nothing])

"""The machine that runs px loses power, or its disk fails, while the stores are remote: Azurite and PostgreSQL, which go on.

What is on the local disk (copies kept back, indexes unpacked, logs) may be lost, torn or refused at any point; the next run completes, and
everything equals a run on local stores that was not disturbed. A reader polls px serve.
"""

import os
import random
import shutil
import subprocess
import sys
import time

from disk_model import FAILED, Disk, read_log
from faults import can_fail, said_clearly
from kill import labelled_steps
from power_loss import POLICIES
from remote import Remote
from scenario import Reader, arguments, check, kill, recovery_is_fast, run_cases, scenarios
from servers import Azurite, Postgres
from shim import log_of, recorded


def loses_power(case):
    """px ends at a step or an instant, and so does the machine: of what it wrote, what was synced is sure to be there."""
    remote, number, step, seed = case
    chance = random.Random(f"{seed}/{number}")
    home = remote.home(f"loss_{number}")
    reader = Reader(remote, home) if number % 3 == 0 else None
    before = home.folder.with_name(home.folder.name + "-before")
    shutil.copytree(home.folder, before, copy_function=lambda source, target: os.link(source, target) if source.endswith(".packed")
                    else shutil.copy2(source, target))
    log = log_of(home)
    try:
        if step:
            done = home.run("run", "--ds", remote.ds, env={**recorded(home, log), "PX_TEST_KILL_AT": step})
            check(done.returncode == -9, f"{step}: px was not killed but gave {done.returncode}\n{done.stderr}")
        else:
            process = subprocess.Popen([home.px, "run", "--ds", remote.ds], cwd=home.folder, env={**os.environ, **recorded(home, log)},
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(chance.random() * remote.seconds * 1.1)
            code = kill(process)
            check(code in (-9, 0, 99), f"px ended by itself with {code}")
            remote.seconds = max(0.2, remote.seconds * (1.05 if code == -9 else 0.85))
        entries = read_log(log) if log.exists() else []
        policy = chance.choice(POLICIES)
        disk = Disk(before)
        for entry in entries:
            disk.do(entry)
        if reader:
            reader.stop_looking()
            reader = None
        shutil.rmtree(home.folder)
        disk.lay_out(home.folder, f"{seed}/{number}", policy)
        return remote.finished_by_the_next(home, None, f"power lost at {step or 'an instant'} after {len(entries)} operations, {policy} of the rest kept")
    finally:
        if reader:
            reader.stop_looking()
        home.remove()
        shutil.rmtree(before, ignore_errors=True)


def disk_fails(case):
    remote, number, fault = case
    home = remote.home(f"fault_{number}")
    log = log_of(home)
    done = home.run("run", "--ds", remote.ds, env=recorded(home, log, fault), timeout=60)
    failed = [entry for entry in read_log(log) if entry[0] == FAILED]
    when = f"{fault} at {failed[0][1] if failed else 'nothing'}"
    if done.returncode != 0:
        check(failed, f"{when}: exit {done.returncode}\n{done.stderr}")
        said_clearly(done, when)
    return remote.finished_by_the_next(home, None, when)


def operations(remote):
    home = remote.home("counted")
    log = log_of(home)
    home.run("run", "--ds", remote.ds, expect=0, env=recorded(home, log))
    home.remove()
    return sum(map(can_fail, read_log(log)))


def main():
    given = arguments(5)
    print(f"      seed {given.seed}", flush=True)
    chance = random.Random(given.seed)
    scenes = scenarios(given.px)
    servers = []
    try:
        servers += [Azurite(), Postgres()]
        remote = Remote(scenes, *servers)
        steps = labelled_steps(scenes[2])
        cases = [(remote, number, chance.choice(steps) if number % 2 else "", given.seed) for number in range(given.count)]
        times, good = run_cases("after a loss of power the next run completes on remote stores",
                                [case for case in cases if given.only in (None, case[1])], loses_power)
        every = [f"{kind}:{n}" for kind in ("EIO", "ENOSPC") for n in range(1, operations(remote) + 1)]
        cases = [(remote, number, fault) for number, fault in enumerate(chance.sample(every, min(len(every), given.count)))]
        more, fine = run_cases("when the disk fails px says so and nothing is lost on remote stores",
                               [case for case in cases if given.only in (None, case[1])], disk_fails)
        print(f"      {len(every)} operations can fail, {len(more)} were made to")
        good &= fine & recovery_is_fast(times + more)
    finally:
        for server in servers:
            server.stop()
        for scene in scenes:
            scene.remove()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

"""kill -9 of a run on remote stores, Azurite and PostgreSQL, at labelled steps and at random instants; then `px run`. A reader polls px serve.

Everything must equal a run on local stores that was not disturbed.
"""

import random
import subprocess
import sys
import time

from kill import labelled_steps
from remote import Remote
from scenario import Reader, arguments, check, kill, recovery_is_fast, run_cases, scenarios
from servers import Azurite, Postgres


def killed_at_a_step(case):
    remote, number, step = case
    home = remote.home(f"step_{number}")
    reader = Reader(remote, home) if number % 3 else None
    done = home.run("run", "--ds", remote.ds, env={"PX_TEST_KILL_AT": step})
    check(done.returncode == -9, f"{step}: px was not killed but gave {done.returncode}\n{done.stderr}")
    return remote.finished_by_the_next(home, reader, f"killed at {step}")


def killed_at_an_instant(case):
    remote, number, seed = case
    home = remote.home(f"instant_{number}")
    reader = Reader(remote, home) if number % 3 else None
    instant = random.Random(f"{seed}/{number}").random() * remote.seconds * 1.1
    process = subprocess.Popen([home.px, "run", "--ds", remote.ds], cwd=home.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(instant)
    code = kill(process)
    check(code in (-9, 0, 99), f"px ended by itself with {code}")
    remote.seconds = max(0.2, remote.seconds * (1.05 if code == -9 else 0.85))
    return code, remote.finished_by_the_next(home, reader, f"killed after {instant * 1000:.0f} ms")


def main():
    given = arguments(6)
    print(f"      seed {given.seed}", flush=True)
    chance = random.Random(given.seed)
    scenes = scenarios(given.px)
    servers = []
    try:
        servers += [Azurite(), Postgres()]
        remote = Remote(scenes, *servers)
        steps = list(enumerate(labelled_steps(scenes[2])))
        if given.count < 100:
            steps = sorted(chance.sample(steps, min(given.count, len(steps))))
        steps = [(remote, *step) for step in steps]
        good = given.only is not None or run_cases("killed at steps a run on remote stores is finished by the next", steps, killed_at_a_step)[1]
        cases = [(remote, number, given.seed) for number in range(given.count) if given.only in (None, number)]
        done, fine = run_cases("killed at any instant a run on remote stores is finished by the next", cases, killed_at_an_instant)
        print(f"      {sum(code == -9 for code, _ in done)} kills")
        fine &= recovery_is_fast(seconds for _, seconds in done)
    finally:
        for server in servers:
            server.stop()
        for scene in scenes:
            scene.remove()
    sys.exit(0 if good and fine else 1)


if __name__ == "__main__":
    main()

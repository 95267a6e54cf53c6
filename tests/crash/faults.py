"""The disk fails under px: the Nth operation with EIO, or from the Nth on everything that needs space with ENOSPC. px says so in an error, a
reader sees a whole release, and once the disk is well again the next run completes.
"""

import random
import re
import sys

from disk_model import FAILED, MAP, RMDIR, UNLINK, read_log
from scenario import arguments, check, run_cases, scenarios
from shim import log_of, recorded


def can_fail(entry):
    return entry[0] not in (UNLINK, RMDIR, MAP, FAILED)


def operations(scenario):
    """How many operations of an undisturbed run can fail: all, and those that need space (more than there are; px ends undisturbed)."""
    home = scenario.copy("counted")
    log = log_of(home)
    home.run("run", "--ds", scenario.ds, expect=0, env=recorded(home, log))
    home.remove()
    return sum(map(can_fail, read_log(log)))


def said_clearly(done, when):
    """One error, of which the first line says what went wrong and where; no crash."""
    check(done.returncode in (1, 4), f"{when}: exit {done.returncode} instead of 1 or 4\n{done.stdout}{done.stderr}")
    lines = [line for line in done.stderr.splitlines() if line.startswith("px: ")]
    check(len(lines) == 1, f"{when}: {len(lines)} errors instead of one\n{done.stderr}")
    # SQLite opens a file again for reading when it can't be opened for writing, and then does not know why.
    check(re.search(r"space|full|I/O|Input/output|unable to open database file \(|readonly database", lines[0]), f"{when}: the error does not say what the disk did: {lines[0]}")


def disturbed(case):
    number, scenario, fault, seed = case
    home = scenario.copy(f"fault-{number}")
    log = log_of(home)
    done = home.run("run", "--ds", scenario.ds, env=recorded(home, log, fault), timeout=60)
    failed = [entry for entry in read_log(log) if entry[0] == FAILED]
    when = f"{fault} at {failed[0][1] if failed else 'nothing'}, {scenario.name}"
    if failed:
        if done.returncode == 0:  # what failed was not needed: a file of the cache, something to be cleaned up
            scenario.check_complete(home, f"{when}, and px did not mind")
        else:
            said_clearly(done, when)
    else:
        check(done.returncode == 0, f"{when}: exit {done.returncode}\n{done.stderr}")
    scenario.check_before_or_after(home, when)
    scenario.recover(home, when)
    home.remove()
    return failed[0][1] if failed and done.returncode == 0 else ""


def main():
    given = arguments(48)
    print(f"      seed {given.seed}", flush=True)
    chance = random.Random(given.seed)
    scenes = scenarios(given.px)
    every = []
    for scene in scenes:
        count = operations(scene)
        every += [(scene, f"{kind}:{n}") for kind in ("EIO", "ENOSPC") for n in range(1, count + 1)]
    # A few operations more or fewer: px works in several threads.
    cases = every if given.count >= len(every) else chance.sample(every, given.count)
    cases = [(number, *case, given.seed) for number, case in enumerate(cases)]
    done, good = run_cases("when the disk fails px says so and nothing is lost",
                           [case for case in cases if given.only is None or case[0] == given.only], disturbed)
    not_minded = sorted({re.sub(r"[0-9a-f]{16,}|\d+", "N", name) for name in done if name})
    print(f"      {len(every)} operations can fail, {len(done)} were made to; of no consequence: {', '.join(not_minded) or 'none'}")
    for scene in scenes:
        scene.remove()
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

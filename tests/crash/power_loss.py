"""The power fails while px runs: what was not synced is lost, torn or out of order; the next run completes, and nothing is lost.

A run is recorded once (disk.c); disk_model.py lays out what may be on the disk after each of its operations. In some cases the run that is
recorded finishes one that was killed, or the power fails again during the recovery.
"""

import random
import sys

from disk_model import Disk, describe, read_log
from scenario import arguments, check, recovery_is_fast, run_cases, scenarios
from shim import log_of, recorded

POLICIES = ("none", "none", "names", "any", "any", "any", "any", "all")


class Trace:
    """A recorded run over a base: its operations, of which the first `quiet` are not cut."""

    def __init__(self, scenario, kill_at=None):
        self.scenario, self.name = scenario, f"{scenario.name}{f' after a kill at {kill_at}' if kill_at else ''}"
        home = scenario.copy(f"trace-{kill_at}")
        log = log_of(home)
        self.quiet = 0
        if kill_at:
            done = home.run("run", "--ds", scenario.ds, env={**recorded(home, log), "PX_TEST_KILL_AT": kill_at})
            check(done.returncode == -9, f"{kill_at}: px was not killed but gave {done.returncode}\n{done.stderr}")
            self.quiet = len(read_log(log))
        home.run("run", "--ds", scenario.ds, expect=(0, 99), env=recorded(home, log))
        self.entries = read_log(log)
        # The model is right: with nothing lost, the folder is what px left.
        replayed = self.laid_out(len(self.entries), "all", f"replayed-{kill_at}")
        real, made = ({pair for pair in folder.files().items() if not pair[0].endswith("-shm")} for folder in (home, replayed))
        check(real == made, f"{self.name}: the recorded operations do not give what px left: {sorted({name for name, _ in real ^ made})}")
        home.remove()
        replayed.remove()

    def __repr__(self):
        return self.name

    def laid_out(self, cut, policy, name, seed=0):
        disk = Disk(self.scenario.base.folder)
        for entry in self.entries[:cut]:
            disk.do(entry)
        home = type(self.scenario.base)(self.scenario.base.px, f"{self.scenario.base.folder}-{name}")
        home.remove()
        disk.lay_out(home.folder, seed, policy)
        return home


def what_is_done_stays_done(case):
    """The power fails after px has ended: nothing at all may be missing, and there is nothing to mend."""
    number, trace = case
    home = trace.laid_out(len(trace.entries), "none", f"done-{number}")
    trace.scenario.check_complete(home, f"{trace.name}, the power fails after the end")
    home.remove()
    return True


def loses_power(case):
    number, trace, seed = case
    scenario, chance = trace.scenario, random.Random(f"{seed}/{number}")
    cut = chance.randrange(trace.quiet, len(trace.entries) + 1)
    policy = chance.choice(POLICIES)
    home = trace.laid_out(cut, policy, f"loss-{number}", f"{seed}/{number}")
    when = f"power lost after operation {cut} of {len(trace.entries)} ({describe(trace.entries[cut - 1]) if cut else 'none'}), {policy} of the rest kept"
    scenario.check_before_or_after(home, when)
    if chance.random() < 0.3:  # and again while the next run mends it
        log = log_of(home)
        scene = type("Base", (), {"base": scenario.copy(f"again-{number}")})
        scene.base.remove()
        trace.laid_out(cut, policy, f"again-{number}", f"{seed}/{number}")
        done = home.run("run", "--ds", scenario.ds, env=recorded(home, log))
        check(done.returncode in (0, 99), f"{when}: the next run ends with {done.returncode}\n{done.stderr}")
        entries = read_log(log)
        again = chance.randrange(len(entries) + 1)
        disk = Disk(scene.base.folder)
        for entry in entries[:again]:
            disk.do(entry)
        home.remove()
        disk.lay_out(home.folder, f"{seed}/{number}/again", policy)
        scene.base.remove()
        when += f"; and again in the next run after operation {again} of {len(entries)} ({describe(entries[again - 1]) if again else 'none'})"
        scenario.check_before_or_after(home, when)
    seconds = scenario.recover(home, when)
    home.remove()
    return seconds


def main():
    given = arguments(60)
    print(f"      seed {given.seed}", flush=True)
    chance = random.Random(given.seed)
    scenes = scenarios(given.px)
    steps_file = scenes[2].base.folder.with_name(scenes[2].base.folder.name + ".steps")
    probe = scenes[2].copy("steps")
    probe.run("run", "--ds", scenes[2].ds, expect=0, env={"PX_TEST_STEPS": str(steps_file)})
    probe.remove()
    steps = list(dict.fromkeys(steps_file.read_text().split("\n")[:-1]))
    steps_file.unlink()
    killed = steps if given.count >= 500 else sorted(chance.sample(steps, 8), key=steps.index)
    traces = []

    def record(case):
        traces.append(Trace(*case))
        return True

    plain = [(scene,) for scene in scenes]
    _, good = run_cases("the model of the disk gives what px left", plain + [(scenes[2], step) for step in killed], record)
    traces.sort(key=lambda trace: (trace.quiet, trace.name))
    good &= run_cases("what is done stays done when the power fails", list(enumerate(traces)), what_is_done_stays_done)[1]
    cases = [(number, traces[number % 3] if number % 4 else chance.choice(traces), given.seed) for number in range(given.count)]
    times, fine = run_cases("after a loss of power the next run completes",
                            [case for case in cases if given.only is None or case[0] == given.only], loses_power)
    good &= recovery_is_fast(times)
    for scene in scenes:
        scene.remove()
    sys.exit(0 if good and fine else 1)


if __name__ == "__main__":
    main()

"""kill -9 at every labelled step of a run, and at random instants of it; then `px run`. A reader polls px serve all the while.

Everything must equal a run that was not disturbed, and nothing half-done may ever have been seen. Some are killed again while they recover.
"""

import random
import subprocess
import sys
import time

from scenario import Reader, arguments, check, kill, recovery_is_fast, run_cases, scenarios


def labelled_steps(scenario):
    home = scenario.copy("steps")
    file = home.folder.with_name(home.folder.name + ".txt")
    home.run("run", "--ds", scenario.ds, expect=0, env={"PX_TEST_STEPS": str(file)})
    home.remove()
    steps = list(dict.fromkeys(file.read_text().split("\n")[:-1]))
    file.unlink()
    return steps


def finished_by_the_next(scenario, home, reader, when):
    """After the kill: whole releases only; the next run completes; the reader has seen nothing else. Returns the seconds of recovery."""
    try:
        scenario.check_before_or_after(home, when)
        seconds = scenario.recover(home, when)
        if reader:
            reader.stop(scenario.release)
            reader = None
        check(home.json("releases", "--limit", "1")[0]["id"] == scenario.release, f"{when}: another number of releases")
        return seconds
    finally:
        if reader:
            reader.ended.set()
            reader.join()
            reader.server.stop()
        home.remove()


def killed_at_a_step(case):
    scenario, step = case
    home = scenario.copy(f"step-{step.replace('.', '-')}")
    reader = Reader(scenario, home) if scenario.before else None
    done = home.run("run", "--ds", scenario.ds, env={"PX_TEST_KILL_AT": step})
    check(done.returncode == -9, f"{step}: px was not killed but gave {done.returncode}\n{done.stderr}")
    return finished_by_the_next(scenario, home, reader, f"killed at {step}, {scenario.name}")


def killed_at_an_instant(case):
    number, scenario, seed = case
    chance = random.Random(f"{seed}/{number}")
    home = scenario.copy(f"instant-{number}")
    reader = Reader(scenario, home) if scenario.before else None
    when, kills = f"{scenario.name}, killed", 0
    while True:
        instant = chance.random() * scenario.seconds * 1.1
        process = subprocess.Popen([home.px, "run", "--ds", scenario.ds], cwd=home.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(instant)
        code = kill(process)
        check(code in (-9, 0, 99), f"{when}: px ended by itself with {code}")
        kills += code == -9
        # The instants stay spread over the run however busy the machine is.
        scenario.seconds = max(0.05, scenario.seconds * (1.03 if code == -9 else 0.85))
        when += f" after {instant * 1000:.0f} ms"
        if chance.random() > 0.3:
            return kills, finished_by_the_next(scenario, home, reader, when)


def main():
    given = arguments(36)
    print(f"      seed {given.seed}", flush=True)
    scenes = scenarios(given.px)
    steps = [(scene, step) for scene in (scenes if given.count >= 500 else scenes[2:]) for step in labelled_steps(scene)]
    check(len(steps) > 25, f"only {len(steps)} steps: {steps}")
    good = given.only is not None or run_cases("killed at every step a run is finished by the next", steps, killed_at_a_step)[1]
    cases = [(number, scenes[number % 3], given.seed) for number in range(given.count)]
    done, fine = run_cases("killed at any instant a run is finished by the next",
                           [case for case in cases if given.only is None or case[0] == given.only], killed_at_an_instant)
    if done:
        print(f"      {sum(kills for kills, _ in done)} kills")
        fine &= recovery_is_fast(seconds for _, seconds in done)
    for scene in scenes:
        scene.remove()
    sys.exit(0 if good and fine else 1)


if __name__ == "__main__":
    main()

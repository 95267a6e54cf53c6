"""kill -9 at every labelled step of a run, then `px run`: everything equals a run that was not disturbed."""

import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import check, main, report_rows, small_home  # noqa: E402


def prepare(px):
    """A home with one release, and input that changes every source."""
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    home.write("data/reports/b.csv", report_rows(30, 5))
    home.write("data/papers/note.txt", "A short note on forklifts.\n\nThey are green and there are ten of them.\n")
    (home.folder / "data/papers/plan.md").unlink()
    home.write("data/items.jsonl", '{"sku": "B", "price": 3}\n{"sku": "C", "price": 4}\n')
    return home


def killed_at_every_step_a_run_is_finished_by_the_next(px):
    base = prepare(px)
    calm = type(base)(px, f"{base.folder}-calm")
    shutil.copytree(base.folder, calm.folder, dirs_exist_ok=True)
    steps_file = base.folder.with_name(base.folder.name + ".steps")
    calm.run("run", "--ds", "2026-11-21", expect=0, env={"PX_TEST_STEPS": str(steps_file)})
    expected = calm.state()
    steps = list(dict.fromkeys(steps_file.read_text().split("\n")[:-1]))
    check(len(steps) > 25, f"only {len(steps)} steps: {steps}")
    old = base.state()
    for step in steps:
        home = type(base)(px, f"{base.folder}-kill")
        shutil.rmtree(home.folder, ignore_errors=True)
        shutil.copytree(base.folder, home.folder)
        done = home.run("run", "--ds", "2026-11-21", env={"PX_TEST_KILL_AT": step})
        check(done.returncode == -9, f"{step}: px was not killed but gave {done.returncode}\n{done.stderr}")
        seen = home.state()
        check(seen in (old, expected), f"{step}: a reader sees a mixture after the kill")
        home.run("run", "--ds", "2026-11-21", expect=(0, 99))
        after = home.state()
        for part in expected:
            check(after[part] == expected[part], f"{step}: {part} differs from an undisturbed run")
        check(home.json("releases")[0]["id"] == 2, f"{step}: {home.json('releases')[0]['id']} releases instead of 2")
        home.run("run", "--ds", "2026-11-21", expect=99)
    print(f"      {len(steps)} steps")
    for folder in (base, calm, home):
        folder.remove()
    steps_file.unlink()


if __name__ == "__main__":
    main([killed_at_every_step_a_run_is_finished_by_the_next])

"""Runs the tests, lane after lane, and ends with a table and the line "N passed, N failed".

    python tests/run.py BUILD_DIR [--count N] [LANE | LANE/TEST]...        (make test TESTS="unit/chunk peers")

Lanes, in this order:
  ranks   who may include whom, and that the checker of that would notice (tests/unit/)
  unit    every test_<room> of the build, by ctest; what is counted are GoogleTest's cases
  peers   tests/peers/*.py: our parts beside the programs they must agree with
  e2e     tests/e2e/*.py: px as a person uses it
  delivery tests/delivery/*.py: tarball, package, image and compose file on a bare Debian 12
  crash   tests/crash/*.py: px is killed, the power and the disk fail; a sample of the cases, or --count of each kind (make crash)
  web     tests/e2e/web/run.sh: the page in a real browser
A passing test is one line; of a failing one the end of its output is shown. A skipped case counts as failed: what a
test needs is installed by the set-up. Whole outputs are in build/test-results/.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

TOP = pathlib.Path(__file__).resolve().parents[1]
RESULTS = TOP / "build" / "test-results"
SHARED = TOP.parent / "shared" / "data"
LANES = ("ranks", "unit", "peers", "e2e", "delivery", "crash", "web")
SHOWN_LINES = 60
TIME_LIMIT_S = 2400  # of one script; none with --count
HEAVY = re.compile(r"^\s*(?:import|from)\s+(torch|openvino|sentence_transformers|transformers)\b", re.MULTILINE)
MAIN = re.compile(r"""^(?:if __name__ == ["']__main__["']|main\(\))""", re.MULTILINE)
CASE = re.compile(r"^(ok(?=  )|FAIL)\s+([\w-]+)", re.MULTILINE)  # what tests/e2e/lib/harness.py prints for each function


class Outcome:
    """What one test gave: how many cases passed and failed, and what to show."""

    def __init__(self, lane, name, passed, failed, seconds, output="", names=()):
        self.lane, self.name, self.passed, self.failed = lane, name, passed, failed
        self.seconds, self.output, self.names = seconds, output, list(names)


def say(text=""):
    print(text, flush=True)


def report(outcome):
    """One line for a test; more only when it failed."""
    mark = "ok    " if outcome.failed == 0 else "FAILED"
    cases = f"{outcome.passed + outcome.failed} cases" if outcome.passed + outcome.failed != 1 else ""
    say(f"  {mark} {outcome.lane}/{outcome.name:<28} {cases:>12} {outcome.seconds:8.1f} s")
    if outcome.failed == 0:
        return
    for name in outcome.names[:40]:
        say(f"         failed: {name}")
    lines = outcome.output.rstrip().splitlines()
    if len(lines) > SHOWN_LINES:
        say(f"         | … {len(lines) - SHOWN_LINES} lines before these are in build/test-results/")
    for line in lines[-SHOWN_LINES:]:
        say(f"         | {line[:400]}")


def run_script(lane, name, command, environment=None):
    """Runs one script to its end or the time limit; its exit code is its verdict."""
    limit_s = None if "--count" in command else TIME_LIMIT_S
    log = RESULTS / f"{lane}-{name}.log"
    started = time.monotonic()
    with open(log, "wb") as stream:
        process = subprocess.Popen([str(word) for word in command], cwd=TOP, stdin=subprocess.DEVNULL, stdout=stream,
                                   stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})},
                                   start_new_session=True)
        note = ""
        try:
            code = process.wait(timeout=limit_s)
            if code != 0:
                note = f"\nexit code {code}; to repeat: {' '.join(str(word) for word in command)}"
        except subprocess.TimeoutExpired:
            code = -1
            note = f"\nnot done after {limit_s} s"
        finally:
            try:  # servers and children it left behind, its own process group only
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
    output = log.read_text(encoding="utf-8", errors="replace")
    cases = CASE.findall(output)
    bad = [case for verdict, case in cases if verdict == "FAIL"]
    good = sum(verdict == "ok" for verdict, _ in cases)
    if code == 0 and not bad:
        return Outcome(lane, name, max(good, 1), 0, time.monotonic() - started)
    return Outcome(lane, name, good, max(len(bad), 1), time.monotonic() - started, output + note, bad)


def is_wanted(wanted, lane, name):
    return not wanted or lane in wanted or f"{lane}/{name}" in wanted


def run_all(tests, jobs):
    """tests: (lane, name, command, environment). Reports each as it ends."""
    outcomes = []
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        for future in as_completed([pool.submit(run_script, *test) for test in tests]):
            outcomes.append(future.result())
            report(outcomes[-1])
    return outcomes


# ---- the lanes -------------------------------------------------------------------------------------

def ranks_lane(_, wanted):
    tests = [("ranks", "check_includes", [sys.executable, TOP / "tools" / "check_includes.py"], None)]
    for script in sorted((TOP / "tests" / "unit").glob("*_test.py")):
        tests.append(("ranks", script.stem, [sys.executable, script], None))
    return run_all([test for test in tests if is_wanted(wanted, "ranks", test[1])], 1)


def gtest_counts(file):
    """Of one GoogleTest report: passed, and the names of what failed or was skipped."""
    passed, failed = 0, []
    for suite in json.loads(file.read_text(encoding="utf-8")).get("testsuites", []):
        for case in suite.get("testsuite", []):
            name = f"{suite['name']}.{case['name']}"
            if case.get("failures"):
                failed.append(name)
            elif case.get("result") == "SKIPPED" or case.get("status") == "NOTRUN":
                failed.append(f"{name} (skipped)")
            else:
                passed += 1
    return passed, failed


CTEST_LINE = re.compile(r"^\s*\d+/\d+ Test\s+#\d+:\s+(\S+)\s+\.*\s*(\S.*?)\s+([\d.]+) sec")


def unit_lane(build, wanted):
    reports = RESULTS / "gtest"
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    log = RESULTS / "unit.log"
    command = ["ctest", "--test-dir", str(build), "--output-on-failure", "--no-tests=error", "-j2"]
    names = [name.split("/", 1)[1] for name in wanted if name.startswith("unit/")]
    if names and "unit" not in wanted:
        command += ["-R", "^(" + "|".join(re.escape(name) for name in names) + ")$"]
    process = subprocess.Popen(command, cwd=TOP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, errors="replace",
                               env={**os.environ, "GTEST_OUTPUT": f"json:{reports}/"})
    outcomes, open_failure, everything = [], None, []

    def settle():
        """A failure is reported once its output, which follows its line, is complete."""
        if open_failure:
            report(open_failure)

    with open(log, "w", encoding="utf-8") as stream:
        for line in process.stdout:
            stream.write(line)
            everything.append(line)
            match = CTEST_LINE.match(line)
            if not match:
                if re.match(r"^\d+% tests passed", line):
                    settle()
                    open_failure = None
                if open_failure and not re.match(r"^\s+Start\s+\d+:", line):
                    open_failure.output += line
                continue
            settle()
            open_failure = None
            name, verdict, seconds = match[1], match[2].strip(), float(match[3])
            file = reports / f"test_{name}.json"
            passed, failed = 0, []
            try:
                passed, failed = gtest_counts(file)
            except (OSError, ValueError):  # it died before it could write, or it is no GoogleTest program
                if verdict == "Passed":
                    passed = 1
            if verdict != "Passed" and not failed:
                failed = [f"{name}: {verdict.strip('* ')}"]
            outcome = Outcome("unit", name, passed, len(failed), seconds, "", failed)
            outcomes.append(outcome)
            if failed:
                open_failure = outcome
            else:
                report(outcome)
        settle()
    if process.wait() != 0 and not any(outcome.failed for outcome in outcomes):
        outcomes.append(Outcome("unit", "ctest", 0, 1, 0.0, "".join(everything[-SHOWN_LINES:])))
        report(outcomes[-1])
    return outcomes


def scripts_of(folder):
    """The scripts that are tests: those with a main. A file without one must be imported by another."""
    files = sorted(folder.glob("*.py"))
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    for file in files:
        if MAIN.search(texts[file]):
            yield file
        elif not any(re.search(rf"\b{re.escape(file.stem)}\b", text) for other, text in texts.items() if other != file):
            raise SystemExit(f"{file.relative_to(TOP)}: neither a test (no `if __name__ == \"__main__\"`) nor used by one")


def python_for(script):
    heavy = HEAVY.search(script.read_text(encoding="utf-8"))
    return TOP / "build" / ("venv-reference" if heavy else "venv-test") / "bin" / "python"


def peers_lane(build, wanted):
    tests = [("peers", script.stem, [python_for(script), script, "--px-bin", build / "bin"], None)
             for script in scripts_of(TOP / "tests" / "peers") if is_wanted(wanted, "peers", script.stem)]
    return run_all(tests, 2)


def e2e_lane(build, wanted):
    tests = [("e2e", script.stem, [python_for(script), script, "--px", build / "bin" / "px"], None)
             for script in scripts_of(TOP / "tests" / "e2e") if is_wanted(wanted, "e2e", script.stem)]
    return run_all(tests, 1)


def delivery_lane(build, wanted):
    tests = [("delivery", script.stem, [python_for(script), script, "--px", build / "bin" / "px"], None)
             for script in scripts_of(TOP / "tests" / "delivery") if is_wanted(wanted, "delivery", script.stem)]
    return run_all(tests, 1)


def crash_lane(build, wanted, count=None):
    more = ["--count", count] if count else []
    tests = [("crash", script.stem, [python_for(script), script, "--px", build / "bin" / "px", *more], None)
             for script in scripts_of(TOP / "tests" / "crash") if is_wanted(wanted, "crash", script.stem)]
    return run_all(tests, 1)


def web_lane(build, _):
    script = TOP / "tests" / "e2e" / "web" / "run.sh"
    if not script.exists():
        return []
    path = f"{TOP / '.deps' / 'node' / 'bin'}:{os.environ.get('PATH', '')}"
    return run_all([("web", "page", ["bash", script, build / "bin" / "px"], {"PATH": path})], 1)


RUNNERS = {"ranks": ranks_lane, "unit": unit_lane, "peers": peers_lane, "e2e": e2e_lane, "delivery": delivery_lane, "crash": crash_lane, "web": web_lane}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("wanted", nargs="*", metavar="LANE | LANE/TEST")
    parser.add_argument("--count", type=int, help="how many cases of each kind the crash lane runs")
    args = parser.parse_args()
    for name in args.wanted:
        if name.split("/")[0] not in LANES:
            parser.error(f"there is no lane '{name.split('/')[0]}'; lanes: {', '.join(LANES)}")
    if not SHARED.is_dir():
        parser.exit(2, f"tests: the real input is missing; next: lay the shared data at {SHARED}\n")
    build = args.build.resolve()
    if not (build / "CMakeCache.txt").exists():
        parser.exit(2, f"tests: {args.build} is no build folder; next: make test\n")
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)

    rows = []
    for lane in LANES:
        if args.wanted and lane not in {name.split("/")[0] for name in args.wanted}:
            continue
        say(f"{lane}")
        started = time.monotonic()
        more = {"count": args.count} if lane == "crash" else {}
        outcomes = RUNNERS[lane](build, args.wanted, **more)
        if outcomes:
            rows.append((lane, sum(o.passed for o in outcomes), sum(o.failed for o in outcomes), time.monotonic() - started))
        elif args.wanted:
            parser.exit(2, f"tests: nothing in lane {lane} is called {' '.join(args.wanted)}\n")
        else:
            say("  nothing here")
    passed, failed = sum(row[1] for row in rows), sum(row[2] for row in rows)
    table = [f"{'lane':<9}{'passed':>8}{'failed':>8}{'seconds':>10}"]
    table += [f"{lane:<9}{good:>8}{bad:>8}{seconds:>10.1f}" for lane, good, bad, seconds in rows]
    text = "\n".join(table) + f"\n{passed} passed, {failed} failed\n"
    (RESULTS / "summary.txt").write_text(text, encoding="utf-8")
    say()
    print(text, end="", flush=True)
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()

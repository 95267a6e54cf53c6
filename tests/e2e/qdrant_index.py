"""The same pipeline file with its index in Qdrant (the test server), by changing one address: the same passages and answers, and clear errors."""

import json
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import EXAMPLE, Home, check, main, report_rows, small_home  # noqa: E402
from qdrant import Qdrant  # noqa: E402

KEY = "s3cret-key-of-the-test"
server = None
QUESTIONS = ["What is the financial outlook?", "forklifts", "Where does the second cold store open?", "site 3 pallets", "Ada steady outlook"]


def in_qdrant(home, collection, **more):
    values = {"PX_VECTORS_URL": f"{server.url}/{collection}", "QDRANT_API_KEY": KEY, **more}
    home.write(".env", "".join(f"{key}={value}\n" for key, value in values.items()))


def copy_of(home, name):
    other = Home(home.px, f"{home.folder}-{name}")
    shutil.copytree(home.folder, other.folder, dirs_exist_ok=True)
    return other


def found(home, questions, *more):
    """Chunk ids and scores of the first ten passages, for each way to search."""
    result = {}
    for question in questions:
        for mode in ("hybrid", "dense", "lexical"):
            answer = home.json("search", question, "--top-k", "10", "--mode", mode, *more)["results"]
            result[question, mode] = [(hit["chunk_id"], round(hit["score"], 4)) for hit in answer]
    return result


def equal(one, other):
    for part in one:
        check(one[part] == other[part], f"{part} differs:\n{str(one[part])[:900]}\n{str(other[part])[:900]}")


def state(home):
    """What readers see; the manifest is named by the store it is in."""
    return {part: value for part, value in home.state().items() if part != "manifest"}


def the_example_gives_the_same_passages_and_answers(px):
    local = Home(px)
    shutil.copytree(EXAMPLE, local.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".px", "lake", "landing", "index", "catalog.db*"))
    subprocess.run([sys.executable, "make_orders.py"], cwd=local.folder, check=True, capture_output=True)
    remote = copy_of(local, "qdrant")
    in_qdrant(remote, "example")
    for home in (local, remote):
        home.run("run", "--ds", "2026-03-31", expect=0)
    check(not (remote.folder / "index").exists(), "the run made a local index")
    equal(state(local), state(remote))
    titles = [row[0] for row in local.sql("select distinct title from documents where title is not null order by 1 limit 8")]
    questions = titles + QUESTIONS[:1]
    equal(found(local, questions), found(remote, questions))
    filters = ["--author", local.sql("select author from documents where author is not null limit 1")[0][0].upper()]
    equal(found(local, questions[:2], *filters), found(remote, questions[:2], *filters))
    server.forget()
    remote.json("search", questions[0])
    asked = [path.split("/collections/example")[-1] for _, path, *_ in server.requests()]
    check(asked.count("/points/query/batch") == 1 and len(asked) <= 8, f"a question took {asked}")
    remote.run("run", "--ds", "2026-03-31", expect=99)
    answers = [home.json("ask", QUESTIONS[0]) for home in (local, remote)]
    check(answers[0]["answer"] == answers[1]["answer"] and answers[1]["citations"], f"other answers: {answers}")
    remote.run("verify", "-", expect=0, stdin=json.dumps(answers[1]))
    shown = remote.run("config", "show", "--origin", expect=0).stdout + remote.run("doctor", expect=0).stdout
    check("example" in shown and KEY not in shown, f"a secret is shown, or no collection:\n{shown}")
    for home in (local, remote):
        home.remove()


def releases_stay_readable_until_a_vacuum(px):
    local = small_home(px)
    remote = copy_of(local, "qdrant")
    in_qdrant(remote, "", PX_VECTORS_URL="qdrant:", QDRANT_HOST="127.0.0.1", QDRANT_PORT=server.port)
    first = []
    for home in (local, remote):
        home.run("run", "--ds", "2026-11-20", expect=0)
        first.append(str(home.json("releases", "--limit", "1")[0]["id"]))
        home.write("data/reports/b.csv", report_rows(30, 5))
        (home.folder / "data/papers/note.txt").unlink()
        home.run("run", "--ds", "2026-11-21", expect=0)
    equal(state(local), state(remote))
    now = found(remote, QUESTIONS)
    equal(found(local, QUESTIONS), now)
    before = found(remote, QUESTIONS, "--as-of", first[1])
    equal(found(local, QUESTIONS, "--as-of", first[0]), before)
    check(before != now, "both releases answer alike")
    remote.run("vacuum", expect=0)  # nothing is old enough to go
    equal(before, found(remote, QUESTIONS, "--as-of", first[1]))
    remote.run("vacuum", "--retention-days", "0", expect=0)
    equal(now, found(remote, QUESTIONS))
    for home in (local, remote):
        home.remove()


def a_run_that_dies_or_meets_faults_ends_as_one_that_did_not(px):
    base = small_home(px)
    in_qdrant(base, "calm")
    calm = copy_of(base, "calm")
    for ds in ("2026-11-20", "2026-11-21"):
        calm.run("run", "--ds", ds, expect=0)
        calm.write("data/reports/b.csv", report_rows(30, 5))
    expected = (state(calm), found(calm, QUESTIONS[:1]))
    server.forget()
    calm.write("data/reports/c.csv", report_rows(50, 3))
    calm.run("run", "--ds", "2026-11-22", expect=0)
    requests = len(server.requests())
    # Each request of an apply goes wrong in test_index_qdrant; here some of a whole run.
    cases = [("kill", step) for step in ("index.end", "publish.release.begin")]
    cases += [("fault", (n, kind)) for n, kind in zip(range(3, requests + 1, 3), ("503", "cut", "lost", "500", "429") * requests)]
    for number, (way, what) in enumerate(cases):
        home = copy_of(base, "shaken")
        in_qdrant(home, f"shaken{number}")
        home.run("run", "--ds", "2026-11-20", expect=0)
        home.write("data/reports/b.csv", report_rows(30, 5))
        if way == "kill":
            check(home.run("run", "--ds", "2026-11-21", env={"PX_TEST_KILL_AT": what}).returncode == -9, f"not killed at {what}")
            home.run("run", "--ds", "2026-11-21", expect=(0, 99))
        else:
            server.fault(*what)
            home.run("run", "--ds", "2026-11-21", expect=0)
        equal({"state": expected[0], "found": expected[1]}, {"state": state(home), "found": found(home, QUESTIONS[:1])})
        home.remove()
    print(f"      {len(cases)} cases")
    for home in (base, calm):
        home.remove()


def what_is_wrong_is_said_in_one_line(px):
    home = small_home(px)
    in_qdrant(home, "wrong")
    home.run("run", "--ds", "2026-11-20", expect=0)
    before = found(home, QUESTIONS[:1])
    home.write("data/reports/b.csv", report_rows(30, 5))
    cases = [("wrong key", {"QDRANT_API_KEY": "of-somebody-else"}, 4, "QDRANT_API_KEY"),
             ("no key", {"QDRANT_API_KEY": ""}, 4, "QDRANT_API_KEY"),
             ("nobody there", {"PX_VECTORS_URL": "http://127.0.0.1:9/wrong"}, 4, "127.0.0.1:9"),
             ("no host", {"PX_VECTORS_URL": "qdrant:"}, 2, "QDRANT_HOST"),
             ("key in the clear", {"PX_VECTORS_URL": "http://qdrant.example.com:6333/wrong"}, 2, "https")]
    for name, variables, code, word in cases:
        done = home.run("run", "--ds", "2026-11-21", env=variables, timeout=120)
        text = done.stdout + done.stderr
        check(done.returncode == code and word in text, f"{name}: exit {done.returncode}\n{text}")
        check(KEY not in text and "of-somebody-else" not in text, f"{name} shows a key: {text}")
    equal(before, found(home, QUESTIONS[:1]))
    # Under a release the collection is dropped.
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("DELETE", "/collections/wrong", headers={"api-key": KEY})
    connection.getresponse().read()
    done = home.run("search", QUESTIONS[0])
    check(done.returncode == 1 and "collection 'wrong'" in done.stderr, f"exit {done.returncode}: {done.stderr}")
    done = home.run("doctor")
    check(done.returncode != 0 and "collection 'wrong'" in done.stdout, done.stdout)
    home.remove()


def a_pipeline_moves_into_qdrant_and_back_with_its_history(px):
    from migrate import At, file_for, history, local_file, with_history
    home = with_history(px)
    before = history(home)
    home.write(".env", f"QDRANT_API_KEY={KEY}\n")
    there = At(home, file_for(home, "there", {"landing": "./there/landing", "lake": "./there/lake", "catalog": "sqlite:./there/catalog.db",
                                              "vectors": f"{server.url}/moved"}))
    for label in ("migrate.index", "migrate.catalog.begin"):
        home.run("migrate", "--to", there.file, expect=-9, env={"PX_TEST_KILL_AT": label})
    shown = home.run("migrate", "--to", there.file, expect=0)
    check("made anew for 3 releases" in shown.stdout, shown.stdout)

    def but_manifests(told):
        return {**told, "releases": [{k: v for k, v in r.items() if k != "index_manifest"} for r in told["releases"]]}

    equal(but_manifests(before), but_manifests(history(there)))
    there.run("run", "--ds", "2026-11-22", expect=99)
    home.write("data/papers/new.txt", "The eleventh forklift is blue.\n")
    there.run("run", "--ds", "2026-11-23", expect=0)
    back = At(home, local_file(home, "back"))
    there.run("migrate", "--to", back.file, expect=0)
    equal(but_manifests(history(there)), but_manifests(history(back)))
    again = there.json("migrate", "--to", back.file)
    check(again["catalog_was_there"], str(again))
    back.run("run", "--ds", "2026-11-23", expect=99)
    answer = back.json("ask", "Which forklift is blue?")
    back.run("verify", "-", expect=0, stdin=json.dumps(answer))
    home.remove()


if __name__ == "__main__":
    with Qdrant(KEY) as server:
        main([the_example_gives_the_same_passages_and_answers, releases_stay_readable_until_a_vacuum,
              what_is_wrong_is_said_in_one_line, a_run_that_dies_or_meets_faults_ends_as_one_that_did_not,
              a_pipeline_moves_into_qdrant_and_back_with_its_history])

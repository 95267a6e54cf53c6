"""The command line as a demanding person meets it: what it refuses, what it prints, what it says to do next.

    python tests/e2e/commands.py --px build/release/bin/px
"""

import csv
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from lib.harness import Home, check, main, small_home


def published(px):
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    return home


def says(done, *words):
    text = done.stdout + done.stderr
    for word in words:
        check(word in text, f"'{word}' is not in: {text}")


def verify_says_ok_of_nothing_it_did_not_check(px):
    home = published(px)
    for text in ("", "\n", "{}", "[]", "null", '{"error": {"code": "NotFound"}}', '{"citations": [{}]}', '{"citations": [3]}', "no json"):
        says(home.run("verify", "-", stdin=text, expect=2), "this is no answer of px ask --json")
    answer = home.run("--json", "ask", "What is the outlook of site 3?", expect=0).stdout
    home.run("verify", "-", stdin=answer, expect=0)
    home.run("verify", "-", stdin=json.dumps(json.loads(answer), indent=2), expect=0)
    for path in (home.folder / "landing").rglob("*.csv"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b"pallets", b"parcels"))
    done = home.run("verify", "-", stdin=answer, expect=1)
    check("ok  " not in done.stdout and "not checked: quote" in done.stdout, done.stdout)
    for line in home.run("--json", "verify", "-", stdin=answer, expect=1).stdout.splitlines():
        steps = json.loads(line)["steps"]
        check(not any(step["passed"] for step in steps) and [step["checked"] for step in steps] == [True] + [False] * 4, line)
    home.remove()


def what_cannot_be_printed_is_a_failure(px):
    home = published(px)
    commands = (["sql", "select * from reports"], ["tables"], ["releases"], ["runs"], ["status"], ["ask", "What is the outlook of site 3?"],
                ["search", "site"], ["doctor"], ["config", "show"], ["completion"], ["graph"], ["--help"], ["quarantine", "list"])
    for words in commands:
        for more in ([], ["--json"]):
            with open("/dev/full", "w") as full:
                done = subprocess.run([home.px, *words, *more], cwd=home.folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
            check(done.returncode == 1 and "cannot write standard output" in done.stderr, f"{words} {more}: exit {done.returncode} {done.stderr}")
    closed = subprocess.run(["bash", "-c", '"$0" tables >&-', str(home.px)], cwd=home.folder, capture_output=True, text=True, check=False)
    check(closed.returncode == 1, f"closed stdout: exit {closed.returncode} {closed.stderr}")
    nobody = subprocess.run(["bash", "-c", 'set -o pipefail; "$0" sql "select * from range(200000)" --limit 200000 | head -1', str(home.px)],
                            cwd=home.folder, capture_output=True, text=True, check=False)
    check(nobody.returncode == 0 and nobody.stderr == "", f"{nobody.returncode} {nobody.stderr}")
    home.remove()


def a_mistyped_command_line_is_answered(px):
    home = small_home(px)
    cases = ((["rnu"], "unknown command 'rnu'; did you mean 'run'?"), (["run", "--dss", "2026-01-01"], "unknown option --dss for px run; did you mean --ds?"),
             (["run", "--dss=1"], "did you mean --ds?"), (["quarantine", "lst"], "unknown command 'quarantine lst'; did you mean 'quarantine list'?"),
             (["quarantine"], "px quarantine needs a command: list, replay"), ([], "px needs a command: "), (["frobnicate"], "unknown command 'frobnicate'"),
             (["--quite", "run"], "unknown option --quite for px; did you mean --quiet?"), (["-f", "x.yaml", "rnu"], "unknown command 'rnu'"),
             (["ask", "--autor", "Ada"], "unknown option --autor for px ask; did you mean --author?"), (["ask"], "px ask: question is required"),
             (["search", "x", "-k", "0"], "not in range"), (["run", "extra"], "px run:"), (["help", "rnu"], "did you mean 'run'?"),
             (["run", "--ds"], "px run: --ds"))
    for words, text in cases:
        done = home.run(*words, expect=2)
        check(text in done.stderr and done.stdout == "", f"{words}: {done.stdout}{done.stderr}")
        for mixed in (["--json", *words], [*words[:1], "--json", *words[1:]]):
            if words[:1] in (["-f"], ["help"]):
                continue
            error = json.loads(home.run(*mixed, expect=2).stdout)["error"]
            check(error["code"] == "InvalidArgument" and text in error["message"], error)
    for words in (["help"], ["--help"]):
        check("Run the pipeline" in home.run(*words, expect=0).stdout, words)
    check("--restart" in home.run("help", "run", expect=0).stdout, "px help run")
    check("--source" in home.run("help", "quarantine", "list", expect=0).stdout, "px help quarantine list")
    home.remove()


def every_command_speaks_json_and_to_people(px):
    home = Home(px)
    made = json.loads(home.run("--json", "init", "new folder", expect=0).stdout)
    check((home.folder / made["file"]).is_file() and (home.folder / made["data_folder"]).is_dir(), made)
    for shell in ("bash", "zsh", "fish"):
        script = home.json("completion", shell)["script"]
        check(script == home.run("completion", shell, expect=0).stdout and "px" in script, script)
    good = (home.folder / "new folder/pipeline.yaml").read_bytes()
    home.write("pipeline.yaml", good.replace(b"extra_columns: keep", b"extra_columns: ke\xe9p"))
    says(home.run("config", "show", expect=2), f"pipeline.yaml:{good[:good.index(b'extra_columns')].count(10) + 1}:22", "not UTF-8")
    home.remove()
    home = published(px)
    run = home.json("runs")[0]["id"]
    done = home.run("runs", run, expect=0)
    says(done, f"run      {run} of 2026-11-20", "published as release 1", "attempt", "stage.reports", "revenue is bounded", "passed")
    check("{" not in done.stdout and json.loads(home.run("runs", run, "--json", expect=0).stdout)["tasks"], done.stdout)
    home.remove()


def a_first_pipeline_halts_when_its_text_vanishes(px):
    home = Home(px)
    home.run("init", expect=0)
    home.write("data/a.csv", "id,title,author,published_at,text\n1,One,Ada,2026-01-01,The zoo keeps nine zebras.\n")
    home.run("run", "--ds", "2026-01-01", expect=0)
    for header, missing in (("id,title,author,published_at,body", "text"), ("key,title,author,published_at,text", "id")):
        home.write("data/a.csv", header + "\n1,One,Ada,2026-01-01,The zoo keeps nine zebras.\n")
        says(home.run("run", "--ds", "2026-01-02", expect=3), f"column '{missing}' is missing")
    home.remove()


def a_header_that_looks_wrong_is_explained(px):
    home = Home(px)
    home.run("init", expect=0)
    good = "id,title,author,published_at,text\n1,One,Ada,2026-01-01,The zoo keeps nine zebras.\n"
    for delimiter, name in ((";", ";"), ("\t", "tab"), ("|", "|")):
        home.write("data/a.csv", good.replace(",", delimiter))
        says(home.run("run", "--ds", "2026-01-01", expect=3), f"looks '{name}'-separated", f'delimiter: "{name}"')
    file = (home.folder / "pipeline.yaml").read_text()
    home.write("pipeline.yaml", file.replace('csv: "data/*.csv"', 'csv: {path: "data/*.csv", delimiter: "|"}'))
    home.run("run", "--ds", "2026-01-01", expect=0)
    home.write("pipeline.yaml", file)
    home.write("data/a.csv", good.split("\n", 1)[1])
    says(home.run("run", "--ds", "2026-01-02", expect=3), "no header line?", "columns: [")
    home.write("data/a.csv", good.replace("text", "body"))
    done = home.run("run", "--ds", "2026-01-02", expect=3)
    check("separated" not in done.stdout and "no header line" not in done.stdout, done.stdout)
    home.remove()


def the_doctor_sees_what_was_lost(px):
    home = small_home(px)
    home.run("doctor", expect=0)
    check(not (home.folder / "lake").exists(), "px doctor created the lake")
    home.run("run", "--ds", "2026-11-20", expect=0)
    before = home.files()
    says(home.run("doctor", expect=0), "writable", "table reports version", "index of release 1")
    check(home.files() == before, "px doctor left something behind")
    for part in ("lake", "index", "landing", "lake/reports/_delta_log", "lake/reports/ds=2026-11-20"):
        kept = home.folder / "kept"
        shutil.move(home.folder / part, kept)
        done = home.run("doctor", expect=1)
        says(done, "failed", "backup")
        check("px run" in done.stdout, done.stdout)
        check(not all(finding["ok"] for finding in home.json("doctor", expect=1)), part)
        shutil.move(kept, home.folder / part)
    # What the hint says works.
    rows = home.sql("select count(*) from reports")
    shutil.rmtree(home.folder / "index")
    shutil.move(home.folder / "lake", home.folder / "lake.away")
    for path in home.folder.glob("catalog.db*"):
        path.unlink()
    home.run("run", "--ds", "2026-11-20", expect=0)
    check(home.sql("select count(*) from reports") == rows, "rebuilt with other rows")
    home.run("doctor", expect=0)
    home.write("pipeline.yaml", (home.folder / "pipeline.yaml").read_text() + "embedding: {model: nowhere}\n")
    done = home.run("doctor", expect=1)
    says(done, "Set embedding.model to a folder")
    check("embed.model" not in done.stdout, done.stdout)
    home.remove()


def a_filter_that_nothing_passes_is_refused(px):
    home = published(px)
    for command in ("ask", "search"):
        says(home.run(command, "the site", "--author", "Grce", expect=2), "no author 'Grce'; near: Grace")
        says(home.run(command, "the site", "--author", "Nobody At All", expect=2), "no author 'Nobody At All'")
        says(home.run(command, "the site", "--from", "2026-02-02", "--to", "2026-02-01", expect=2), "--from 2026-02-02 is later than --to 2026-02-01")
        home.run(command, "the site", "--author", "grace", "--from", "2026-02-01", "--to", "2026-02-01", expect=0)
    home.remove()


def tables_are_whole_where_nobody_looks_at_them(px):
    home = published(px)
    long = "x" * 300
    check(long in home.run("sql", f"select '{long}' as a", expect=0).stdout, "a cell is cut in a pipe")
    query = "select * from (values ('a,b', 'say \"x\"', NULL), ('two' || chr(10) || 'lines', '', 'z')) t(\"col,1\", b, c)"
    done = subprocess.run([home.px, "sql", "--format", "csv", query], cwd=home.folder, capture_output=True, check=True).stdout.decode()
    check(done == '"col,1",b,c\r\n"a,b","say ""x""",\r\n"two\nlines","",z\r\n', repr(done))
    check(list(csv.reader(io.StringIO(done, newline="")))[2] == ["two\nlines", "", "z"], done)
    check(home.run("sql", "--format", "table", "select 1 as a", expect=0).stdout == "a\n1\n", "table")
    home.run("sql", "--format", "xml", "select 1", expect=2)
    hit = home.json("search", "forklifts")["results"][0]
    says(home.run("search", "forklifts", expect=0), "data/papers/note.txt:", f"chunk {hit['chunk_id']}")
    home.remove()


def the_documents_are_a_table_like_others(px):
    home = published(px)
    table = {table["name"]: table for table in home.json("tables")}["documents"]
    check(table["rows"] == home.sql("select count(*) from documents")[0][0] > 0, table)
    names = [column["name"] for column in table["columns"]]
    check("author" in names and {"name": "created_at", "type": "timestamp"} in table["columns"], table)
    says(home.run("tables", expect=0), "documents  ")
    says(home.run("sql", "select * from nowhere", expect=2), "known tables: ", "documents")
    for query in ("show tables", "DESCRIBE reports;", " desc reports"):
        says(home.run("sql", query, expect=2), "px tables")
    home.remove()


if __name__ == "__main__":
    os.environ.setdefault("PX_LOG", "warning")
    main([function for name, function in list(globals().items())
          if callable(function) and getattr(function, "__module__", "") == "__main__" and name not in ("published", "says")])

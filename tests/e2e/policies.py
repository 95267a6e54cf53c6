"""Who may read which rows, from a contract with a column of role acl to search, answers, SQL, models and releases of the past, over both
indexes; and the forms in which /v1/sql gives rows."""

import contextlib
import csv
import io
import json
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import Home, check, main  # noqa: E402
from qdrant import Qdrant  # noqa: E402

PIPELINE = """pipeline: policies
sources:
  notes: {csv: "data/notes.csv", mode: snapshot, contract: note}
  papers: {documents: "data/papers/*.md", mode: snapshot}
contracts:
  note:
    columns:
      - {name: id, type: string, role: id}
      - {name: title, type: string, role: title}
      - {name: author, type: string, role: author}
      - {name: cost, type: "decimal(18,2)"}
      - {name: text, type: string, role: text}
      - {name: readers, type: string, role: acl}
    quarantine: {halt_above: 40%}
models:
  cost_by_author: {sql: "select author, sum(cost) as cost from notes group by author order by author"}
  costs: {sql: "select author, readers, sum(cost) as cost from notes group by all order by all"}
  paper_titles: {sql: "select title from papers order by title"}
"""
ROWS = [("N1", "Budget plan", "Ada", "100.50", "The budget of the harbour is nine million euro.", "finance, board"),
        ("N2", "Hiring plan", "Grace", "20.00", "Twelve people will be hired in the harbour office.", "people"),
        ("N3", "Canteen", "Linus", "3.25", "The canteen of the harbour serves soup on Mondays.", "*"),
        ("N4", "Draft", "Edsger", "7.00", "The merger of the harbour with the shipyard is secret.", ""),
        ("N5", "Shipyard offer", "Ada", "5000.00", "The offer for the shipyard is two hundred million euro.", "board")]
SEEN = {"finance": {"N1", "N3"}, "people": {"N2", "N3"}, "board": {"N1", "N3", "N5"}, "finance,people": {"N1", "N2", "N3"},
        "": {"N3"}, "nobody": {"N3"}, "Finance": {"N3"}}
QUESTIONS = ["harbour", "What is the budget of the harbour?", "What is the offer for the shipyard?", "merger Edsger secret"]


def table_of(rows):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["id", "title", "author", "cost", "text", "readers"])
    writer.writerows(rows)
    writer.writerow(["N9", "Broken zqbroken", "Ada", "no number", "zqbroken", "finance"])
    return text.getvalue()


def home_with(px):
    home = Home(px)
    home.write("pipeline.yaml", PIPELINE)
    home.write("data/notes.csv", table_of(ROWS))
    home.write("data/papers/harbour.md", "---\ntitle: The harbour\nauthor: Barbara\n---\nThe harbour was built in 1901.\n")
    home.run("run", "--ds", "2026-11-20", expect=0)
    return home


def hidden_words(seen):
    words = {"zqbroken"}
    authors = {row[2] for row in ROWS if row[0] in seen}
    for identity, title, author, cost, text, _ in ROWS:
        if identity not in seen:
            words |= {f"notes/{identity}", title, cost, text[:30]} | ({author} - authors)
    return words


def look(home, groups, seen, *more):
    """Everything a member of the groups gets holds his rows and no word of another."""
    who = ["--as-groups", groups, *more]
    told = []
    for question in QUESTIONS:
        for mode in ("hybrid", "dense", "lexical"):
            found = home.json("search", question, "--top-k", "50", "--mode", mode, *who)
            told.append([dict(hit, text=hit["text"]) for hit in found["results"]])
            ids = {hit["document_id"] for hit in found["results"] if hit["document"].startswith("notes/")}
            check(ids <= seen, f"{groups!r} found {ids} by {question} ({mode})")
        answer = home.json("ask", question, *who)
        check({c["document_id"] for c in answer["citations"] if c["document"].startswith("notes/")} <= seen, f"{groups!r}: {answer}")
        told.append([answer["answer"], answer["citations"], answer["constraints"]])
    every = home.json("search", "harbour shipyard canteen", "--top-k", "50", *who)["results"]
    check({hit["document_id"] for hit in every if hit["document"].startswith("notes/")} == seen, f"{groups!r} of all: {every}")
    sql = {query: home.sql(query, *who) for query in
           ("select id from notes order by id", "select id from documents where source = 'notes' order by id",
            "select count(*), sum(cost) from notes", "select distinct author, cost from costs order by all",
            "select title from paper_titles")}
    check({row[0] for row in sql["select id from notes order by id"]} == seen, str(sql))
    check({row[0] for row in sql["select id from documents where source = 'notes' order by id"]} == seen, str(sql))
    check({row[0] for row in sql["select distinct author, cost from costs order by all"]} == {r[2] for r in ROWS if r[0] in seen}, str(sql))
    check(sql["select title from paper_titles"] == [["The harbour"]], str(sql))
    told.append(sql)
    tables = home.json("tables", *who)
    names = {table["name"] for table in tables}
    check(names == {"notes", "papers", "costs", "paper_titles", "documents"}, str(names))
    told.append(tables)
    for query in ("select * from cost_by_author", "select * from quarantine", "select * from chunks", "select * from embeddings"):
        refused = home.run("sql", query, *who, expect=2)
        check("there is no table" in refused.stderr, refused.stderr)
        told.append(refused.stderr.replace("cost_by_author", ""))
    # An error of a query's own shows no hidden value.
    for query in ("select cast(title as integer) from notes where author <> 'Linus'", "select nothing from notes"):
        told.append(home.run("sql", query, *who).stderr)
    check("restriction" in home.run("quarantine", "list", *who, expect=1).stderr, "the quarantine was listed")
    text = json.dumps(told, ensure_ascii=False)
    for word in hidden_words(seen):
        check(word not in text, f"{groups!r} was told {word!r}: …{text[max(0, text.find(word) - 200):][:400]}")


def rows_are_seen_by_their_readers_alone(px):
    home = home_with(px)
    for groups, seen in SEEN.items():
        look(home, groups, seen)
    check(len(home.sql("select * from notes")) == len(ROWS), "who is not restricted does not see everything")
    check(home.sql("select count(*) from cost_by_author") == [[4]], "nor the model")
    home.remove()


def a_row_that_changes_hands_does_so_from_its_release_on(px):
    home = home_with(px)
    before = {hit["document_id"]: hit["chunk_id"] for hit in home.json("search", "harbour shipyard canteen", "--top-k", "50")["results"]}
    report = home.run("run", "--ds", "2026-11-20", expect=99)
    changed = [row if row[0] != "N1" else (*row[:5], "people") for row in ROWS]
    home.write("data/notes.csv", table_of(changed))
    report = home.json("run", "--ds", "2026-11-21")
    check(report["chunks"]["embed"] == 0, f"texts that did not change were encoded again: {report['chunks']}")
    after = {hit["document_id"]: hit["chunk_id"] for hit in home.json("search", "harbour shipyard canteen", "--top-k", "50")["results"]}
    check({key for key in before if before[key] != after[key]} == {"N1"}, f"{before} {after}")

    def seen(groups, *more):
        ids = {hit["document_id"] for hit in home.json("search", "harbour budget", "--top-k", "50", "--as-groups", groups, *more)["results"]}
        rows = {row[0] for row in home.sql("select id from notes", "--as-groups", groups, *more)}
        check({i for i in ids if i.startswith("N")} <= rows, f"{ids} {rows}")
        return rows

    check(seen("finance") == {"N3"} and seen("people") == {"N1", "N2", "N3"}, "the new readers")
    check(seen("finance", "--as-of", "1") == {"N1", "N3"} and seen("people", "--as-of", "1") == {"N2", "N3"}, "the readers of then")
    # A citation of a hidden passage is one of a passage that does not exist.
    unknown = home.run("verify", "0" * 32, "--as-groups", "finance", expect=1).stderr
    hidden = home.run("verify", after["N1"], "--as-groups", "finance", expect=1).stderr
    check(hidden.replace(after["N1"], "0" * 32) == unknown, f"{hidden}\n{unknown}")
    check(home.run("verify", after["N1"], "--as-groups", "people", expect=0).returncode == 0, "its readers verify it")
    check(home.run("verify", before["N1"], "--as-of", "1", "--as-groups", "finance", expect=0).returncode == 0, "and those of then")
    home.remove()


def a_source_that_gets_the_role_is_closed_until_it_is_run_again(px):
    home = Home(px)
    home.write("pipeline.yaml", PIPELINE.replace(", role: acl", ""))
    home.write("data/notes.csv", table_of(ROWS))
    home.write("data/papers/harbour.md", "The harbour was built in 1901.\n")
    home.run("run", "--ds", "2026-11-20", expect=0)
    check(len(home.sql("select id from notes", "--as-groups", "")) == len(ROWS), "without an acl there is nothing to restrict")
    home.write("pipeline.yaml", PIPELINE)
    found = home.json("search", "harbour", "--top-k", "50", "--as-groups", "finance")["results"]
    check({hit["document"].split("/")[0] for hit in found} == {"papers"}, f"documents without an acl were shown: {found}")
    home.run("run", "--ds", "2026-11-20", expect=0)
    found = {hit["document_id"] for hit in home.json("search", "harbour", "--top-k", "50", "--as-groups", "finance")["results"]}
    check({"N1", "N3"} <= found and not {"N2", "N4", "N5"} & found, str(found))
    home.remove()


def qdrant_filters_alike(px):
    home = home_with(px)
    with Qdrant() as server:
        other = Home(px, f"{home.folder}-qdrant")
        other.write("pipeline.yaml", PIPELINE)
        shutil.copytree(home.folder / "data", other.folder / "data")
        other.write(".env", f"PX_VECTORS_URL={server.url}/policies\n")
        other.run("run", "--ds", "2026-11-20", expect=0)
        for groups in ("finance", "", "finance,people"):
            look(other, groups, SEEN[groups])
            for question in QUESTIONS:
                found = [[(hit["chunk_id"], round(hit["score"], 4)) for hit in one.json(
                    "search", question, "--top-k", "20", "--as-groups", groups)["results"]] for one in (home, other)]
                check(found[0] == found[1], f"{groups!r}, {question}: {found}")
        # The groups move with the documents when the index is made anew elsewhere.
        moved = "".join(f"{key}: {{url: \"{address}\"}}\n" for key, address in (
            ("landing", "./moved/landing"), ("lake", "./moved/lake"), ("catalog", "sqlite:./moved/catalog.db"), ("vectors", f"{server.url}/moved")))
        home.write("moved.yaml", PIPELINE + moved)
        home.run("migrate", "--to", "moved.yaml", expect=0)
        for groups in ("finance", "people"):
            found = [[(hit["chunk_id"], round(hit["score"], 4)) for hit in home.json(
                *file, "search", "harbour shipyard", "--top-k", "20", "--as-groups", groups)["results"]] for file in ([], ["--file", "moved.yaml"])]
            check(found[0] == found[1] and found[0], f"{groups!r} after the migration: {found}")
        other.remove()
    home.remove()


@contextlib.contextmanager
def serving(home, *words):
    """px serve on a free port; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(home.folder / "serve.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen([home.px, "serve", "--port", str(port), *words], cwd=home.folder, stdout=log, stderr=log)
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
                    break
                except OSError:
                    check(process.poll() is None, (home.folder / "serve.log").read_text())
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def a_server_for_some_groups_shows_their_rows(px):
    home = home_with(px)
    seen = SEEN["finance"]
    with serving(home, "--as-groups", "finance") as url:
        def ask(path, body=None):
            request = urllib.request.Request(url + path, None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    return response.status, response.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        told = [ask("/v1/search", {"question": "harbour shipyard", "top_k": 50}), ask("/v1/ask", {"question": QUESTIONS[2]}),
                ask("/v1/documents"), ask("/v1/tables"), ask("/v1/releases"), ask("/health"), ask("/v1/sql", {"sql": "select * from notes"}),
                ask("/v1/sql", {"sql": "select cast(title as integer) from notes where author <> 'Linus'"}), ask("/metrics"), ask("/v1/runs"),
                ask("/v1/quarantine"), ask("/search", {"question": "merger", "top_k": 50})]
        check([status for status, _ in told] == [200, 200, 200, 200, 200, 200, 200, 400, 403, 403, 403, 200], str(told))
        check(json.loads(told[2][1])["total"] == len(seen) + 1, told[2][1])
        for word in hidden_words(seen):
            check(word not in str(told), f"{word!r} was told: {told}")
    home.remove()


TYPES = """select i::tinyint a, (i * 100)::smallint b, i::integer c, i * 10000000000 d, i::double / 7 e, (i / 3)::float f, i % 2 = 0 g,
case when i > 1 then date '2026-11-20' + i::integer end h, timestamp '2026-11-20 08:27:01.5' + interval (i) second j,
timestamptz '2026-11-20 08:27:01+00' k, (i - 2)::decimal(18,2) / 1 l, case when i <> 2 then 'ü "' || i || ',' end m, [i, i] n,
(-i)::decimal(38,10) o, case when i = 1 then 'infinity'::double else i end p, '' q, null r, i::ubigint s, i::hugeint t from range(4) x(i)"""


def sql_answers_in_three_forms(px):
    import decimal

    import pyarrow.ipc
    home = home_with(px)
    with serving(home) as url:
        def post(accept, **body):
            request = urllib.request.Request(f"{url}/v1/sql", json.dumps(body).encode(),
                                             {"Content-Type": "application/json", "Accept": accept})
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.headers, response.read()

        arrow = "application/vnd.apache.arrow.stream"
        for sql in (TYPES, TYPES + " where false", "select * from notes order by id", "select i, repeat('x', i % 50) from range(9000) x(i)"):
            headers, body = post("application/json", sql=sql, cells="text")
            grid = json.loads(body)
            headers, body = post(f"application/pdf, {arrow};q=0.9, */*", sql=sql)
            check(headers["Content-Type"] == arrow and headers["X-Px-Truncated"] == "false" and headers["Vary"] == "Accept", str(headers))
            table = pyarrow.ipc.open_stream(body).read_all()
            table.validate(full=True)
            check(table.column_names == grid["columns"] and table.num_rows == grid["row_count"] == int(headers["X-Px-Row-Count"]), "shape")
            for column, name in enumerate(grid["columns"]):
                for value, row in zip(table.column(column).to_pylist(), grid["rows"], strict=True):
                    text = row[column]
                    same = value is None if text is None else (
                        value == (text == "true") if isinstance(value, bool) else
                        value == (decimal.Decimal(text) if isinstance(value, decimal.Decimal) else type(value)(text))
                        if isinstance(value, (int, str, decimal.Decimal)) else struct.pack("f", value) == struct.pack("f", float(text))
                        if isinstance(value, float) and str(table.schema.field(column).type) == "float" else value == float(text)
                        if isinstance(value, float) else
                        text.replace("+00", "") in (str(value).replace("+00:00", ""), str(value).rstrip("0")))
                    check(same, f"{name}: {value!r} is not {text!r} ({table.schema.field(column).type})")
            headers, body = post("text/csv", sql=sql)
            check(headers["Content-Type"].startswith("text/csv"), str(headers))
            rows = list(csv.reader(io.StringIO(body.decode(), newline="")))
            check(rows == [grid["columns"]] + [[cell or "" for cell in row] for row in grid["rows"]], f"{rows[:3]} {grid['rows'][:3]}")
        kinds = {field.name: str(field.type) for field in pyarrow.ipc.open_stream(post(arrow, sql=TYPES)[1]).schema}
        check(kinds == {"a": "int8", "b": "int16", "c": "int32", "d": "int64", "e": "double", "f": "float", "g": "bool", "h": "date32[day]",
                        "j": "timestamp[us]", "k": "timestamp[us, tz=UTC]", "l": kinds["l"], "m": "string", "n": "string",
                        "o": "decimal128(38, 10)", "p": "double", "q": "string", "r": kinds["r"], "s": "uint64", "t": "string"}, str(kinds))
        headers, body = post(arrow, sql="select * from range(100)", limit=10)
        check(headers["X-Px-Truncated"] == "true" and pyarrow.ipc.open_stream(body).read_all().num_rows == 10, "truncated")
        plan = json.loads(post(arrow, sql="select author, sum(cost) from notes group by 1", explain=True)[1])
        check("READ_PARQUET" in plan["plan"] and plan["rows_scanned"] == len(ROWS) and plan["rows"] == [], str(plan))
        check(str(home.folder) not in plan["plan"] and ".parquet" not in plan["plan"], plan["plan"])
        try:
            post("text/csv", sql="copy notes to '/tmp/x'")
            check(False, "a COPY ran")
        except urllib.error.HTTPError as error:
            check(error.code == 400 and error.headers["Content-Type"] == "application/problem+json", f"{error.code} {error.headers}")
    home.remove()


TWO = """pipeline: two
sources:
  notes: {csv: "data/two/notes.csv", mode: snapshot, contract: note}
  pay: {csv: "data/two/pay.csv", mode: snapshot, contract: pay}
  open: {csv: "data/two/open.csv", mode: snapshot, contract: open}
contracts:
  note:
    columns:
      - {name: id, type: string, role: id}
      - {name: text, type: string, role: text}
      - {name: readers, type: string, role: acl}
      - {name: audience, type: string}
  pay:
    columns:
      - {name: note, type: string, role: id}
      - {name: salary, type: string}
      - {name: readers, type: string, role: acl}
  open:
    columns:
      - {name: id, type: string, role: id}
      - {name: text, type: string, role: text}
models:
  joined: {sql: "select n.id, n.readers, p.salary from notes n join pay p on p.note = n.id"}
  dynamic: {sql: "select * from query_table('no' || 'tes')"}
  summary: {sql: "select id, text from notes"}
"""


def what_the_pipeline_file_says_today_opens_no_older_rows(px):
    home = Home(px)
    home.write("pipeline.yaml", TWO)
    home.write("data/two/notes.csv", "id,text,readers,audience\nN1,Soup on Mondays.,*,*\nN2,BOARDSECRET merger,board,board\nN3,MOVED words,*,board\n")
    home.write("data/two/pay.csv", "note,salary,readers\nN1,SECRET-900000,board\n")
    home.write("data/two/open.csv", "id,text\nO1,An open word.\n")
    home.run("run", "--ds", "2026-11-20", expect=0)

    def told(*words):
        """All that somebody of no group gets, errors too."""
        done = home.run(*words, "--as-groups", "nobody")
        return done.returncode, done.stdout + done.stderr

    def hides(secret, *words):
        code, text = told(*words)
        check(secret not in text, f"px {' '.join(words)} --as-groups nobody: {text}")
        return code

    def closed(release=()):
        for table in ("joined", "dynamic", "summary", "notes", "pay"):
            for secret in ("SECRET-900000", "BOARDSECRET"):
                hides(secret, "sql", f"select * from {table}", *release)
        for secret in ("BOARDSECRET", "SECRET-900000"):
            hides(secret, "search", "merger words soup", *release)
            hides(secret, "sql", "select * from documents", *release)

    # One column of two sources, a table named at run time, a model without the column.
    closed()
    check(told("sql", "select * from joined")[0] != 0, "a model of two sources with one acl column is there")
    check("Soup" in told("sql", "select * from notes")[1] and "An open word" in told("sql", "select * from open")[1], "open rows are hidden")
    check("SECRET-900000" in home.run("sql", "select * from joined").stdout, "without restriction the model is there")
    distinct = TWO.replace("{name: readers, type: string, role: acl}\n  open", "{name: payers, type: string, role: acl}\n  open")
    home.write("pipeline.yaml", distinct.replace("n.readers, p.salary", "n.readers, p.payers, p.salary"))
    home.write("data/two/pay.csv", "note,salary,payers\nN1,SECRET-900000,board\n")
    home.run("run", "--ds", "2026-11-20", expect=0)
    closed()
    check(told("sql", "select * from joined")[0] == 0, "a model with both columns is not there")
    check("SECRET-900000" in home.run("sql", "select * from joined", "--as-groups", "board").stdout, "the board does not see its rows")
    # A model that read hidden rows and now reads open ones: before the next run, and the older release after it.
    home.write("pipeline.yaml", TWO.replace("select id, text from notes", "select id, text from open"))
    closed()
    home.write("data/two/pay.csv", "note,salary,readers\nN1,SECRET-900000,board\n")
    home.run("run", "--ds", "2026-11-20", expect=0)
    closed()
    for release in ("1", "2"):
        closed(("--as-of", release))
    check("An open word" in told("sql", "select * from summary")[1], "the new model is hidden")
    # The role moves to another column: the groups of the old one decide nothing.
    moved = TWO.replace("{name: readers, type: string, role: acl}\n      - {name: audience, type: string}",
                        "{name: readers, type: string}\n      - {name: audience, type: string, role: acl}")
    home.write("pipeline.yaml", moved)
    for secret in ("BOARDSECRET", "MOVED"):
        for words in (("search", "merger words soup"), ("sql", "select * from documents"), ("sql", "select * from notes")):
            hides(secret, *words)
            hides(secret, *words, "--as-of", "1")
    home.run("run", "--ds", "2026-11-20", expect=0)
    check("Soup" in told("search", "soup")[1], "after the run the new column does not decide")
    for words in (("search", "merger words soup"), ("sql", "select * from documents"), ("sql", "select * from notes")):
        hides("MOVED", *words)
    # Every restricted source leaves the file: what they left in the releases does not open.
    home.write("pipeline.yaml", "pipeline: two\nsources:\n" + TWO.split("\n")[4] + "\ncontracts:\n  open:" + TWO.split("  open:\n", 1)[1].split("models:")[0].removeprefix("").replace("    columns", "\n    columns", 1))
    closed()
    check("An open word" in told("sql", "select * from open")[1], "the open source is hidden")
    home.run("run", "--ds", "2026-11-20", expect=0)
    closed()
    for release in ("1", "2", "3", "4"):
        closed(("--as-of", release))
    home.remove()


def files_of_a_reader_that_lives_are_left_to_it(px):
    home = home_with(px)
    views = home.folder / ".px/views"
    def rows(base, query):
        request = urllib.request.Request(f"{base}/v1/sql", json.dumps({"sql": query}).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)["rows"]

    with serving(home, "--as-groups", "finance") as base:
        check(len(rows(base, "select id from notes")) == 2, "finance sees two notes")
        folders = list(views.iterdir())
        check(len(folders) == 1 and folders[0].stat().st_mode & 0o777 == 0o700, str(folders))
        # Another process, for which the first one's number means nothing.
        subprocess.run(["unshare", "-pf", "--mount-proc", home.px, "sql", "select count(*) from notes", "--as-groups", "people"], cwd=home.folder, check=True,
                       capture_output=True)
        check(list(views.iterdir()) == folders, "the other process removed files in use, or left its own")
        check(len(rows(base, "select id, author from notes")) == 2, "the first reader lost its rows")
    left = views / "reader-killed"
    left.mkdir()
    (left / "lock").touch()
    (left / "narrowed-1-0.parquet").write_text("rows")
    home.run("sql", "select count(*) from notes", "--as-groups", "people", expect=0)
    check(list(views.iterdir()) == [], "what a killed process left is still there")
    home.remove()


if __name__ == "__main__":
    main([what_the_pipeline_file_says_today_opens_no_older_rows, files_of_a_reader_that_lives_are_left_to_it,
          rows_are_seen_by_their_readers_alone, a_row_that_changes_hands_does_so_from_its_release_on,
          a_source_that_gets_the_role_is_closed_until_it_is_run_again, qdrant_filters_alike, a_server_for_some_groups_shows_their_rows,
          sql_answers_in_three_forms])

"""What a history of runs does to the tables: dates run out of order, runs given up, sources and models that change, files withdrawn.

    python tests/e2e/histories.py --px build/release/bin/px
"""

import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from lib.harness import Home, check, main, small_home

NOTES = """pipeline: histories
sources:
  notes: {%(address)s, mode: %(mode)s, contract: note}
contracts:
  note:
    columns:
      - {name: id, type: string, role: id}
      - {name: value, type: "%(type)s"}
      - {name: body, type: string, role: text}
%(more)s"""


def pipeline(mode="append", address='csv: "data/*.csv"', type="decimal(10,2)", more=""):
    return NOTES % {"mode": mode, "address": address, "type": type, "more": more}


def notes(*rows):
    return "id,value,body\n" + "".join(f"{row[0]},{row[1]},{row[2] if len(row) > 2 else 'The note of ' + row[0] + ' is short.'}\n"
                                       for row in rows)


def start(px, **how):
    home = Home(px)
    home.write("pipeline.yaml", pipeline(**how))
    return home


def rows(home):
    return sorted(tuple(row) for row in home.sql("select id, value::varchar, ds from notes"))


def texts(home, question):
    return [hit["text"] for hit in home.json("search", question)["results"]]


def killed(home, label, *words):
    done = home.run("run", *words, env={"PX_TEST_KILL_AT": label})
    check(done.returncode == -9, f"not killed at {label}: exit {done.returncode}\n{done.stderr}")


def a_run_given_up_leaves_nothing_behind(px):
    home = start(px)
    home.write("data/a.csv", notes(("A", 1)))
    home.run("run", "--ds", "2026-01-01", expect=0)
    home.write("data/b.csv", notes(("B", 2)))
    killed(home, "publish.commit.notes", "--ds", "2026-01-02")
    home.run("run", "--restart", "--ds", "2026-01-03", expect=0)
    check(rows(home) == [("A", "1.00", "2026-01-01"), ("B", "2.00", "2026-01-03")], rows(home))
    home.remove()


def citations_of_older_dates_outlive_a_change_of_the_pipeline_file(px):
    home = start(px, address='csv: "data/{ds}.csv"')
    home.write("data/2026-01-01.csv", notes(("A", 1, "Zebras have stripes and the zoo keeps nine of them.")))
    home.run("run", "--ds", "2026-01-01", expect=0)
    home.write("pipeline.yaml", pipeline(address='csv: {path: "data/{ds}.csv", delimiter: ";"}'))
    home.write("data/2026-01-02.csv", notes(("B", 2, "Bears sleep in winter and the zoo keeps two of them.")).replace(",", ";"))
    home.run("run", "--ds", "2026-01-02", expect=0)
    cited = set()
    for question in ("How many zebras does the zoo keep?", "How many bears does the zoo keep?"):
        answer = home.run("--json", "ask", question, expect=0).stdout
        cited |= {citation["document_id"] for citation in json.loads(answer)["citations"]}
        home.run("verify", "-", stdin=answer, expect=0)
    check(cited == {"A", "B"}, f"cited: {cited}")
    home.remove()


def a_run_taken_up_says_how_to_begin_anew(px):
    home = start(px)
    home.write("data/a.csv", notes(("A", 1)))
    killed(home, "stage.notes.file", "--ds", "2026-01-01")
    home.write("data/a.csv", notes(("A", 2)))
    done = home.run("run", "--ds", "2026-01-01", expect=0, env={"PX_LOG": "info"})
    check("run.resume" in done.stderr and "--restart" in done.stderr, done.stderr)
    home.remove()


def a_merge_killed_between_its_commits_equals_one_that_was_not(px):
    # The second delivery moves A to another partition, so that two partitions and their texts change.
    states = []
    labels = [None, "merge.notes", "embed.end", "publish.begin", "publish.commit.notes", "publish.commit.chunks", "publish.release.begin"]
    for label in labels:
        home = start(px, mode="merge")
        home.write("data/a.csv", notes(("A", 1, "The old truth about zebras."), ("B", 2, "Bears sleep in winter.")))
        home.run("run", "--ds", "2026-01-01", expect=0)
        home.write("data/a.csv", notes(("A", 3, "The new truth about zebras.")))
        if label:
            killed(home, label, "--ds", "2026-01-02")
        home.run("run", "--ds", "2026-01-02", expect=0)
        state = home.state()
        check(state["count"] == 2 and state["chunks"] == 2, f"after {label}: {state['count']} documents, {state['chunks']} chunks")
        check(not any("old truth" in text for text in texts(home, "truth about zebras")), f"after {label} the old text is found")
        states.append(state)
        home.remove()
    for label, state in zip(labels, states):
        check(state == states[0], f"killed at {label}: another state")


def a_merge_keeps_rows_of_deliveries_of_the_same_date(px):
    home = start(px, mode="merge")
    home.write("data/a.csv", notes(("A", 1), ("B", 2)))
    home.run("run", "--ds", "2026-01-01", expect=0)
    home.write("data/a.csv", notes(("A", 5)))
    home.run("run", "--ds", "2026-01-01", expect=0)
    home.write("data/a.csv", notes(("C", 6)))
    home.run("run", "--ds", "2026-01-01", expect=0)
    check([row[:2] for row in rows(home)] == [("A", "5.00"), ("B", "2.00"), ("C", "6.00")], rows(home))
    home.remove()


def an_older_date_does_not_set_newer_truth_back(px):
    home = start(px, mode="snapshot", address='csv: "data/{ds}.csv"')
    for day, value in (("2026-01-01", 1), ("2026-01-02", 2), ("2026-01-03", 3)):
        home.write(f"data/{day}.csv", notes(("A", value)))
    home.run("run", "--ds", "2026-01-03", expect=0)
    home.run("backfill", "--from", "2026-01-01", "--to", "2026-01-02", expect=99)
    check(rows(home) == [("A", "3.00", "2026-01-03")], rows(home))
    home.remove()

    home = start(px, mode="merge", address='csv: "data/{ds}.csv"')
    home.write("data/2026-01-01.csv", notes(("A", 1), ("B", 1)))
    home.write("data/2026-01-02.csv", notes(("B", 2)))
    home.run("run", "--ds", "2026-01-02", expect=0)
    home.run("run", "--ds", "2026-01-01", expect=0)
    check(rows(home) == [("A", "1.00", "2026-01-01"), ("B", "2.00", "2026-01-02")], rows(home))
    home.remove()


def a_backfill_repeated_changes_nothing(px):
    for mode in ("append", "merge"):
        home = start(px, mode=mode, address='csv: "data/{ds}.csv"')
        for day, value in (("2026-01-01", 1), ("2026-01-02", 2), ("2026-01-03", 3)):
            home.write(f"data/{day}.csv", notes(("A", value), ("B" + day[-1], value)))
        home.run("backfill", "--from", "2026-01-01", "--to", "2026-01-03", expect=0)
        before = home.state()
        home.run("backfill", "--from", "2026-01-01", "--to", "2026-01-03", expect=99)
        check(home.state() == before and len(home.json("releases")) == 3, f"{mode}: a repeated backfill changed something")
        home.remove()


def a_lost_lake_or_index_is_told(px):
    for folder in ("lake", "index"):
        home = start(px)
        home.write("data/a.csv", notes(("A", 1)))
        home.run("run", "--ds", "2026-01-01", expect=0)
        (home.folder / folder).rename(home.folder / "moved")
        (home.folder / folder).mkdir()
        for command in ("run", "plan"):
            done = home.run(command, "--ds", "2026-01-01", expect=4)
            check("which is not there" in done.stderr and "restore" in done.stderr, done.stderr)
        (home.folder / folder).rmdir()
        (home.folder / "moved").rename(home.folder / folder)
        home.run("run", "--ds", "2026-01-01", expect=99)
        home.remove()


def a_link_to_nothing_is_not_a_deletion(px):
    home = start(px, mode="snapshot")
    home.write("data/a.csv", notes(("A", 1)))
    home.write("data/b.csv", notes(("B", 2)))
    home.run("run", "--ds", "2026-01-01", expect=0)
    (home.folder / "data/b.csv").rename(home.folder / "b.csv")
    (home.folder / "data/b.csv").symlink_to("/nowhere/b.csv")
    done = home.run("run", "--ds", "2026-01-02", expect=4)
    check("b.csv is a link" in done.stderr, done.stderr)
    check(len(rows(home)) == 2, rows(home))
    home.remove()


def a_replay_of_an_old_date_leaves_later_deliveries(px):
    for mode in ("snapshot", "merge"):
        home = start(px, mode=mode)
        home.write("data/a.csv", notes(("A", 1, "Zebras were grey.")))
        home.run("run", "--ds", "2026-01-01", expect=0)
        home.write("data/a.csv", notes(("A", 2, "Zebras have stripes.")))
        home.run("run", "--ds", "2026-01-02", expect=0)
        home.run("quarantine", "replay", "--ds", "2026-01-01", expect=99)
        check(rows(home) == [("A", "2.00", "2026-01-02")], rows(home))
        home.remove()
    home = start(px)
    home.write("data/a.csv", notes(("A", "x"), ("B", 2)))
    home.write("pipeline.yaml", pipeline(more="    quarantine: {halt_above: 90%}\n"))
    home.run("run", "--ds", "2026-01-01", expect=0)
    check(len(rows(home)) == 1, rows(home))
    home.write("pipeline.yaml", pipeline(more="    quarantine: {halt_above: 90%}\n    null_values: [x]\n"))
    home.run("quarantine", "replay", "--ds", "2026-01-01", expect=0)
    check(len(rows(home)) == 2, rows(home))
    home.remove()


def a_lost_catalog_does_not_make_a_run_a_lie(px):
    home = start(px, mode="snapshot")
    home.write("data/a.csv", notes(("A", 1)))
    home.run("run", "--ds", "2026-01-01", expect=0)
    (home.folder / "catalog.db").unlink()
    home.write("data/a.csv", notes(("A", 333)))
    home.run("run", "--ds", "2026-01-01", expect=0)
    check(rows(home) == [("A", "333.00", "2026-01-01")], rows(home))
    home.remove()


def a_model_may_change_its_columns(px):
    home = start(px, more='models:\n  total: {sql: "select sum(value) as total from notes"}\n')
    home.write("data/a.csv", notes(("A", 1)))
    home.run("run", "--ds", "2026-01-01", expect=0)
    home.write("pipeline.yaml", pipeline(more='models:\n  total: {sql: "select max(id) as Total, count(*) as n from notes"}\n'))
    home.run("run", "--ds", "2026-01-01", expect=0)
    check(home.sql("select Total, n from total") == [["A", 1]], home.sql("select * from total"))
    old = home.sql("select total::varchar from total", "--as-of", "1")
    check(old == [["1.00"]], old)
    home.write("pipeline.yaml", pipeline())
    home.run("run", "--ds", "2026-01-01", expect=0)
    check([table["name"] for table in home.json("tables") if table["name"] == "total"] == [], "a model taken out is still served")
    home.remove()


def a_source_that_comes_back_begins_anew(px):
    home = start(px)
    home.write("data/a.csv", notes(("A", 1)))
    home.run("run", "--ds", "2026-01-01", expect=0)
    home.write("other.csv", notes(("Z", 9)))
    home.write("pipeline.yaml", pipeline().replace("notes:", "others:", 1).replace("data/*.csv", "other.csv"))
    home.run("run", "--ds", "2026-01-02", expect=0)
    home.write("data/b.csv", notes(("B", 2)))
    home.write("pipeline.yaml", pipeline())
    home.run("run", "--ds", "2026-01-03", expect=0)
    check(rows(home) == [("A", "1.00", "2026-01-03"), ("B", "2.00", "2026-01-03")], rows(home))
    home.write("pipeline.yaml", pipeline(type="string"))
    done = home.run("run", "--ds", "2026-01-03", expect=3)
    check("'value' is decimal(10,2) in the lake and string now" in done.stdout + done.stderr, done.stdout + done.stderr)
    home.remove()


def an_append_file_that_was_withdrawn_can_come_again(px):
    home = start(px)
    home.write("data/a.csv", notes(("A", 1)))
    home.run("run", "--ds", "2026-01-01", expect=0)
    home.write("data/b.csv", notes(("B", 2)))
    home.run("run", "--ds", "2026-01-02", expect=0)
    home.run("run", "--ds", "2026-01-03", expect=99)
    (home.folder / "data/b.csv").unlink()
    home.run("run", "--ds", "2026-01-02", expect=0)
    check(rows(home) == [("A", "1.00", "2026-01-01")], rows(home))
    home.run("run", "--ds", "2026-01-02", expect=99)
    home.write("data/b.csv", notes(("B", 2)))
    home.run("run", "--ds", "2026-01-03", expect=0)
    check(rows(home) == [("A", "1.00", "2026-01-01"), ("B", "2.00", "2026-01-03")], rows(home))
    home.remove()


def equal_files_of_two_dates_are_two_partitions(px):
    home = start(px, address='csv: "data/{ds}/*.csv"')
    for day in ("2026-01-01", "2026-01-02"):
        home.write(f"data/{day}/stock.csv", notes(("A", 1)))
        home.run("run", "--ds", day, expect=0)
    check(rows(home) == [("A", "1.00", "2026-01-01"), ("A", "1.00", "2026-01-02")], rows(home))
    home.remove()


def another_precision_encodes_every_text_again(px):
    home = start(px)
    home.write("data/a.csv", notes(("A", 1), ("B", 2)))
    home.run("run", "--ds", "2026-01-01", expect=0)
    home.write("pipeline.yaml", pipeline(more="embedding: {precision: int8}\n"))
    plan = home.json("plan", "--ds", "2026-01-01")
    check(plan["chunks"]["embed"] == 2, plan)
    report = home.json("run", "--ds", "2026-01-01")
    check(report["chunks"]["embed"] == 2 and report["chunks"]["total"] == 2, report)
    home.run("run", "--ds", "2026-01-01", expect=99)
    check(len(texts(home, "the note of B")) == 2, texts(home, "the note of B"))
    home.write("pipeline.yaml", pipeline(more="embedding: {precision: int8}\nchunking: {size: 12, overlap: 0}\n"))
    plan = home.json("plan", "--ds", "2026-01-01")
    report = home.json("run", "--ds", "2026-01-01")
    check(plan["chunks"]["embed"] == report["chunks"]["embed"] > 2, (plan, report))
    home.remove()


def a_run_begun_with_other_addresses_is_given_up(px):
    home = start(px)
    home.write("data/a.csv", notes(("A", 1)))
    killed(home, "embed.begin", "--ds", "2026-01-01")
    home.write("pipeline.yaml", pipeline(more="embedding: {precision: fp32}\n"))
    home.run("run", "--ds", "2026-01-01", expect=0)
    states = [run["state"] for run in home.json("runs")]
    check(states == ["published", "failed"], states)
    home.remove()


def a_check_reads_sources_that_did_not_change(px):
    check_sql = 'select count(*) from staged where value > (select max(value) from bounds)'
    home = Home(px)
    home.write("pipeline.yaml", f"""pipeline: two
sources:
  bounds: {{csv: "bounds.csv", mode: snapshot, contract: bound}}
  notes: {{csv: "data/*.csv", mode: append, contract: note}}
contracts:
  bound: {{columns: [{{name: value, type: integer}}]}}
  note:
    columns: [{{name: id, type: string}}, {{name: value, type: integer}}]
    checks: [{{name: below the bound, sql: "{check_sql}", expect: 0}}]
""")
    home.write("bounds.csv", "value\n10\n")
    home.write("data/a.csv", "id,value\nA,1\n")
    home.run("run", "--ds", "2026-01-01", expect=0)
    home.write("data/b.csv", "id,value\nB,2\n")
    home.run("run", "--ds", "2026-01-02", expect=0)
    home.write("data/c.csv", "id,value\nC,20\n")
    home.run("run", "--ds", "2026-01-03", expect=3)
    home.remove()


def two_folders_with_one_catalog_do_not_run_at_once(px):
    home = start(px)
    shared = f"catalog: {{url: \"sqlite:{home.folder}/state/catalog.db\"}}\n"
    home.write("pipeline.yaml", pipeline(more=shared))
    home.write("state/.keep", "")
    home.write("data/a.csv", notes(("A", 1)))
    other = start(px)
    other.write("pipeline.yaml", pipeline(more=shared))
    other.write("data/a.csv", notes(("A", 1)))
    import fcntl
    home.run("run", "--ds", "2026-01-01", expect=0)
    with open(home.folder / "state/catalog.db.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = other.run("run", "--ds", "2026-01-02", expect=4)
        check("another px is working" in done.stderr, done.stderr)
        done = home.run("vacuum", expect=4)
        check("another px is working" in done.stderr, done.stderr)
    home.remove()
    other.remove()


def the_report_kept_is_the_report_printed(px):
    home = start(px)
    home.write("data/a.csv", notes(("A", 1), ("B", 2)))
    printed = home.json("run", "--ds", "2026-01-01")
    kept = home.json("runs")[0]["report"]
    for key in ("documents", "release", "chunks", "tables"):
        check(kept[key] == printed[key], (key, kept, printed))
    check(kept["elapsed_s"] > 0, kept)
    home.remove()


def a_damaged_index_or_one_of_an_older_px_is_made_of_the_lake(px):
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    before = home.json("search", "the second cold store in the north")
    for what, at in (("version", 8), ("bytes", -40)):
        segment = max((home.folder / "index").rglob("*.pxseg"), key=lambda path: path.stat().st_mtime_ns)
        damaged = bytearray(segment.read_bytes())
        damaged[at] ^= 0x55
        segment.chmod(0o644)
        segment.write_bytes(damaged)
        check(home.run("search", "cold store").returncode != 0, f"{what}: a damaged index is searched")
        report = home.json("run", "--ds", "2026-11-20")
        check(report["chunks"]["embed"] == 0, f"{what}: texts were embedded again: {report['chunks']}")
        after = home.json("search", "the second cold store in the north")
        check([r["chunk_id"] for r in after["results"]] == [r["chunk_id"] for r in before["results"]], f"{what}: other passages are found")
        home.run("run", "--ds", "2026-11-20", expect=99)
    home.remove()


def a_document_without_text_is_found_by_its_title_and_verified(px):
    home = Home(px)
    home.write("pipeline.yaml", """pipeline: titles
sources:
  notes: {csv: "notes.csv", mode: snapshot, contract: note}
contracts:
  note:
    columns:
      - {name: id, type: string, role: id}
      - {name: title, type: string, role: title}
      - {name: text, type: string, role: text}
""")
    home.write("notes.csv", "id,title,text\n1,Extraction of roots by subtractions,\n2,Matrix programs,Some words about matrices.\n")
    home.run("run", "--ds", "2026-11-20", expect=0)
    first = home.json("search", "roots and subtractions")["results"][0]
    check(first["title"] == "Extraction of roots by subtractions", str(first))
    home.run("verify", first["chunk_id"], expect=0)
    home.run("run", "--ds", "2026-11-20", expect=99)
    home.write("notes.csv", "id,title,text\n2,Matrix programs,Some words about matrices.\n")
    check(home.json("run", "--ds", "2026-11-21")["chunks"]["delete"] == 1, "the passage of the document that vanished stays")
    home.remove()


if __name__ == "__main__":
    os.environ.setdefault("PX_LOG", "warning")
    main([a_run_given_up_leaves_nothing_behind, a_merge_killed_between_its_commits_equals_one_that_was_not,
          a_merge_keeps_rows_of_deliveries_of_the_same_date, an_older_date_does_not_set_newer_truth_back,
          a_backfill_repeated_changes_nothing, a_lost_lake_or_index_is_told,
          a_link_to_nothing_is_not_a_deletion, a_replay_of_an_old_date_leaves_later_deliveries, a_lost_catalog_does_not_make_a_run_a_lie, a_model_may_change_its_columns,
          a_source_that_comes_back_begins_anew, an_append_file_that_was_withdrawn_can_come_again,
          equal_files_of_two_dates_are_two_partitions, another_precision_encodes_every_text_again,
          a_run_begun_with_other_addresses_is_given_up, a_check_reads_sources_that_did_not_change,
          two_folders_with_one_catalog_do_not_run_at_once, the_report_kept_is_the_report_printed,
          citations_of_older_dates_outlive_a_change_of_the_pipeline_file, a_run_taken_up_says_how_to_begin_anew,
          a_damaged_index_or_one_of_an_older_px_is_made_of_the_lake, a_document_without_text_is_found_by_its_title_and_verified])

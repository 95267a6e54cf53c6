"""Bad input: a clear error (what, where, next step), the right exit code, nothing lost, the old release still served."""

import os
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import check, main, report_rows, small_home  # noqa: E402

A = "data/reports/a.csv"


def refused(px, change, code, words, ds="2026-11-20", **more):
    """Runs once well, changes something, runs again: exit code, words of the message, old release and log untouched."""
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    log = home.lake_log()
    change(home)
    done = home.run("run", "--ds", ds, expect=code, **more)
    text = done.stdout + done.stderr
    for word in words:
        check(word in text, f"'{word}' is not in:\n{text}")
    check(home.lake_log() == log, "the lake's log changed")
    check(home.sql("select count(*) from reports") == [[8]], "the old release does not serve its rows")
    return home


def header_without_a_column(px):
    refused(px, lambda h: h.write(A, report_rows(1, 8).replace("id,title,author,", "id,title,writer,", 1)), 3,
            ["a.csv", "author", "writer"]).remove()


def wrong_header(px):
    refused(px, lambda h: h.write(A, "1,2,3\n4,5,6\n"), 3, ["a.csv", "'id'"]).remove()


def ragged_rows_above_the_limit(px):
    refused(px, lambda h: h.write(A, "id,title,author,day,revenue,text\n" + "x,y\n" * 5 + "a,b,c,d,e,f,g\n"), 3,
            ["fields", "a.csv:2"]).remove()


def wrong_encoding(px):
    rows = report_rows(1, 8).encode().replace(b"Ada", b"\xc5d\xe9")
    def change(home):
        home.write("pipeline.yaml", (home.folder / "pipeline.yaml").read_text().replace(
            '{csv: "data/reports/*.csv"', '{csv: {path: "data/reports/*.csv", encoding: utf-8}'))
        home.write(A, rows.replace(b"Grace", b"\xff\xfe").replace(b"Edsger", b"\xc0"))
    refused(px, change, 3, ["utf-8", "a.csv:2"]).remove()


def unterminated_quote(px):
    refused(px, lambda h: h.write(A, report_rows(1, 3) + 'R5,"never closed,Ada,2026-01-01,1.00,text\n' + "x\n" * 20), 3,
            ["quote", "a.csv"]).remove()


def empty_file(px):
    refused(px, lambda h: h.write(A, ""), 3, ["a.csv", "empty"]).remove()


def no_file_at_all(px):
    refused(px, lambda h: (h.folder / A).unlink(), 3, ["no file matches", "data/reports/*.csv"]).remove()


def duplicate_keys_go_to_quarantine(px):
    home = small_home(px)
    home.write(A, report_rows(1, 8) + "R001,Again,Ada,2026-01-01,1.00,The id of the first one.\n")
    home.run("run", "--ds", "2026-11-20", expect=0)
    rows = [r for r in home.json("quarantine", "list") if r["rule"] == "unique"]
    check(len(rows) == 1 and rows[0]["value"] == "R001" and rows[0]["column"] == "id", str(rows))
    home.remove()


def bad_documents_go_to_quarantine_or_halt(px):
    home = small_home(px)
    text = (home.folder / "pipeline.yaml").read_text().replace("*.{md,txt}", "*.{md,txt,pdf}")
    home.write("pipeline.yaml", text)
    home.write("data/papers/nothing.pdf", b"")
    done = home.run("run", "--ds", "2026-11-20", expect=3)
    check("nothing.pdf" in done.stdout, done.stdout)
    (home.folder / "data/papers/nothing.pdf").unlink()
    home.run("run", "--ds", "2026-11-20", expect=0)
    home.remove()


def encrypted_pdf(px):
    pdf = (b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
           b"3 0 obj<</Filter/Standard/V 1/R 2/Length 40/P -4/O(12345678901234567890123456789012)"
           b"/U(12345678901234567890123456789012)>>endobj\n"
           b"trailer<</Root 1 0 R/Encrypt 3 0 R/ID[(1234567890123456)(1234567890123456)]/Size 4>>\n%%EOF\n")
    home = small_home(px)
    home.write("pipeline.yaml", (home.folder / "pipeline.yaml").read_text().replace("*.{md,txt}", "*.{md,txt,pdf}"))
    home.write("data/papers/secret.pdf", pdf)
    done = home.run("run", "--ds", "2026-11-20", expect=3)
    check("secret.pdf" in done.stdout and "password" in done.stdout, done.stdout)
    home.remove()


def fifty_megabytes_in_one_cell(px):
    home = small_home(px)
    text = (home.folder / "pipeline.yaml").read_text()
    home.write("pipeline.yaml", text.replace("- {name: text, type: string, role: text}", "- {name: text, type: string}"))
    big = "the same eight words again and again here. " * (50 * 1024 * 1024 // 43)
    home.write(A, "id,title,author,day,revenue,text\nR1,Big,Ada,2026-01-01,1.00," + big + "\n")
    home.run("run", "--ds", "2026-11-20", expect=0)
    check(home.sql("select length(text) from reports") == [[len(big)]], "the big cell is not whole")
    home.remove()


def a_page_that_nests_without_end(px):
    """Comments and quotes that hide nothing from the parser; before the nesting was bounded this ran for hours."""
    home = small_home(px)
    home.write("pipeline.yaml", (home.folder / "pipeline.yaml").read_text().replace("*.{md,txt}", "*.{md,txt,html,docx}"))
    home.write("data/papers/deep.html", "<!--><body>" + "<div>" * 300_000 + "bottom")
    home.write("data/papers/quoted.html", '<body><a b=c">' + "<div>" * 300_000 + "bottom")
    done = home.run("run", "--ds", "2026-11-20", expect=3, timeout=120)
    check("deep.html" in done.stdout and "inside one another" in done.stdout, done.stdout)
    check("quoted.html" in done.stdout, done.stdout)
    for name in ("deep", "quoted"):
        (home.folder / f"data/papers/{name}.html").unlink()
    home.run("run", "--ds", "2026-11-20", expect=0)
    home.remove()


def a_folder_whose_name_looks_like_a_pattern(px):
    home = small_home(px)
    for name in ("u*", "uv [1] q?"):
        odd = type(home)(px, home.folder / name)
        shutil.copytree(home.folder / "data", odd.folder / "data")
        shutil.copy(home.folder / "pipeline.yaml", odd.folder)
        odd.run("run", "--ds", "2026-11-20", expect=0)
    for name in ("u*", "uv [1] q?"):
        odd = type(home)(px, home.folder / name)
        check(odd.sql("select count(*) from reports") == [[8]], f"wrong rows in {name}")
        check(odd.sql("select count(*) from documents") == [[10]], f"wrong documents in {name}")
        odd.write(A, report_rows(1, 9))
        odd.run("run", "--ds", "2026-11-21", expect=0)
        check(odd.sql("select count(*) from reports") == [[17]], f"wrong rows in {name}")
        answer = odd.run("--json", "ask", "What is the outlook of site 3?", expect=0).stdout
        odd.run("verify", "-", stdin=answer, expect=0)
    home.remove()


def full_disk(px):
    """The file-size limit of the process stands for the disk: writes fail as they do on a full one."""
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    log = home.lake_log()
    rows = "".join(f"Q{i},T,Ada,2026-01-01,1.00,{os.urandom(600).hex()}\n" for i in range(4000))
    home.write("data/reports/b.csv", "id,title,author,day,revenue,text\n" + rows)
    done = subprocess.run(["bash", "-c", 'ulimit -f 2000; trap "" XFSZ; exec "$0" run --ds 2026-11-20', str(px.resolve())],
                          cwd=home.folder, capture_output=True, text=True, timeout=120, check=False)
    check(done.returncode == 1, f"exit {done.returncode}: {done.stdout}{done.stderr}")
    check("File too large" in done.stderr or "space" in done.stderr.lower(), done.stderr)
    check(home.lake_log() == log, "the lake's log changed")
    check(home.sql("select count(*) from reports") == [[8]], "the old release does not serve")
    (home.folder / "data/reports/b.csv").unlink()
    home.write("data/reports/b.csv", report_rows(30, 5))
    home.run("run", "--ds", "2026-11-20", expect=0)
    check(home.sql("select count(*) from reports") == [[13]], "the run after the full disk is wrong")
    home.remove()


def unreadable_folder_as_another_user(px):
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    folder = home.folder / "data/reports"
    if os.geteuid() == 0:
        # root reads everything: a file where a folder is expected is as unreadable.
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        folder.symlink_to("reports")  # a loop
        words = ["data/reports"]
        done = home.run("run", "--ds", "2026-11-20", expect=(1, 3))
    else:
        folder.chmod(0)
        words = ["data/reports", "Check the owner"]
        done = home.run("run", "--ds", "2026-11-20", expect=(1, 3))
        folder.chmod(0o755)
    text = done.stdout + done.stderr
    check(all(word in text for word in words), text)
    check(home.sql("select count(*) from reports") == [[8]], "the old release does not serve")
    home.remove()


def bad_configuration(px):
    home = small_home(px)
    good = (home.folder / "pipeline.yaml").read_text()
    for text, words in ((good.replace("mode: append", "mod: append"), ["pipeline.yaml:3", "Did you mean 'mode'"]),
                        (good.replace("contract: report}", "contract: raport}"), ["raport", "report"]),
                        (good + "lake: [1]\n", ["lake"]), ("", ["pipeline"]), (good + ": :\n  - [", ["pipeline.yaml:"]),
                        (good.replace("role: text", "role: txt", 1), ["Did you mean 'text'"]),
                        (good.replace("  items: {jsonl", "  pg_items: {jsonl"), ["pipeline.yaml:5", "pg_items", "keeps for itself"]),
                        (good.replace("revenue_by_author: {sql", "sqlite_sums: {sql"), ["pipeline.yaml:23", "sqlite_sums"]),
                        (good.replace("sum(revenue)", "sum(revenu)"), ["revenu", "model revenue_by_author"])):
        home.write("pipeline.yaml", text)
        done = home.run("run", "--ds", "2026-11-20", expect=2)
        for word in words:
            check(word in done.stderr, f"'{word}' is not in {done.stderr}")
    home.write("pipeline.yaml", good)
    check(home.run("run", "--ds", "2026-13-01").returncode == 2, "a bad date was accepted")
    check(home.run("--file", "nowhere.yaml", "run").returncode == 2, "a missing file was accepted")
    home.run("run", "--ds", "2026-11-20", expect=0)
    home.remove()


def a_tampered_landed_file_fails_verification(px):
    home = small_home(px)
    home.run("run", "--ds", "2026-11-20", expect=0)
    answer = home.run("--json", "ask", "What is the outlook of site 3?", expect=0).stdout
    home.run("verify", "-", stdin=answer, expect=0)
    for path in (home.folder / "landing").rglob("*.csv"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes().replace(b"pallets", b"parcels"))
    done = home.run("verify", "-", stdin=answer, expect=1)
    check("NOT VERIFIED" in done.stdout and "SHA-256" in done.stdout, done.stdout)
    home.remove()


if __name__ == "__main__":
    main([header_without_a_column, wrong_header, ragged_rows_above_the_limit, wrong_encoding, unterminated_quote, empty_file,
          no_file_at_all, duplicate_keys_go_to_quarantine, bad_documents_go_to_quarantine_or_halt, encrypted_pdf,
          fifty_megabytes_in_one_cell, a_page_that_nests_without_end, a_folder_whose_name_looks_like_a_pattern, full_disk, unreadable_folder_as_another_user, bad_configuration,
          a_tampered_landed_file_fails_verification])

"""From a CSV of 413 documents to a served release: first run, the same again, one document edited; beside a Python stack.

    python bench/end_to_end.py --px-bin build/release/bin [--no-peer]

The peer reads the CSV, splits with langchain-text-splitters, encodes with sentence-transformers (fp32, its defaults) and
keeps the vectors in memory: no lake, no metadata, no lexical index. It takes minutes.
"""
import argparse
import csv
import json
import os
import pathlib
import resource
import shutil
import sys
import time

from measure import BENCH, ROOT, SHARED, run, table

CORPUS = SHARED / "retrieval" / "demo_fed" / "corpus.csv"
MODEL = ROOT / ".deps" / "models" / "all-MiniLM-L6-v2"


def peer():
    """Runs in the environment that has torch; prints its own figures."""
    from langchain_text_splitters import RecursiveCharacterTextSplitter
    from sentence_transformers import SentenceTransformer
    before, started = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    csv.field_size_limit(1 << 30)
    splitter = RecursiveCharacterTextSplitter(chunk_size=500, chunk_overlap=50)
    with open(CORPUS, newline="", encoding="utf-8") as stream:
        texts = [row["title"] + "\n" + piece for row in csv.DictReader(stream) for piece in splitter.split_text(row["text"])]
    vectors = SentenceTransformer(str(MODEL), device="cpu").encode(texts, batch_size=64, normalize_embeddings=True)
    after = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"chunks": len(vectors), "wall_s": time.monotonic() - started,
                      "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}))


def fed_folder(name="fed"):
    """A fresh folder with the pipeline of examples/fed and the corpus, which may be edited here."""
    folder = BENCH / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "fed" / "pipeline.yaml", folder)
    shutil.copyfile(CORPUS, folder / "corpus.csv")
    (folder / ".env").write_text("FED_CORPUS=corpus.csv\n", encoding="utf-8")
    return folder


def edit_one(path):
    """One more sentence in the text of the first record."""
    csv.field_size_limit(1 << 30)
    with open(path, newline="", encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    rows[1][rows[0].index("text")] += "\n\nThis sentence was added by hand."
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


def px_run(px, folder, expect):
    done = run([px, "--quiet", "--json", "run", "--ds", "2026-01-01"], cwd=folder, expect=(expect,))
    return done, json.loads(done.output)


def main():
    if sys.argv[1:] == ["--peer"]:
        peer()
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--no-peer", action="store_true")
    args = parser.parse_args()
    px = (args.px_bin / "px").resolve()
    rows = []

    def note(name, done, report):
        rows.append([name, report["chunks"]["total"] or "-", report["chunks"]["embed"], f"{done.wall_s:.2f}",
                     f"{done.cpu_s:.2f}", f"{done.rss_bytes / 1e6:.0f}", done.code])

    BENCH.mkdir(parents=True, exist_ok=True)
    folder = fed_folder()
    done, report = px_run(px, folder, 0)
    note("px, first run", done, report)
    done, report = px_run(px, folder, 99)
    note("px, the same again", done, report)
    if report["chunks"]["embed"] != 0:
        raise SystemExit("the second run embedded texts")
    edit_one(folder / "corpus.csv")
    done, report = px_run(px, folder, 0)
    note("px, one document edited", done, report)
    if not args.no_peer:
        done = run([ROOT / "build" / "venv-reference" / "bin" / "python", __file__, "--peer"],
                   environment={"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
                                "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))})
        found = json.loads(done.output.splitlines()[-1])
        rows.append(["langchain + sentence-transformers", found["chunks"], found["chunks"], f"{found['wall_s']:.2f}",
                     f"{found['cpu_s']:.2f}", f"{done.rss_bytes / 1e6:.0f}", 0])
    table("End to end: demo_fed, 413 documents in one CSV of 6.8 MB", ["program", "chunks", "embedded", "wall s", "CPU-s",
                                                                        "peak MB", "exit"], rows)


if __name__ == "__main__":
    main()

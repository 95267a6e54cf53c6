"""Real embeddings for the benchmarks of the index: passages of the corpora, then their questions, as rows of f32.

Passages are windows of about 240 characters cut between words, as far apart as gives the wanted number; their order is shuffled, so that
the file says nothing about which stand together. The questions are those people asked of the corpora, not passages. The vectors are ours
(int8). The file is kept in build/bench: the same bytes for the same numbers.
"""
import csv
import json
import pathlib
import random
import subprocess

from measure import BENCH, ROOT, SHARED

WIDTH = 384
WINDOW = 240
SETS = ("demo_fed", "cranfield", "cacm", "tatqa", "xquad_en", "xquad_de")
MODEL = ROOT / ".deps" / "models" / "all-MiniLM-L6-v2"
PIECE = 20_000  # texts a call of the encoder: bounds memory


def passages(count, seed=8):
    """As many windows as asked for, shuffled."""
    csv.field_size_limit(1 << 30)
    texts = []
    for name in SETS:
        with open(SHARED / "retrieval" / name / "corpus.csv", newline="", encoding="utf-8") as stream:
            texts += [" ".join((row["title"] + ". " + row["text"]).split()) for row in csv.DictReader(stream)]
    total = sum(len(text) for text in texts)
    stride = total / count
    while True:
        found, seen = [], set()
        for text in texts:
            place = 0.0
            while place < len(text):
                start = text.rfind(" ", 0, int(place) + 1) + 1
                end = text.find(" ", min(len(text), start + WINDOW))
                window = text[start:end if end > 0 else len(text)]
                if len(window) > 20 and window not in seen:
                    seen.add(window)
                    found.append(window)
                place += stride
        if len(found) >= count:
            break
        if stride < 4:
            raise SystemExit(f"the corpora give {len(found):,} different windows, not {count:,}; next: ask for fewer")
        stride *= 0.9
    random.Random(seed).shuffle(found)
    return found[:count]


def questions(count, seed=9):
    texts = []
    for name in SETS:
        for line in (SHARED / "retrieval" / name / "queries.jsonl").read_text(encoding="utf-8").splitlines():
            texts.append(json.loads(line)["text"])
    texts = sorted(set(texts))
    random.Random(seed).shuffle(texts)
    if len(texts) < count:
        raise SystemExit(f"the sets have {len(texts):,} questions, not {count:,}; next: ask for fewer")
    return texts[:count]


def vectors_file(px_bin, passage_count, question_count):
    """The path of the rows: passages first, questions last."""
    BENCH.mkdir(parents=True, exist_ok=True)
    path = BENCH / f"vectors-{passage_count}-{question_count}.f32"
    if path.exists() and path.stat().st_size == (passage_count + question_count) * WIDTH * 4:
        return path
    texts = passages(passage_count) + questions(question_count)
    aside = path.with_suffix(".new")
    with open(aside, "wb") as out:
        for begin in range(0, len(texts), PIECE):
            lines = "".join(json.dumps(text) + "\n" for text in texts[begin:begin + PIECE])
            subprocess.run([pathlib.Path(px_bin) / "tool_embed_encode", MODEL, "--precision", "int8", "--cache", BENCH / "cache"],
                           input=lines.encode("utf-8"), stdout=out, check=True)
            out.flush()
    if aside.stat().st_size != len(texts) * WIDTH * 4:
        raise SystemExit(f"{aside} has {aside.stat().st_size:,} bytes, not {len(texts) * WIDTH * 4:,}")
    aside.rename(path)
    return path

"""Our splitter against langchain-text-splitters: the same chunks, and offsets that give them back.

    python tests/peers/chunk_langchain.py --px-bin build/dev/bin [--update-cases]

Texts: every corpus of ../shared/data/retrieval, every document of ../shared/data/docs that is text, and seeded random
Unicode strings; several sizes, overlaps and separator lists. --update-cases rewrites tests/cases/chunk/split.case.
"""
import argparse
import csv
import json
import pathlib
import random
import subprocess
import sys
import tempfile

from langchain_text_splitters import RecursiveCharacterTextSplitter

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
DEFAULT = ["\n\n", "\n", " ", ""]
SHAPES = [
    (500, 50, DEFAULT), (1000, 200, DEFAULT), (200, 0, DEFAULT), (64, 63, DEFAULT), (1, 0, DEFAULT), (2, 1, DEFAULT),
    (37, 11, ["\n\n", ". ", " "]), (120, 30, [". ", "! ", "? ", "; ", ", ", " ", ""]), (80, 20, ["the", "", " "]),
    (300, 100, ["\n"]), (50, 10, ["。", "，", "、", ""]), (30, 5, ["aa", "a", ""]),
]
ALPHABETS = [
    "ab \n", "a\n", " ", "abc  \n\n\t", "aAbB .,;!?\n", "aé日本語\u3000\u00a0\u2028 \n", "😀a\u0301\u200b \u1680\x1c\x85\n",
    "xyz", ". the an", "\x1c\x1d\x1e\x1f\x0b\x0c \r\n",
]


def expected(task):
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=task["size"], chunk_overlap=task["overlap"], separators=task["separators"])
    return splitter.split_text(task["text"])


def texts_of_data():
    csv.field_size_limit(1 << 30)
    corpora = sorted(DATA.glob("retrieval/*/corpus.csv"))
    if not corpora:
        sys.exit(f"no corpora under {DATA}/retrieval: lay the shared data beside the repository")
    for path in corpora:
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                yield row["text"] or ""
    for path in sorted(DATA.glob("docs/**/*")):
        if path.is_file() and path.suffix.lower() in {".txt", ".md", ".html", ".htm", ".csv", ".json", ".xml", ".eml"}:
            yield path.read_bytes().decode("utf-8", "replace")


def random_text(rng):
    if rng.random() < 0.3:
        limit = rng.choice([0x80, 0x800, 0x3100, 0x10000, 0x110000])
        pool = [chr(c) for c in (rng.randrange(limit) for _ in range(20)) if not 0xD800 <= c < 0xE000] + [" ", "\n"]
    else:
        pool = rng.choice(ALPHABETS)
    return "".join(rng.choice(pool) for _ in range(rng.randrange(0, 400)))


def tasks(seed, random_count):
    # The heavier a shape is for langchain, the fewer texts it gets; the defaults see every text whole.
    texts = list(texts_of_data())
    for text in texts:
        yield dict(text=text, size=500, overlap=50, separators=DEFAULT)
    for number, (size, overlap, separators) in enumerate(SHAPES[1:]):
        for text in texts[number::11]:
            yield dict(text=text[:20000], size=size, overlap=overlap, separators=separators)
    rng = random.Random(seed)
    for _ in range(random_count):
        size, overlap, separators = rng.choice(SHAPES)
        if rng.random() < 0.7:
            size = rng.randrange(1, 60)
            overlap = rng.randrange(0, size)
        yield dict(text=random_text(rng), size=size, overlap=overlap, separators=separators)


def compare(batch, tool, seed):
    with tempfile.TemporaryFile() as given:
        for task in batch:
            given.write(json.dumps(task).encode() + b"\n")
        given.seek(0)
        lines = subprocess.run([tool], stdin=given, stdout=subprocess.PIPE, check=True).stdout.splitlines()
    if len(lines) != len(batch):
        sys.exit(f"tool_chunk_split answered {len(lines)} of {len(batch)} tasks")
    chunk_count = 0
    for task, line in zip(batch, lines):
        raw = task["text"].encode()
        ours = [raw[start:end].decode() for start, end in json.loads(line)]
        theirs = expected(task)
        chunk_count += len(theirs)
        if ours != theirs:
            where = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
            sys.exit(f"FAILED (seed {seed}): chunk {where} differs for size {task['size']}, overlap {task['overlap']}, "
                     f"separators {task['separators']}\n ours   {ours[where:where + 2]!r}\n theirs {theirs[where:where + 2]!r}"
                     f"\n text   {task['text'][:400]!r}")
    return chunk_count


CASES = [
    ("short", 10, 3, None), ("one two three four five", 10, 4, None), ("aa bb\ncc dd\n\nee ff", 5, 2, None),
    ("para one.\n\npara two is longer than the size.\n\nend", 20, 5, None), ("abcdefghijklmnop", 5, 2, None),
    ("   lead and trail   ", 8, 0, None), ("\n\n\n\n", 3, 1, None), ("a\n\nb\n\nc", 1, 0, None), ("word " * 6, 11, 6, None),
    ("no separator here", 4, 1, ["|"]), ("a|b||c", 2, 1, ["|"]), ("x. y. z. long sentence here. w", 9, 3, [". ", " "]),
    ("größer und größer", 7, 2, None), ("日本語。文章、です。", 4, 1, ["。", "、", ""]), ("a\u00a0b\u3000c\u2003d", 3, 1, None),
    ("\x1c a \x1f", 4, 0, None), ("😀😀😀😀😀", 2, 1, None), ("keep  double  spaces", 8, 2, None),
    ("tail kept whole although far too long", 6, 2, ["\n\n", "kept"]), ("aaaa", 2, 1, ["aa", "a", ""]),
    ("ab" * 8, 4, 2, ["ba", ""]), ("one\r\ntwo\r\n\r\nthree", 6, 1, None), ("sep at end\n\n", 12, 2, None),
    ("\u200bzero width stays\u200b", 12, 3, None), ("x" * 7 + " " + "y" * 3, 7, 3, None),
]


def update_cases():
    path = ROOT / "tests/cases/chunk/split.case"
    lines = ["# One JSON object a line: text, size, overlap, separators (default when absent) and the chunks they give.",
             "# Written by tests/peers/chunk_langchain.py --update-cases from langchain-text-splitters."]
    for text, size, overlap, separators in CASES:
        task = dict(text=text, size=size, overlap=overlap, separators=separators or DEFAULT)
        shown = {k: v for k, v in task.items() if k != "separators" or separators}
        lines.append(json.dumps({**shown, "chunks": expected(task)}, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--random", type=int, default=20000, help="random strings")
    parser.add_argument("--update-cases", action="store_true")
    args = parser.parse_args()
    if args.update_cases:
        update_cases()
    batch, count, chunks, size = [], 0, 0, 0
    for task in tasks(args.seed, args.random):
        batch.append(task)
        size += len(task["text"])
        if size > 8_000_000:
            chunks += compare(batch, args.px_bin / "tool_chunk_split", args.seed)
            count += len(batch)
            batch, size = [], 0
    chunks += compare(batch, args.px_bin / "tool_chunk_split", args.seed)
    print(f"ok: {count + len(batch)} texts, {chunks} chunks equal to langchain-text-splitters (seed {args.seed})")


if __name__ == "__main__":
    main()

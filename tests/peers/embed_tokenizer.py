"""Our WordPiece tokenizer against PyPI tokenizers with the same tokenizer.json, truncation and padding off.

    python tests/peers/embed_tokenizer.py --px-bin build/dev/bin [--update-cases]

Texts: every file under ../shared/data (bytes that are not UTF-8 replaced), every code point of Unicode, alone and inside a
word, seeded random Unicode strings and seeded random bytes (what is no UTF-8 counts as U+FFFD). --update-cases rewrites tests/cases/embed/tokenize.case.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
SPECIAL = ["[SEP]", "[CLS]", "[MASK]", "[PAD]", "[UNK]", "[sep]", "[SEP", "[", "##ing", "ing"]


def texts_of_data():
    files = [path for path in sorted(DATA.rglob("*")) if path.is_file()]
    if not files:
        sys.exit(f"no files under {DATA}: lay the shared data beside the repository")
    for path in files:
        text = path.read_bytes().decode("utf-8", "replace")
        for start in range(0, len(text), 1_000_000):
            yield text[start:start + 1_000_000]


def code_points():
    return [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def texts_of_code_points():
    everything = code_points()
    for start in range(0, len(everything), 4096):
        part = everything[start:start + 4096]
        yield " ".join(part)
        yield " ".join("a" + c + "B" for c in part)
        yield " ".join(c + "\u0301\u302e" + c for c in part)


def random_texts(rng, count, vocabulary):
    everything = code_points()
    # What normalisation treats specially, so that it meets often: combining marks of several classes, spaces, controls.
    odd = list("\u0300\u0301\u0323\u0345\u0334\u302e\u302f\u1b44\u1d165\u0338\u05b0\u3099\u309a\u0f71\u00ad\u200b\u200d\ufeff"
               "\u0130\u0131\u017f\u1e9b\u212b\u2126\u03c2\u03a3\u00df\u1fef\u037e\u2028\u0085\u000b\u001c\ufffd\u0000")
    odd += ["\U0001d165", "\U0001d16d", "\U0001d15e", "\U0001e000", "\U0001e94a", "\U00011938", "가", "한", "が", "é", "Å"]
    cjk = [chr(c) for c in (*range(0x3000, 0x3100), *range(0x4E00, 0x4F00), *range(0x9F00, 0xA000), *range(0xAC00, 0xAC40), 0x20000)]
    emoji = [chr(c) for c in (*range(0x1F300, 0x1F680), *range(0x1F1E6, 0x1F200), 0x200D, 0xFE0F, 0x20E3)] + list("a1# ")
    pools = [everything, everything[:0x250], everything[0x300:0x3400], odd + list("abc "), list("abcXYZ019 .,-[]#'\n\t"), cjk, emoji,
             list(map(chr, range(0x80))), [everything[0x370:0x600], cjk, list("abc ")][rng.randrange(3)]]
    words = [word for word in sorted(vocabulary) if not word.startswith("[")]
    for _ in range(count):
        kind = rng.random()
        length = int(2 ** rng.uniform(0, 9))
        if kind < 0.2:
            yield "".join(rng.choice(words).removeprefix("##") + rng.choice(["", "", " ", "-"]) for _ in range(length // 4 + 1))
        elif kind < 0.3:
            yield "".join(rng.choice(SPECIAL + [" ", "a", "É", "語"]) for _ in range(length // 4 + 1))
        elif kind < 0.35:
            yield " ".join(rng.choice(["a", "é", "語", "x\u0301", "\u302e"]) * rng.randrange(90, 112) for _ in range(3))
        elif kind < 0.6:
            pool = rng.choices(rng.choice(pools), k=12) + [" "]
            yield "".join(rng.choice(pool) for _ in range(length))
        else:
            yield "".join(rng.choice(rng.choice(pools)) for _ in range(length))


def random_bytes(rng, count):
    pieces = [b"word ", b"Wo", b" ", b"[SEP]", b"[", b"9", "é".encode(), "語".encode(), "😀".encode(), "\u0301".encode(), b"\xed\xa0\x80", b"\xf4\x90"]
    for _ in range(count):
        yield b"".join(rng.choice(pieces) if rng.random() < 0.7 else rng.randbytes(rng.randrange(1, 4)) for _ in range(rng.randrange(1, 60)))


def compare(batch, args, peer, label):
    with tempfile.TemporaryFile() as given:
        for text in batch:
            given.write(json.dumps(text if isinstance(text, str) else {"hex": text.hex()}).encode() + b"\n")
        given.seek(0)
        lines = subprocess.run([args.px_bin / "tool_embed_tokenize", args.model], stdin=given, stdout=subprocess.PIPE,
                               check=True).stdout.splitlines()
    if len(lines) != len(batch):
        sys.exit(f"tool_embed_tokenize answered {len(lines)} of {len(batch)} texts")
    batch = [text if isinstance(text, str) else text.decode("utf-8", "replace") for text in batch]
    count = 0
    for text, line, encoding in zip(batch, lines, peer.encode_batch_fast(batch)):
        ours, theirs = json.loads(line), encoding.ids
        count += len(theirs)
        if ours != theirs:
            at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
            sys.exit(f"FAILED on {label} (seed {args.seed}): token {at}, ours {ours[at:at + 6]}, tokenizers {theirs[at:at + 6]} "
                     f"({[peer.id_to_token(i) for i in theirs[max(0, at - 3):at + 6]]})\n text {text[:300]!r}")
    return count


CASES = [
    "", " ", "Hello, World!", "unbelievable", "The Committee's 25-basis-point hike.", "[CLS] a [SEP]b[MASK]", "[sep]", "a[SEP", "don't",
    "Größenwahn", "ÀÉÎÕÜ àéîõü", "e\u0301", "日本語テキスト", "한국어", "e-mail@example.org", "3.14159", "1,000,000", "tab\tnew\nline",
    "zero\u200bwidth", "soft\u00adhyphen", "\ufffd\u0000x", "ﬁne ligature", "İstanbul", "ΑΣ σς", "😀 emoji", "x" * 100, "x" * 101, "é" * 101,
    "U.S.A.", "…—“quoted”", "\u037e\u1fef", "a\u302e\u0323b", "\u1100\u1161", "naïve café", "##ing", "\u2028line\u00a0space",
]


def update_cases(peer):
    path = ROOT / "tests/cases/embed/tokenize.case"
    lines = ["# One JSON object a line: text and the ids PyPI tokenizers gives it with the tokenizer.json of all-MiniLM-L6-v2.",
             "# Written by tests/peers/embed_tokenizer.py --update-cases."]
    lines += [json.dumps({"text": text, "ids": peer.encode(text).ids}) for text in CASES]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=20261123)
    parser.add_argument("--random", type=int, default=200_000)
    parser.add_argument("--update-cases", action="store_true")
    args = parser.parse_args()
    args.model = args.model or args.px_bin / "../share/px/models/all-MiniLM-L6-v2"
    peer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    peer.no_truncation()
    peer.no_padding()
    if args.update_cases:
        return update_cases(peer)
    sources = {"code points": texts_of_code_points(), "random strings": random_texts(random.Random(args.seed), args.random, peer.get_vocab()),
               "random bytes": random_bytes(random.Random(args.seed), args.random // 10), "shared data": texts_of_data()}
    for label, texts in sources.items():
        batch, size, texts_seen, tokens = [], 0, 0, 0
        for text in texts:
            batch.append(text)
            size += len(text)
            if size > 4_000_000:
                tokens += compare(batch, args, peer, label)
                texts_seen += len(batch)
                batch, size = [], 0
        tokens += compare(batch, args, peer, label)
        print(f"ok: {texts_seen + len(batch)} texts of {label}, {tokens} tokens equal to tokenizers (seed {args.seed})", flush=True)


if __name__ == "__main__":
    main()

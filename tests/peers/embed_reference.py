"""Our encoder against sentence-transformers with the same model folder, on real chunks.

    python tests/peers/embed_reference.py --px-bin build/release/bin [--chunks 1000]

Least cosine to the reference: fp32 0.99999, bf16 0.9999, int8 0.99 (0.997 on the average). The best kernels of this processor take every
chunk, avx2 takes some of them (the unit tests compare every kernel with the scalar reference on every shape).
"""
import argparse
import csv
import json
import os
import pathlib
import subprocess
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import numpy as np
from langchain_text_splitters import RecursiveCharacterTextSplitter
from sentence_transformers import SentenceTransformer

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "retrieval"
LIMITS = {"fp32": (0.99999, 0.99999), "bf16": (0.9999, 0.9999), "int8": (0.99, 0.997)}
SPECIAL = ["", " ", "x", "[SEP] [MASK]", "rate " * 600, "日本語の文章です。" * 80, "\u0301\u200b", "Größe " * 40]


def real_chunks(count):
    csv.field_size_limit(1 << 30)
    splitter = RecursiveCharacterTextSplitter(chunk_size=500, chunk_overlap=50)
    corpora = sorted(DATA.glob("*/corpus.csv"))
    if not corpora:
        sys.exit(f"no corpora under {DATA}: lay the shared data beside the repository")
    pools = []
    for path in corpora:
        with open(path, newline="", encoding="utf-8") as file:
            pools.append([chunk for row in csv.DictReader(file) for chunk in splitter.split_text(row["text"] or "")])
    share = count // len(pools) + 1
    chosen = [chunk for pool in pools for chunk in pool[::max(1, len(pool) // share)][:share]]
    return chosen[:count] + SPECIAL


def ours(args, texts, precision, kernel):
    command = [args.px_bin / "tool_embed_encode", args.model, "--precision", precision]
    if kernel:
        command += ["--kernel", kernel]
    given = "".join(json.dumps(text) + "\n" for text in texts).encode()
    out = subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True).stdout
    return np.frombuffer(out, dtype="<f4").reshape(len(texts), -1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--chunks", type=int, default=1000)
    args = parser.parse_args()
    args.model = args.model or (args.px_bin / "../share/px/models/all-MiniLM-L6-v2").resolve()
    texts = real_chunks(args.chunks)
    reference = SentenceTransformer(str(args.model), device="cpu").encode(texts, normalize_embeddings=True, show_progress_bar=False)
    has_avx2 = " avx2 " in open("/proc/cpuinfo", encoding="utf-8").read()
    failed = False
    for precision, (least, mean) in LIMITS.items():
        for kernel, some in (("", texts), ("avx2", texts[-100:])) if has_avx2 else (("", texts),):
            vectors = ours(args, some, precision, kernel)
            wanted = reference[len(texts) - len(some):]
            cosines = (vectors * wanted).sum(axis=1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(wanted, axis=1)
            good = cosines.min() >= least and cosines.mean() >= mean and np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-5
            failed |= not good
            print(f"{'ok' if good else 'FAILED'}: {precision} {kernel or 'best'}: {len(some)} texts, cosine to sentence-transformers least "
                  f"{cosines.min():.7f} (asked {least}), mean {cosines.mean():.7f}", flush=True)
            if not good:
                print(f"  worst text: {some[int(cosines.argmin())][:200]!r}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

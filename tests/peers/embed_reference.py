"""Our encoder against sentence-transformers with the same model folder, on real chunks.

    python tests/peers/embed_reference.py --px-bin build/release/bin [--chunks 1000]

Least cosine to the reference: fp32 0.99999, bf16 0.9999 for every text. int8 is coarser: 0.985 for real chunks and 0.997 on their average,
0.98 for odd texts (a text of no word is two tokens, whose rounding nothing averages out). The best kernels of this processor take every
text, avx2 takes each tenth (the unit tests compare every kernel with the scalar reference on every shape).
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
# Least of the real chunks, their mean, least of the odd texts.
LIMITS = {"fp32": (0.99999, 0.99999, 0.99999), "bf16": (0.9999, 0.9999, 0.9999), "int8": (0.985, 0.997, 0.98)}
ODD = ["", " ", "x", "[SEP] [MASK]", "rate " * 600, "日本語の文章です。" * 80, "\u0301\u200b", "Größe " * 40]


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
    return chosen[:count]


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
    chunks = real_chunks(args.chunks)
    texts = chunks + ODD
    odd = np.arange(len(texts)) >= len(chunks)
    reference = SentenceTransformer(str(args.model), device="cpu").encode(texts, normalize_embeddings=True, show_progress_bar=False)
    everything = np.arange(len(texts))
    tenth = everything[odd | (everything % 10 == 0)]
    has_avx2 = " avx2 " in open("/proc/cpuinfo", encoding="utf-8").read()
    failed = False
    for precision, (least, mean, least_odd) in LIMITS.items():
        for kernel, some in (("", everything), ("avx2", tenth)) if has_avx2 else (("", everything),):
            vectors, wanted = ours(args, [texts[i] for i in some], precision, kernel), reference[some]
            lengths = np.linalg.norm(vectors, axis=1)
            cosines = (vectors * wanted).sum(axis=1) / lengths / np.linalg.norm(wanted, axis=1)
            real, rest = cosines[~odd[some]], cosines[odd[some]]
            good = real.min() >= least and real.mean() >= mean and rest.min() >= least_odd and np.abs(lengths - 1).max() < 1e-5
            failed |= not good
            print(f"{'ok' if good else 'FAILED'}: {precision} {kernel or 'best'}: cosine to sentence-transformers of {len(real)} chunks least "
                  f"{real.min():.7f} (asked {least}), mean {real.mean():.7f} (asked {mean}); of {len(rest)} odd texts least "
                  f"{rest.min():.7f} (asked {least_odd})", flush=True)
            if not good:
                print(f"  worst text: {texts[some[int(cosines.argmin())]][:200]!r}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()

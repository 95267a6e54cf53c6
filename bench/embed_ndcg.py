"""What a precision costs in retrieval: dense search over the judged sets with fp32, bf16 and int8 vectors of `px embed`.

    python bench/embed_ndcg.py --px-bin build/release/bin [--sets cranfield,cacm,tatqa]

A document is its title and text, cut at the model's limit; cosine, exact; scored by shared/data/eval/eval_retrieval.py. Marked
where bf16 is further from fp32 than 0.001 in nDCG@10, or int8 than 0.005. A set of 52 queries moves by 0.002 when one document in one list
changes places with another of the same score, so the last column says how many lists of ten changed at all.
"""
import argparse
import csv
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np

from measure import BENCH, SHARED, table

ALLOWED = {"fp32": 0.0, "bf16": 0.001, "int8": 0.005}


def embed(px, precision, texts, query=False):
    given = "".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts))
    command = [px, "--quiet", "embed", "--precision", precision, "--kind", "query" if query else "passage", "--format", "f32"]
    out = subprocess.run(command, input=given.encode(), stdout=subprocess.PIPE, check=True).stdout
    return np.frombuffer(out, dtype="<f4").reshape(len(texts), -1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--sets", type=lambda text: text.split(","), default=["cranfield", "cacm", "tatqa"])
    args = parser.parse_args()
    px = args.px_bin / "px"
    BENCH.mkdir(parents=True, exist_ok=True)
    csv.field_size_limit(1 << 30)
    rows = []
    for name in args.sets:
        folder = SHARED / "retrieval" / name
        with open(folder / "corpus.csv", newline="", encoding="utf-8") as stream:
            documents = [(row["doc_id"], f"{row['title']}. {row['text']}" if row["title"] else row["text"]) for row in csv.DictReader(stream)]
        queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines() if line]
        exact = lists = None
        for precision, allowed in ALLOWED.items():
            started = time.monotonic()
            vectors = embed(px, precision, [text for _, text in documents])
            scores = embed(px, precision, [query["text"] for query in queries], query=True) @ vectors.T
            with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as run:
                for query, row in zip(queries, scores):
                    for at in np.argsort(-row, kind="stable")[:100]:
                        run.write(f"{query['query_id']}\t{documents[at][0]}\t{row[at]:.6f}\n")
                run.flush()
                judge = [sys.executable, SHARED / "eval" / "eval_retrieval.py", "run", run.name, folder]
                out = subprocess.run(judge, stdout=subprocess.PIPE, text=True, check=True).stdout
            found = json.loads(out)["ndcg10"]
            best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
            exact, lists = (found, best) if exact is None else (exact, lists)
            changed = int((best != lists).any(axis=1).sum())
            rows.append([name, len(documents), precision, f"{found:.4f}", f"{found - exact:+.4f}{' !' if abs(found - exact) > allowed else ''}",
                         f"{changed} of {len(queries)}", f"{time.monotonic() - started:.0f}"])
    table("nDCG@10 of dense retrieval by precision", ["set", "documents", "precision", "nDCG@10", "to fp32", "lists changed", "s"], rows)


if __name__ == "__main__":
    main()

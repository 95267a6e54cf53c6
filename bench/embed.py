"""Tokens a CPU second of embedding, ours beside sentence-transformers and OpenVINO: same chunks, one thread each, one run.

    python bench/embed.py --px-bin build/release/bin [--chunks 400]

Also tokenizing alone beside PyPI tokenizers. The share is of the processor's peak: f32 fused multiply-adds that touch nothing but
registers, measured in the same run, at 22.6 MFLOP a token (so int8, whose peak is higher, may pass 100 %).
"""
import argparse
import csv
import json
import os
import pathlib
import subprocess
import time

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import numpy as np
import openvino
import torch
from langchain_text_splitters import RecursiveCharacterTextSplitter
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "retrieval"
FLOP_PER_TOKEN = 22.6e6


def cpu_name():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def chunks_of(corpus, count):
    csv.field_size_limit(1 << 30)
    splitter = RecursiveCharacterTextSplitter(chunk_size=500, chunk_overlap=50)
    with open(DATA / corpus / "corpus.csv", newline="", encoding="utf-8") as file:
        chunks = [chunk for row in csv.DictReader(file) for chunk in splitter.split_text(row["text"] or "")]
    return chunks[::max(1, len(chunks) // count)][:count]


def jsonl(texts):
    return "".join(json.dumps(text) + "\n" for text in texts).encode()


def ours(args, texts, precision):
    out = subprocess.run([args.px_bin / "tool_embed_encode", args.model, "--precision", precision, "--measure"], input=jsonl(texts),
                         stdout=subprocess.PIPE, check=True).stdout
    return json.loads(out)


class Mean(torch.nn.Module):
    """Token states to unit vectors, inside the graph, as sentence-transformers does after it."""

    def __init__(self, transformer):
        super().__init__()
        self.transformer = transformer

    def forward(self, input_ids, attention_mask, token_type_ids):
        states = self.transformer(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(states.dtype)
        return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1)


def openvino_run(model, texts, precision, batch=32):
    """Seconds of CPU and vectors; batches of texts of like length, as sentence-transformers makes them."""
    transformer = model[0].auto_model if hasattr(model[0], "auto_model") else model[0].model
    example = {name: torch.ones(2, 8, dtype=torch.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
    converted = openvino.convert_model(Mean(transformer.eval()), example_input=example)
    compiled = openvino.Core().compile_model(
        converted, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": 1})
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    vectors = np.zeros((len(texts), 384), dtype=np.float32)
    names = ["input_ids", "attention_mask", "token_type_ids"]
    inputs = [port.get_any_name() for port in compiled.inputs]

    def run():
        for start in range(0, len(order), batch):
            some = order[start:start + batch]
            encoded = model.tokenizer([texts[i] for i in some], padding=True, truncation=True, max_length=model.max_seq_length,
                                      return_token_type_ids=True, return_tensors="np")
            given = [encoded[name] if name in encoded else encoded[names[k]] for k, name in enumerate(inputs)]
            vectors[some] = compiled(given)[0]

    run()
    start = time.process_time()
    run()
    return time.process_time() - start, vectors


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--model", type=pathlib.Path)
    parser.add_argument("--corpus", default="demo_fed")
    parser.add_argument("--chunks", type=int, default=400)
    args = parser.parse_args()
    args.model = args.model or (args.px_bin / "../share/px/models/all-MiniLM-L6-v2").resolve()
    texts = chunks_of(args.corpus, args.chunks)
    torch.set_num_threads(1)

    model = SentenceTransformer(str(args.model), device="cpu")
    model.encode(texts[:8])
    start = time.process_time()
    reference = model.encode(texts, normalize_embeddings=True, show_progress_bar=False, batch_size=32)
    seconds = {"sentence-transformers fp32": time.process_time() - start}
    cosine = {}
    for hint in ("f32", "bf16"):
        seconds[f"OpenVINO {hint}"], vectors = openvino_run(model, texts, hint)
        cosine[f"OpenVINO {hint}"] = (vectors * reference).sum(1).min()

    rows, peak = [], 0.0
    for precision in ("fp32", "bf16", "int8"):
        measured = ours(args, texts, precision)
        tokens, peak = measured["tokens"], max(peak, measured["peak_gflops"])
        rows.append((f"px {precision} ({measured['kernel']})", measured["cpu_seconds"], measured["load_seconds"]))
    print(f"workload: {len(texts)} chunks of {args.corpus}, {tokens} tokens; unit: tokens a CPU second, one thread; machine: {cpu_name()}, "
          f"register-only f32 peak {peak:.0f} GFLOPS")
    for name, spent, load in rows + [(name, spent, None) for name, spent in seconds.items()]:
        rate = tokens / spent
        extra = f"  loaded in {load * 1000:.0f} ms" if load is not None else f"  cosine {cosine[name]:.5f}" if name in cosine else ""
        print(f"{name:30} {rate:10,.0f} tokens/s {rate * FLOP_PER_TOKEN / peak / 1e9:7.1%} of peak{extra}")

    rounds = 20
    out = subprocess.run([args.px_bin / "tool_embed_tokenize", args.model, "--measure", str(rounds)], input=jsonl(texts),
                         stdout=subprocess.PIPE, check=True).stdout
    alone = json.loads(out)
    peer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    peer.no_truncation()
    peer.no_padding()
    start = time.process_time()
    for text in texts:
        peer.encode(text)
    spent = time.process_time() - start
    print(f"{'tokenizer px':30} {alone['bytes'] * rounds / alone['cpu_seconds'] / 1e6:10.1f} MB/s")
    print(f"{'tokenizer PyPI tokenizers':30} {alone['bytes'] / spent / 1e6:10.1f} MB/s")


if __name__ == "__main__":
    main()

"""Chunks a second beside langchain-text-splitters: same texts, same options, CPU seconds of one thread, one run.

    python bench/chunk.py --px-bin build/release/bin [--rounds 20]
"""
import argparse
import csv
import json
import pathlib
import platform
import subprocess
import tempfile
import time

from langchain_text_splitters import RecursiveCharacterTextSplitter

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "retrieval"


def cpu_name():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    csv.field_size_limit(1 << 30)
    print(f"workload: size 500, overlap 50, default separators; unit: CPU seconds of one thread; machine: {cpu_name()}")
    print(f"{'corpus':16} {'':10} {'chunks':>8} {'chunks/s':>12} {'MB/s':>9}")
    for path in sorted(DATA.glob("*/corpus.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            texts = [row["text"] or "" for row in csv.DictReader(file)]
        with tempfile.TemporaryFile() as given:
            for text in texts:
                given.write(json.dumps(dict(text=text)).encode() + b"\n")
            given.seek(0)
            answer = subprocess.run([args.px_bin / "tool_chunk_split", "--measure", str(args.rounds)], stdin=given,
                                    stdout=subprocess.PIPE, check=True).stdout
        ours = json.loads(answer)
        splitter = RecursiveCharacterTextSplitter(chunk_size=500, chunk_overlap=50)
        start = time.process_time()
        theirs = sum(len(splitter.split_text(text)) for text in texts)
        seconds = time.process_time() - start
        if theirs != ours["chunks"]:
            raise SystemExit(f"{path.parent.name}: {ours['chunks']} chunks, langchain {theirs}")
        our_seconds = ours["cpu_seconds"] / ours["rounds"]
        for name, spent in (("px", our_seconds), ("langchain", seconds)):
            print(f"{path.parent.name:16} {name:10} {theirs:8} {theirs / spent:12,.0f} {ours['bytes'] / spent / 1e6:9.1f}")
        print(f"{path.parent.name:16} ratio {seconds / our_seconds:.1f}x")


if __name__ == "__main__":
    main()

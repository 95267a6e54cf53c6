"""POST /search over HTTP: p50 and p99 with one client, requests a second with sixteen; beside a Python search in process.

    python bench/search_http.py --px-bin build/release/bin [--queries 300] [--clients 16] [--small-chunks] [--no-peer]

Hybrid search with top_k 10 over demo_fed; --small-chunks: in pieces of 110 characters, which makes about 100,000 of them. Server and clients share the machine. The peer answers without HTTP and without
the lexical half: sentence-transformers encodes the question, NumPy scans as many vectors as px has chunks.
"""
import argparse
import http.client
import json
import pathlib
import resource
import statistics
import sys
import threading
import time
import urllib.parse

from end_to_end import MODEL, fed_folder
from measure import BENCH, ROOT, SHARED, Served, run, table

QUERIES = SHARED / "retrieval" / "demo_fed" / "queries.jsonl"


def questions(count):
    """As many different questions as asked for; the given ones first."""
    texts = [json.loads(line)["text"] for line in QUERIES.read_text(encoding="utf-8").splitlines() if line]
    endings = ["", " and inflation", " and employment", " and the outlook", " and financial stability"]
    return [texts[i % len(texts)] + endings[i // len(texts) % len(endings)] for i in range(count)]


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def peer(count, chunk_count):
    """Runs in the environment that has torch."""
    import numpy
    from sentence_transformers import SentenceTransformer
    model = SentenceTransformer(str(MODEL), device="cpu")
    vectors = numpy.random.default_rng(1).standard_normal((chunk_count, 384), dtype=numpy.float32)
    texts = questions(count)
    times = []
    before = resource.getrusage(resource.RUSAGE_SELF)
    for i, text in enumerate(texts[:20] + texts):
        started = time.perf_counter()
        scores = vectors @ model.encode(text, normalize_embeddings=True, show_progress_bar=False)
        best = numpy.argpartition(scores, -10)[-10:]
        best[numpy.argsort(-scores[best])].tolist()
        if i >= 20:
            times.append((time.perf_counter() - started) * 1000)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"p50": percentile(times, 0.5), "p99": percentile(times, 0.99),
                      "rate": 1000 / statistics.mean(times), "cpu_ms": cpu_s * 1000 / (len(texts) + 20)}))


class Client:
    def __init__(self, url):
        where = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)

    def ask(self, question):
        """Milliseconds of one search; anything but ten passages ends the benchmark."""
        body = json.dumps({"question": question, "top_k": 10})
        started = time.perf_counter()
        self.connection.request("POST", "/search", body, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        answer = response.read()
        took = (time.perf_counter() - started) * 1000
        if response.status != 200 or json.loads(answer)["count"] != 10:
            raise SystemExit(f"POST /search gave {response.status}: {answer[:300]!r}")
        return took


def main():
    if sys.argv[1:2] == ["--peer"]:
        peer(int(sys.argv[2]), int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--small-chunks", action="store_true")
    parser.add_argument("--no-peer", action="store_true")
    args = parser.parse_args()
    px = (args.px_bin / "px").resolve()
    BENCH.mkdir(parents=True, exist_ok=True)
    folder = BENCH / ("fed-small-chunks" if args.small_chunks else "fed")
    if not (folder / "catalog.db").exists():
        folder = fed_folder(folder.name)
        if args.small_chunks:
            pipeline = (folder / "pipeline.yaml").read_text(encoding="utf-8")
            smaller = pipeline.replace("{size: 500, overlap: 50,", "{size: 110, overlap: 20,").replace("precision: bf16", "precision: int8")
            if smaller.count("size: 110") != 1 or smaller.count("precision: int8") != 1:
                raise SystemExit("examples/fed/pipeline.yaml does not say its chunking as this benchmark expects it")
            (folder / "pipeline.yaml").write_text(smaller, encoding="utf-8")
    # Makes the release, or an index of this px where an older one left it.
    run([px, "--quiet", "run", "--ds", "2026-01-01"], cwd=folder, expect=(0, 99))
    chunk_count = json.loads(run([px, "--json", "releases", "--limit", "1"], cwd=folder).output)[0]["chunks"]
    texts = questions(args.queries)
    rows = []
    with Served(px, folder) as served:
        one = Client(served.url)
        for text in texts[:20]:
            one.ask(text)
        cpu = served.cpu_s()
        started = time.perf_counter()
        times = [one.ask(text) for text in texts]
        wall = time.perf_counter() - started
        rows.append(["px, 1 client", f"{percentile(times, 0.5):.2f}", f"{percentile(times, 0.99):.2f}",
                     f"{len(times) / wall:.0f}", f"{(served.cpu_s() - cpu) * 1000 / len(times):.2f}",
                     f"{served.rss_bytes() / 1e6:.0f}"])

        gathered, failures = [], []

        def client(number):
            try:
                mine = Client(served.url)
                gathered.extend([mine.ask(text) for text in texts[number::args.clients] * 4])
            except (SystemExit, OSError, http.client.HTTPException) as error:
                failures.append(error)

        cpu = served.cpu_s()
        threads = [threading.Thread(target=client, args=(number,)) for number in range(args.clients)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall = time.perf_counter() - started
        if failures:
            raise SystemExit(f"{len(failures)} of {args.clients} clients failed, the first by: {failures[0]}")
        rows.append([f"px, {args.clients} clients", f"{percentile(gathered, 0.5):.2f}", f"{percentile(gathered, 0.99):.2f}",
                     f"{len(gathered) / wall:.0f}", f"{(served.cpu_s() - cpu) * 1000 / len(gathered):.2f}",
                     f"{served.rss_bytes() / 1e6:.0f}"])
    if not args.no_peer:
        done = run([ROOT / "build" / "venv-reference" / "bin" / "python", __file__, "--peer", args.queries, chunk_count],
                   environment={"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
        found = json.loads(done.output.splitlines()[-1])
        rows.append(["Python in process, 1 caller", f"{found['p50']:.2f}", f"{found['p99']:.2f}", f"{found['rate']:.0f}",
                     f"{found['cpu_ms']:.2f}", f"{done.rss_bytes / 1e6:.0f}"])
    table(f"Search: demo_fed, {chunk_count:,} chunks, {args.queries} different questions, top_k 10",
          ["program", "p50 ms", "p99 ms", "requests/s", "CPU ms each", "peak MB"], rows)


if __name__ == "__main__":
    main()

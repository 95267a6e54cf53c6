"""Dense search beside hnswlib, faiss, usearch and qdrant-edge: build, open, memory, disk, recall@10, queries a second, filters.

    python bench/vector_index.py --px-bin build/release/bin [--points 20000,100000] [--questions 1000] [--engines px,hnswlib] [--vectors FILE.f32]

Real embeddings of 384 dimensions (vectors.py), questions that are questions. Every engine runs in a process of its own and is asked the same
questions, a batch at once where it takes one, on one and two threads; the best of three rounds (the CPU time each is that of one thread). Recall is against the exact search. Memory is what the
process that searches has grown by (index in memory, pages of mapped files that were touched). All are built on two threads, M 16,
ef_construction 200 where they have these. "1 %" and the like: so many of the points are admitted by a filter.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from measure import BENCH, ROOT, table
from vectors import WIDTH, vectors_file

TOP_K = 10
ROUNDS = 3
SHARES = (50, 10, 1, 0.1)  # percent, of points whose number times 7919 modulo 1000 is below ten times that
EFS = (64, 96, 128, 200, 300, 400)
PEERS = ("hnswlib", "faiss", "usearch", "qdrant-edge")


def resident_bytes():
    for line in open("/proc/self/status", encoding="utf-8"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


class Hnswlib:
    """Builds and saves; a search loads the file. filtered(percent): how to search with a filter; None where there is no fair way."""

    def build(self, data, folder):
        import hnswlib
        index = hnswlib.Index(space="ip", dim=WIDTH)
        index.init_index(max_elements=len(data), M=16, ef_construction=200, random_seed=1)
        index.add_items(data, num_threads=2)
        index.save_index(str(folder / "index"))

    def load(self, folder):
        import hnswlib
        self.index = hnswlib.Index(space="ip", dim=WIDTH)
        self.index.load_index(str(folder / "index"))

    def search(self, queries, ef, threads, share):
        self.index.set_ef(ef)
        return self.index.knn_query(queries, k=TOP_K, num_threads=threads)[0]

    filters = ()


class Faiss:
    def build(self, data, folder):
        import faiss
        faiss.omp_set_num_threads(2)
        index = faiss.IndexHNSWFlat(WIDTH, 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 200
        index.add(data)
        faiss.write_index(index, str(folder / "index"))

    def load(self, folder):
        import faiss
        self.index = faiss.read_index(str(folder / "index"))

    def search(self, queries, ef, threads, share):
        import faiss
        import numpy
        faiss.omp_set_num_threads(threads)
        parameters = faiss.SearchParametersHNSW(efSearch=ef)
        if share is not None:
            allowed = numpy.arange(self.index.ntotal) * 7919 % 1000 < share * 10
            self.selector = faiss.IDSelectorBitmap(numpy.packbits(allowed, bitorder="little"))
            parameters.sel = self.selector
        return self.index.search(queries, TOP_K, params=parameters)[1]

    filters = SHARES


class Usearch:
    dtype = "bf16"

    def build(self, data, folder):
        import numpy
        from usearch.index import Index
        index = Index(ndim=WIDTH, metric="ip", dtype=self.dtype, connectivity=16, expansion_add=200)
        index.add(numpy.arange(len(data)), data, threads=2)
        index.save(str(folder / "index"))

    def load(self, folder):
        from usearch.index import Index
        self.index = Index.restore(str(folder / "index"))

    def search(self, queries, ef, threads, share):
        self.index.expansion_search = ef
        return self.index.search(queries, TOP_K, threads=threads).keys

    filters = ()


class QdrantEdge:
    """Its vectors quantised to int8 and scored again, as ours."""

    def build(self, data, folder):
        import qdrant_edge as q
        config = q.EdgeConfig(vectors=q.EdgeVectorParams(
            size=WIDTH, distance=q.Distance.Dot, hnsw_config=q.HnswIndexConfig(16, 200, 1000),
            quantization_config=q.ScalarQuantizationConfig(q.ScalarType.Int8)),
            optimizers=q.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1000))
        shard = q.EdgeShard.create(str(folder), config)
        for begin in range(0, len(data), 1000):
            shard.update(q.UpdateOperation.upsert_points(
                [q.Point(i, data[i].tolist(), {"day": i * 7919 % 1000}) for i in range(begin, min(len(data), begin + 1000))]))
        shard.update(q.UpdateOperation.create_field_index("day", q.PayloadSchemaType.Integer))
        while shard.optimize():
            pass
        shard.flush()
        shard.close()

    def load(self, folder):
        import qdrant_edge as q
        self.shard = q.EdgeShard.load(str(folder))

    def search(self, queries, ef, threads, share):
        import qdrant_edge as q
        if threads > 1:
            return None
        admitted = None if share is None else q.Filter(must=[q.FieldCondition("day", range=q.RangeFloat(lt=share * 10))])
        parameters = q.SearchParams(hnsw_ef=ef)
        return [[hit.id for hit in self.shard.search(q.SearchRequest(q.Query.Nearest(query.tolist()), TOP_K, filter=admitted,
                                                                     params=parameters))] for query in queries]

    filters = SHARES


ENGINES = {"hnswlib": (Hnswlib, "hnswlib f32"), "faiss": (Faiss, "faiss HNSW f32"), "usearch": (Usearch, "usearch bf16"),
           "qdrant-edge": (QdrantEdge, "qdrant-edge int8")}


def exact(data, queries, share):
    """The numbers of the ten nearest, of those a filter admits."""
    import numpy
    numbers = numpy.arange(len(data))
    if share is not None:
        numbers = numbers[numbers * 7919 % 1000 < share * 10]
        data = data[numbers]
    found = []
    for begin in range(0, len(queries), 100):
        found.append(numbers[numpy.argsort(-(queries[begin:begin + 100] @ data.T), axis=1, kind="stable")[:, :TOP_K]])
    return numpy.concatenate(found)


def peer_build(name, path, question_count, folder):
    import numpy
    rows = numpy.fromfile(path, dtype=numpy.float32).reshape(-1, WIDTH)
    started = time.perf_counter()
    ENGINES[name][0]().build(rows[:-question_count], folder)
    print(json.dumps({"build_s": time.perf_counter() - started}))


def peer_search(name, path, question_count, folder):
    import numpy
    __import__({"faiss": "faiss", "hnswlib": "hnswlib", "usearch": "usearch.index", "qdrant-edge": "qdrant_edge"}[name])
    queries = numpy.fromfile(path, dtype=numpy.float32, offset=path.stat().st_size - question_count * WIDTH * 4).reshape(-1, WIDTH)
    engine = ENGINES[name][0]()
    held, started = resident_bytes(), time.perf_counter()
    engine.load(folder)
    report = {"open_ms": (time.perf_counter() - started) * 1000, "searches": []}
    found = {}
    for share, ef in [(None, ef) for ef in EFS] + [(share, 128) for share in engine.filters]:
        row = {"percent": share or 100, "ef": ef}
        for threads in (1, 2):
            best = cpu = None
            for _ in range(ROUNDS):
                started, cpu_started = time.perf_counter(), time.process_time()
                answer = engine.search(queries, ef, threads, share)
                took = time.perf_counter() - started
                spent = time.process_time() - cpu_started
                best = took if best is None else min(best, took)
                cpu = spent if cpu is None else min(cpu, spent)
            if threads == 1:
                row["cpu_us"] = cpu * 1e6 / len(queries)
            row[f"qps_{threads}"] = None if answer is None else len(queries) / best
            if answer is not None:
                found[share, ef] = answer
        report["searches"].append(row)
    report["grown_bytes"] = resident_bytes() - held
    data = numpy.fromfile(path, dtype=numpy.float32).reshape(-1, WIDTH)[:-question_count]
    wanted = {share: exact(data, queries, share) for share in {share for share, _ in found}}
    for row, (share, ef) in zip(report["searches"], found):
        row["recall"] = sum(len(set(map(int, a)) & set(map(int, b))) for a, b in zip(found[share, ef], wanted[share])) / wanted[share].size
    print(json.dumps(report))


def child(command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, cwd=ROOT / "bench")
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(str(word) for word in command)} gave {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def disk_bytes(folder):
    return sum(file.stat().st_size for file in pathlib.Path(folder).rglob("*") if file.is_file())


def rows_of(name, built, searched, disk):
    rows = []
    for search in searched["searches"]:
        share = search["percent"]
        label = name + (f", ef {search['ef']}" if "ef" in search else "") + ("" if share == 100 else f", {share:g} % admitted")
        first = not rows
        rows.append([label, f"{built['build_s']:.1f}" if first else "", f"{searched['open_ms']:.0f}" if first else "",
                     f"{search['recall']:.4f}", f"{search['cpu_us']:.0f}", f"{search['qps_1']:.0f}", f"{search['qps_2']:.0f}" if search["qps_2"] else "",
                     f"{searched['grown_bytes'] / 1e6:.0f}" if first else "", f"{disk / 1e6:.0f}" if first else ""])
    return rows


def main():
    if sys.argv[1:2] == ["--peer"]:
        action = {"build": peer_build, "search": peer_search}[sys.argv[2]]
        action(sys.argv[3], pathlib.Path(sys.argv[4]), int(sys.argv[5]), pathlib.Path(sys.argv[6]))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--points", default="20000,100000")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--engines", default="px," + ",".join(PEERS))
    parser.add_argument("--vectors", type=pathlib.Path, help="rows of 384 f32, questions last, instead of our own")
    args = parser.parse_args()
    engines = args.engines.split(",")
    for name in engines:
        if name not in ("px", *PEERS):
            parser.error(f"there is no engine '{name}'; engines: px, {', '.join(PEERS)}")
    python = ROOT / "build" / "venv-bench" / "bin" / "python"
    tool = args.px_bin.resolve() / "tool_index_bench"
    BENCH.mkdir(parents=True, exist_ok=True)
    for points in [int(text) for text in args.points.split(",")]:
        path = (args.vectors or vectors_file(args.px_bin.resolve(), points, args.questions)).resolve()
        points = path.stat().st_size // (4 * WIDTH) - args.questions
        rows = []
        for name in engines:
            with tempfile.TemporaryDirectory(dir=BENCH) as folder:
                if name == "px":
                    built = child([tool, "build", folder, path, WIDTH, args.questions])
                    searched = child([tool, "search", folder, path, WIDTH, args.questions, built["manifest"]])
                    rows += rows_of("px", built, searched, disk_bytes(folder))
                else:
                    built = child([python, pathlib.Path(__file__).resolve(), "--peer", "build", name, path, args.questions, folder])
                    searched = child([python, pathlib.Path(__file__).resolve(), "--peer", "search", name, path, args.questions, folder])
                    rows += rows_of(ENGINES[name][1], built, searched, disk_bytes(folder))
        table(f"Dense search: {points:,} vectors of {WIDTH}, {args.questions} questions, top {TOP_K}",
              ["index", "build s", "open ms", "recall@10", "CPU us each", "QPS, 1 thread", "QPS, 2 threads", "MB in memory", "MB on disk"], rows)


if __name__ == "__main__":
    main()

"""Dense search beside other libraries: build time, recall@10, queries a second; filters for px.

    python bench/vector_index.py --px-bin build/release/bin --vectors FILE.f32 [--queries 1000] [--python VENV/bin/python]

FILE.f32: rows of 384 floats of unit length (tool_embed_encode writes such a file); the last rows are the questions. The peers are measured
by another Python (--peer-run) that has numpy, hnswlib, usearch or faiss; one that is missing is left out of the table by name.
"""
import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

WIDTH = 384


def peer_run(path, query_count):
    import numpy
    rows = numpy.fromfile(path, dtype=numpy.float32).reshape(-1, WIDTH)
    data, queries = rows[:-query_count], rows[-query_count:]
    exact = numpy.argsort(-(queries @ data.T), axis=1)[:, :10]
    recall = lambda found: sum(len(set(a) & set(b)) for a, b in zip(found, exact)) / exact.size

    def measured(name, build, search, settings):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        index = build()
        built = time.perf_counter() - started
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        for setting in settings:
            started = time.perf_counter()
            found = [search(index, query, setting) for query in queries]
            took = time.perf_counter() - started
            print(json.dumps({"name": f"{name}, ef {setting}", "build_s": round(built, 1), "recall": round(recall(found), 4),
                              "qps_1": round(len(queries) / took), "grown_mb": memory // 1024}), flush=True)

    def hnswlib_index():
        import hnswlib
        index = hnswlib.Index(space="ip", dim=WIDTH)
        index.init_index(max_elements=len(data), M=16, ef_construction=200)
        index.add_items(data)
        index.set_num_threads(1)
        return index

    def hnswlib_search(index, query, ef):
        index.set_ef(ef)
        return index.knn_query(query, k=10)[0][0].tolist()

    def faiss_index():
        import faiss
        index = faiss.IndexHNSWFlat(WIDTH, 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 200
        index.add(data)
        faiss.omp_set_num_threads(1)
        return index

    def faiss_search(index, query, ef):
        index.hnsw.efSearch = ef
        return index.search(query[None], 10)[1][0].tolist()

    def usearch_index():
        from usearch.index import Index
        index = Index(ndim=WIDTH, metric="ip", dtype="bf16", connectivity=16, expansion_add=200)
        index.add(numpy.arange(len(data)), data)
        return index

    def usearch_search(index, query, ef):
        index.expansion_search = ef
        return index.search(query, 10).keys.tolist()

    for name, build, search in (("hnswlib f32", hnswlib_index, hnswlib_search), ("faiss HNSW f32", faiss_index, faiss_search),
                                ("usearch bf16", usearch_index, usearch_search)):
        try:
            measured(name, build, search, (64, 128, 200))
        except ImportError as missing:
            print(json.dumps({"name": name, "missing": str(missing)}), flush=True)


def main():
    if sys.argv[1:2] == ["--peer-run"]:
        peer_run(sys.argv[2], int(sys.argv[3]))
        return
    from measure import table
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    parser.add_argument("--vectors", required=True, type=pathlib.Path)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--python", default=sys.executable)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        own = json.loads(subprocess.run([args.px_bin / "tool_index_bench", folder, args.vectors, str(WIDTH), str(args.queries)],
                                        check=True, capture_output=True, text=True).stdout)
        disk = sum(file.stat().st_size for file in pathlib.Path(folder).rglob("*.pxseg"))
        for search in own["searches"]:
            rows.append([f"px, {search['percent']:g} % allowed", f"{own['build_s']:.1f}", f"{search['recall']:.4f}",
                         f"{search['qps_1']:.0f}", f"{search['qps_2']:.0f}", f"{disk / 1e6:.0f} disk"])
    peers = subprocess.run([args.python, __file__, "--peer-run", args.vectors, str(args.queries)], check=True,
                           capture_output=True, text=True).stdout
    for line in peers.splitlines():
        found = json.loads(line)
        if "missing" in found:
            rows.append([found["name"], "not installed", "", "", "", ""])
            continue
        rows.append([found["name"], f"{found['build_s']:.1f}", f"{found['recall']:.4f}", f"{found['qps_1']}", "",
                     f"{found['grown_mb']} grown"])
    table(f"Dense search: {own['points']:,} vectors of {WIDTH}, {args.queries} questions, top 10",
          ["index", "build s", "recall@10", "QPS, 1 thread", "QPS, 2 threads", "MB"], rows)


if __name__ == "__main__":
    main()

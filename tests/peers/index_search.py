"""The embedded index beside NumPy: the same dense hits as a scan in float64, the same BM25 scores as a few lines of Python, through
filters, removals and merges.

    python tests/peers/index_search.py --px-bin build/dev/bin
"""

import argparse
import hashlib
import json
import math
import subprocess
import sys
import tempfile
from collections import Counter

import numpy as np

WIDTH = 384
WORDS = """inflation growth market labor policy rate bank credit outlook risk energy price housing economy demand supply wages trade
forecasting committees decided gradually restrictive balance sheets reserves liquidity treasury households spending""".split()


class Index:
    def __init__(self, program, folder):
        self.process = subprocess.Popen([program, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("tool_index_search ended early: see its message above")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def make_points(random, count, first):
    centres = random.normal(size=(25, WIDTH))
    points = []
    for i in range(first, first + count):
        vector = centres[random.integers(25)] + 0.6 * random.normal(size=WIDTH)
        vector = (vector / np.linalg.norm(vector)).astype(np.float32)
        text = " ".join(WORDS[int(len(WORDS) * random.random() ** 2)] for _ in range(random.integers(5, 60)))
        points.append({
            "id": hashlib.sha256(f"{i}".encode()).hexdigest()[:32], "document_id": f"reports/{i // 5}",
            "source": "reports" if i % 3 else "filings", "title": f"Report {i // 5} on {WORDS[i % 7]}",
            "author": ["", "Ada Verne", "Bo Lind", "Cleo Marsh"][i % 4], "category": "Finance" if i % 2 else "Energy",
            "created_at": None if i % 6 == 0 else 1_700_000_000_000_000 + i * 86_400_000_000,
            "text": text, "start": 0, "end": len(text), "vector": [float(x) for x in vector]})
    return points


def passes(point, wanted):
    for field, name in (("authors", "author"), ("categories", "category"), ("sources", "source")):
        if wanted.get(field) and point[name].lower() not in [value.lower() for value in wanted[field]]:
            return False
    created = point["created_at"]
    if "from" in wanted and (created is None or created < wanted["from"]):
        return False
    if "to" in wanted and (created is None or created >= wanted["to"]):
        return False
    return True


def compare(what, hits, expected, tolerance):
    """expected: {id: score}. Equal scores at every place; ids equal but for near-ties."""
    order = sorted(expected.items(), key=lambda item: (-item[1], item[0]))[:len(hits)]
    if len(hits) != len(order):
        sys.exit(f"{what}: {len(hits)} hits instead of {len(order)}")
    for place, ((ident, score), (_, best)) in enumerate(zip(hits, order)):
        if abs(score - best) > tolerance or abs(expected.get(ident, -9) - score) > tolerance:
            sys.exit(f"{what}: place {place} is {ident} with {score}; expected score {best}, its own is {expected.get(ident)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--px-bin", required=True)
    parser.add_argument("--seed", type=int, default=20261123)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    print(f"seed {options.seed}")
    filters = [{}, {"authors": ["ada verne", "BO LIND"]}, {"categories": ["Energy"], "sources": ["filings"]},
               {"from": 1_700_000_000_000_000 + 300 * 86_400_000_000}, {"authors": ["Cleo Marsh"], "to": 1_700_000_000_000_000 + 90 * 86_400_000_000}]
    checked = 0
    with tempfile.TemporaryDirectory() as folder:
        index = Index(f"{options.px_bin}/tool_index_search", folder)
        alive = {}
        terms = {}
        for step in range(5):
            added = make_points(random, 300, step * 300)
            removed = [ident for ident in alive if random.random() < 0.15]
            for ident in removed:
                del alive[ident]
            for point in added:
                alive[point["id"]] = point
                words = [index(op="terms", text=point[field])["terms"] for field in ("title", "author", "text")]
                terms[point["id"]] = Counter(sum(words, []))
            state = index(op="apply", removed=removed, added=added)
            if state["points"] != len(alive):
                sys.exit(f"step {step}: {state['points']} points instead of {len(alive)}")
            idents = list(alive)
            matrix = np.array([alive[ident]["vector"] for ident in idents], dtype=np.float64)
            lengths = {ident: sum(terms[ident].values()) for ident in idents}
            mean = sum(lengths.values()) / len(lengths)
            having = Counter(term for ident in idents for term in terms[ident])
            for _ in range(6):
                query = matrix[random.integers(len(idents))] + 0.04 * random.normal(size=WIDTH)
                query = (query / np.linalg.norm(query)).astype(np.float32)
                scores = matrix @ query.astype(np.float64)
                text = " ".join(WORDS[random.integers(len(WORDS))] for _ in range(random.integers(1, 6)))
                asked = index(op="terms", text=text)["terms"]
                for wanted in filters:
                    allowed = [i for i, ident in enumerate(idents) if passes(alive[ident], wanted)]
                    hits = index(op="dense", vector=[float(x) for x in query], k=20, filter=wanted)["hits"]
                    if len(hits) != min(20, len(allowed)):
                        sys.exit(f"dense, filter {wanted}: {len(hits)} hits of {len(allowed)} allowed points")
                    compare(f"dense, filter {wanted}", hits, {idents[i]: scores[i] for i in allowed}, 2e-6)
                    expected = {}
                    for i in allowed:
                        ident = idents[i]
                        score = 0.0
                        for term in asked:
                            tf = terms[ident][term]
                            if tf:
                                df = having[term]
                                idf = math.log(1 + (len(idents) - df + 0.5) / (df + 0.5))
                                score += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * lengths[ident] / mean))
                        if score > 0:
                            expected[ident] = score
                    hits = index(op="lexical", text=text, k=20, filter=wanted)["hits"]
                    if len(hits) != min(20, len(expected)):
                        sys.exit(f"lexical {text!r}, filter {wanted}: {len(hits)} hits of {len(expected)} points with a term")
                    compare(f"lexical {text!r}, filter {wanted}", hits, expected, 1e-4)
                    checked += 2
        if index.close() != 0:
            sys.exit("tool_index_search failed")
    print(f"ok: {checked} searches equal to NumPy and Python")


if __name__ == "__main__":
    main()

"""The Qdrant test server answers as the real one did: every request of transcripts.jsonl is sent to it, and its answer compared."""

import http.client
import json
import math
import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/e2e/lib"))
from qdrant import Qdrant  # noqa: E402

SUITE = TOP.parent / "shared/data/suites/qdrant"
# Of the moment, or of optimizers that run by themselves.
VOLATILE = {"time", "checksum", "creation_time", "indexed_vectors_count", "segments_count"}
# The vectors of the transcripts are float16, whose products processors round differently.
SCORE_TOLERANCE = 1e-3


def equal(mine, theirs, path=""):
    if isinstance(theirs, dict) and isinstance(mine, dict):
        names = (set(mine) | set(theirs)) - VOLATILE
        if "/snapshot" in path:
            names -= {"name", "size"}
        return next((wrong for name in sorted(names) if (wrong := equal(mine.get(name), theirs.get(name), f"{path}/{name}"))), None)
    if isinstance(theirs, list) and isinstance(mine, list) and len(mine) == len(theirs):
        return next((wrong for i, pair in enumerate(zip(mine, theirs)) if (wrong := equal(*pair, f"{path}/{i}"))), None)
    if isinstance(theirs, float) and isinstance(mine, (int, float)):
        return None if math.isclose(mine, theirs, rel_tol=SCORE_TOLERANCE if path.endswith("score") else 1e-6) else f"{path}: {mine} instead of {theirs}"
    return None if mine == theirs else f"{path}: {mine!r} instead of {theirs!r}"


def without_ties(answer):
    """All points of the sparse half of the fused query have one score, so which come first there, and with that which win, is nobody's promise: what
    stays is how many there are, that the filter admits them, what each carries, and that the scores descend."""
    points = answer["result"]["points"]
    scores = [point["score"] for point in points]
    admitted = [point["payload"]["author"] in ("A0", "A1") and point["payload"]["published_at"] >= "2024-02" for point in points]
    return len(points), all(admitted), [sorted(point["payload"]) for point in points], scores == sorted(scores, reverse=True)


def main():
    lines = [json.loads(line) for line in (SUITE / "transcripts.jsonl").read_text().splitlines()]
    failed = 0
    with Qdrant(api_key="right") as server:
        for entry in lines:
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            body = entry["request"]
            data = None if body is None else body if isinstance(body, str) else json.dumps(body)
            key = "wrong" if entry["note"] == "wrong key" else "right"
            headers = {"content-type": "application/json", **({"api-key": key} if entry["api_key"] else {})}
            connection.request(entry["method"], entry["path"], data, headers)
            reply = connection.getresponse()
            text = reply.read().decode()
            content = reply.headers.get("content-type")
            mine = json.loads(text) if content == "application/json" else text
            theirs = entry["response"]
            if "rrf" in entry["note"]:
                mine, theirs = without_ties(mine), without_ties(theirs)
            wrong = equal([reply.status, content, mine], [entry["status"], entry["content_type"], theirs], "/snapshot" if "snapshot" in entry["path"] else "")
            name = entry["note"].replace(" ", "-").replace("(", "").replace(")", "").replace(",", "")
            print(f"{'FAIL' if wrong else 'ok  '} {name} {wrong or ''}")
            failed += bool(wrong)
    print(f"{len(lines)} requests, {failed} answered otherwise")
    return failed or len(lines) < 45


if __name__ == "__main__":
    sys.exit(1 if main() else 0)

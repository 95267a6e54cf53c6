"""Real speeches (shared/data/retrieval/demo_fed) on local stores, on Azure Storage with PostgreSQL, and with the index in Qdrant besides: equal
rows, chunks and rankings.
The model is the first layer alone of the one px comes with: stores do not care, and it encodes five times as fast."""

import contextlib
import hashlib
import http.client
import json
import pathlib
import select
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import SHARED, TOP, Home, check  # noqa: E402
from qdrant import Qdrant  # noqa: E402
from remote import remote, with_servers  # noqa: E402

FED = SHARED / "retrieval" / "demo_fed"
CORPUS = {"FED_CORPUS": str(FED / "corpus.csv")}
QUESTIONS = 100


def small_model(px, folder):
    """The model beside px, cut to one layer."""
    whole = px.resolve().parent.parent / "share/px/models/all-MiniLM-L6-v2"
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("model.safetensors", "README.md"))
    config = json.loads((whole / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    (folder / "model.safetensors").symlink_to(whole / "model.safetensors")


@contextlib.contextmanager
def served(home):
    """A function that asks px serve for the chunks of a question."""
    process = subprocess.Popen([home.px, "--json", "serve", "--port", "0"], cwd=home.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        check(select.select([process.stdout], [], [], 60)[0], "px serve does not come up")
        port = int(json.loads(process.stdout.readline())["url"].rsplit(":", 1)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

        def ask(question):
            connection.request("POST", "/v1/search", json.dumps({"question": question, "top_k": 10}), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            text = reply.read()
            check(reply.status == 200, text)
            return [result["chunk_id"] for result in json.loads(text)["results"]]

        yield ask
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()


def told(home):
    """Hashes of every row of every table, what the release counts, and the ten best of each question."""
    rows = {}
    for table in home.json("tables", env=CORPUS):
        columns = ", ".join(f'"{c["name"]}"' for c in table["columns"] if c["name"] != "ingested_at")
        found = home.json("sql", f'SELECT {columns} FROM "{table["name"]}" ORDER BY ALL', "--limit", "1000000", env=CORPUS, timeout=600)["rows"]
        rows[table["name"]] = [hashlib.sha256(json.dumps(row).encode()).hexdigest() for row in found]
    release = home.json("releases", "--limit", "1", env=CORPUS)[0]
    with open(FED / "queries.jsonl", encoding="utf-8") as lines, served(home) as ask:
        best = {text: ask(text) for text in [json.loads(line)["text"] for line in lines][:QUESTIONS]}
    return {"rows": rows, "chunks": release["chunks"], "documents": release["documents"], "manifest": release["index_manifest"], "best": best}


def the_speeches_give_equal_releases_on_remote_stores(px):
    with Qdrant() as qdrant:
        equal_releases(px, qdrant)


def equal_releases(px, qdrant):
    shelf = Home(px)
    small_model(px, shelf.folder / "small")
    seen = []
    for place in ("local", "cloud", "qdrant"):
        home = Home(px, shelf.folder / place)
        home.folder.mkdir()
        text = (TOP / "examples/fed/pipeline.yaml").read_text()
        text = text.replace("all-MiniLM-L6-v2, precision: bf16", "../small, precision: int8")
        home.write("pipeline.yaml", text)
        more = {"PX_VECTORS_URL": f"{qdrant.url}/fed"} if place == "qdrant" else {}
        values = remote(home, place, **more) if place != "local" else {}
        home.write(".env", "".join(f"{key}={value}\n" for key, value in {**values, **CORPUS}.items()))
        report = home.json("run", "--ds", "2026-11-20", timeout=900)
        print(f"      {place}: {report['documents']} documents, {report['chunks']['total']} chunks in {report['elapsed_s']:.0f} s", flush=True)
        check(report["chunks"]["embed"] > 19_000, str(report["chunks"]))
        seen.append(told(home))
        home.run("run", "--ds", "2026-11-20", expect=99)
        for folder in ("lake", "landing", "index"):
            check((home.folder / folder).exists() == (place == "local"), f"{place}: {folder}")
    local = seen[0]
    for place, other in zip(("cloud", "qdrant"), seen[1:]):
        for part, value in local.items():
            if place == "qdrant" and part == "manifest":  # named by the store it is in
                continue
            check(other[part] == value, f"{part} differs in {place}")
    check(len(local["best"]) == QUESTIONS and all(len(best) == 10 for best in local["best"].values()), "a question has fewer than ten passages")
    print(f"      {sum(map(len, local['rows'].values()))} rows of {len(local['rows'])} tables and the ten best of {QUESTIONS} questions are equal")
    shelf.remove()


if __name__ == "__main__":
    with_servers([the_speeches_give_equal_releases_on_remote_stores])

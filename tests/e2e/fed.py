"""Real speeches (shared/data/retrieval/demo_fed) through the same pipeline file shape; 50 answers, every citation verified."""

import json
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import SHARED, TOP, Home, check, main  # noqa: E402

FED = SHARED / "retrieval" / "demo_fed"


def run_again_ask_and_verify(px):
    home = Home(px)
    shutil.copy(TOP / "examples/fed/pipeline.yaml", home.folder)
    corpus = {"FED_CORPUS": str(FED / "corpus.csv")}
    report = home.json("run", "--ds", "2026-11-20", env=corpus, timeout=3000)
    check(report["sources"][0]["accepted"] == 413 and report["documents"] == 413, str(report["sources"]))
    print(f"      {report['chunks']['total']} chunks in {report['elapsed_s']:.0f} s")
    before = home.files()
    again = home.json("run", "--ds", "2026-11-20", env=corpus, expect=99)
    check(again["chunks"]["embed"] == 0, str(again["chunks"]))
    check(home.files() == before, "the second run changed files")
    check(len(home.json("releases", env=corpus)) == 1, "the second run published")

    answer = home.json("ask", "What is the financial outlook?", env=corpus)
    check(answer["grounded"] and len(answer["citations"]) >= 2, answer["answer"])
    check("outlook" in answer["answer"].lower(), answer["answer"])
    for citation in answer["citations"]:
        check(citation["author"] and citation["date"] and citation["source"]["sha256"], json.dumps(citation))

    landed = (home.folder / "landing" / answer["citations"][0]["source"]["landed"]).read_bytes()
    answers, citations = [], 0
    with open(FED / "queries.jsonl", encoding="utf-8") as queries:
        for line in list(queries)[:50]:
            got = home.json("ask", json.loads(line)["text"], env=corpus)
            citations += len(got["citations"])
            for citation in got["citations"]:
                source = citation["source"]
                record = landed[source["byte_start"]:source["byte_end"]].decode()
                check(citation["quote"] in record.replace('""', '"'), f"the cited bytes do not hold the quote {citation['quote']!r}")
            answers.append(json.dumps(got))
    check(citations >= 50, f"only {citations} citations in 50 answers")
    done = home.run("verify", "-", env=corpus, stdin="\n".join(answers) + "\n", expect=0, timeout=900)
    last = done.stdout.strip().splitlines()[-1]
    check(last == f"{citations} of {citations} citations verified", last)
    print(f"      {last}")
    home.remove()


if __name__ == "__main__":
    main([run_again_ask_and_verify])

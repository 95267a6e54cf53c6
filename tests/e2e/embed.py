"""Vectors for other systems: px embed on a pipe, and /v1/embeddings under many clients."""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import Home, check, main, small_home  # noqa: E402

WIDTH = 384
WORDS = "the outlook of site nine is steady while pallets and forklifts wait in the cold store of the north".split()


def texts(count):
    return [" ".join(WORDS[(i * 7 + j * (i % 5 + 1)) % len(WORDS)] for j in range(i % 23 + 1)) + f" {i}" for i in range(count)]


def as_f32(vector):
    return struct.pack(f"<{WIDTH}f", *vector)


def vectors_of(home, lines, *words):
    """What px embed makes of texts, as bytes of floats."""
    given = "".join(json.dumps(line) + "\n" for line in lines)
    return [as_f32(json.loads(line)["vector"]) for line in home.run("embed", *words, stdin=given, expect=0).stdout.splitlines()]


@contextlib.contextmanager
def running(px, *words, folder=None):
    """px embed with pipes on every side, gone afterwards whatever happens."""
    process = subprocess.Popen([px.resolve(), "embed", *words], cwd=folder or "/", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        process.wait()


def line_within(process, seconds):
    """The next line of stdout, or a failure."""
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    check(ready, f"no line within {seconds} s")
    return process.stdout.readline()


def lines_keep_their_order_and_ids(px):
    home = Home(px)
    given = ('"cold store"\n\n{"id": "a", "text": "warm \\u00e9t\\u00e9", "other": [1]}\r\n'
             '{"id": -7, "text": ""}\n   \n{"text": "cold store", "id": null}\n{"id": 18446744073709551615, "text": "x"}')
    done = home.run("embed", stdin="\ufeff" + given, expect=0)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    check([row["id"] for row in rows] == [1, "a", -7, 6, 18446744073709551615], str([row["id"] for row in rows]))
    for row in rows:
        check(len(row["vector"]) == WIDTH and abs(sum(x * x for x in row["vector"]) - 1) < 1e-4, f"no unit vector: {row['id']}")
    check(rows[0]["vector"] == rows[3]["vector"] != rows[1]["vector"], "equal texts must have equal vectors, others not")
    check("embed.done" in done.stderr and "texts=5" in done.stderr, done.stderr)
    check(home.run("--quiet", "embed", stdin=given, expect=0).stderr == "", "--quiet is not quiet")
    check(home.run("embed", stdin="", expect=0).stdout == "", "no line must give no line")
    home.remove()


def raw_floats_are_the_same_vectors(px):
    home = Home(px)
    lines = texts(70)
    expected = b"".join(vectors_of(home, lines))
    given = "".join(json.dumps(line) + "\n" for line in lines).encode()
    raw = subprocess.run([px.resolve(), "embed", "--format", "f32"], cwd=home.folder, input=given, capture_output=True, check=True, timeout=300)
    check(raw.stdout == expected, f"{len(raw.stdout)} bytes differ from the {len(expected)} of the JSON lines")
    home.remove()


def vectors_depend_on_the_text_alone(px):
    """Not on the threads, nor on what stands around it, nor on where a block ends."""
    home = Home(px)
    lines = texts(700)
    expected = vectors_of(home, lines, "--threads", "1")
    check(len(expected) == 700, str(len(expected)))
    for threads in ("2", "4"):
        check(vectors_of(home, lines, "--threads", threads) == expected, f"{threads} threads give other bytes")
    check(vectors_of(home, lines[::-1]) == expected[::-1], "another order gives other bytes")
    for i in (0, 255, 256, 699):
        check(vectors_of(home, [lines[i]]) == [expected[i]], f"text {i} alone gives other bytes")
    other = vectors_of(home, lines[:3], "--precision", "int8")
    check(other != expected[:3] and vectors_of(home, lines[:3], "--kind", "query") == expected[:3], "precision or kind is not obeyed")
    home.remove()


def a_bad_line_is_named(px):
    home = Home(px)
    for bad, word in (("{", "not JSON"), ("7", "neither a string nor an object"), ("{}", 'no "text"'), ('{"text": 7}', "no string"),
                      ('{"text": "a", "id": [1]}', '"id"'), ('{"text": "a", "id": 1.5}', '"id"'), ('"a" "b"', "not JSON")):
        done = home.run("embed", stdin='"one"\n\n"two"\n' + bad + '\n"five"\n', expect=2)
        check("line 4 of stdin" in done.stderr and word in done.stderr and "next:" in done.stderr, done.stderr)
        check([json.loads(line)["id"] for line in done.stdout.splitlines()] == [1, 3], f"{bad}: what stood before it is not whole")
    bytes_that_are_no_text = subprocess.run([px.resolve(), "embed"], cwd=home.folder, input=b'"ok"\n"\xff"\n', capture_output=True,
                                            check=False, timeout=60)
    check(bytes_that_are_no_text.returncode == 2 and b"line 2 of stdin" in bytes_that_are_no_text.stderr, str(bytes_that_are_no_text.stderr))
    huge = home.run("embed", stdin='"' + "x" * (17 << 20) + '"', expect=2)
    check("line 1 of stdin has more than" in huge.stderr, huge.stderr)
    for words in (["--kind", "title"], ["--format", "csv"], ["--precision", "fp8"], ["--threads", "-1"], ["--raw"]):
        check(home.run("embed", *words, stdin="").returncode == 2, f"px embed {words} is not refused")
    home.remove()


def a_single_line_is_answered_before_the_next_comes(px):
    with running(px) as process:
        for i in range(3):
            process.stdin.write(json.dumps({"id": i, "text": f"line {i}"}).encode() + b"\n")
            process.stdin.flush()
            check(json.loads(line_within(process, 60))["id"] == i, "not the line that was asked for")
        process.stdin.close()
        check(process.wait(30) == 0, str(process.stderr.read()))


def memory_is_bounded_when_nobody_reads(px):
    """A writer faster than the encoder, and a reader that stands still: px must stop taking lines. Then SIGINT ends it."""
    with running(px) as process:
        os.set_blocking(process.stdin.fileno(), False)
        line = json.dumps("pallets " * 40_000).encode() + b"\n"
        taken, at, last = 0, 0, time.monotonic()
        while time.monotonic() - last < 5:  # until it has taken nothing for so long
            try:
                count = os.write(process.stdin.fileno(), line[at:])
            except BlockingIOError:
                time.sleep(0.02)
                continue
            taken, at, last = taken + count, (at + count) % len(line), time.monotonic()
            check(taken < 2 << 30, "it takes lines without end")
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        peak_mb = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1000
        check(peak_mb < 400, f"{peak_mb:.0f} MB at its peak after {taken >> 20} MiB of lines")
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        check(process.wait(30) == 1, f"exit {process.returncode} after SIGINT")
        error = process.stderr.read().decode()
        check(out.endswith(b"]}\n"), "the last line is not whole")
        told = re.search(r"the vectors of (\d+) texts are written", error)
        check(told and int(told[1]) == out.count(b"\n"), f"{out.count(bytes([10]))} lines came: {error}")


def sigint_ends_an_idle_one(px):
    with running(px) as process:
        process.stdin.write(b'"a"\n')
        process.stdin.flush()
        line_within(process, 60)
        process.send_signal(signal.SIGINT)
        check(process.wait(10) == 1, f"exit {process.returncode}")


def a_closed_pipe_ends_it_quietly(px):
    with running(px) as busy:
        def feed():
            with contextlib.suppress(BrokenPipeError):
                for text in texts(200_000):
                    busy.stdin.write(json.dumps(text).encode() + b"\n")
        feeder = threading.Thread(target=feed)
        feeder.start()
        line_within(busy, 60)
        busy.stdout.close()
        check(busy.wait(30) == 0, f"exit {busy.returncode} with output to come")
        feeder.join()
        check(b"px:" not in busy.stderr.read(), "it complains of a reader that has enough")
    with running(px) as idle:
        idle.stdin.write(b'"a"\n')
        idle.stdin.flush()
        line_within(idle, 60)
        idle.stdout.close()
        check(idle.wait(10) == 0, f"exit {idle.returncode} while it waits for lines")


class Server:
    """px serve on a free port over a small release."""

    def __init__(self, px):
        self.home = small_home(px)
        self.home.run("run", "--ds", "2026-11-20", expect=0)
        self.process = subprocess.Popen([self.home.px, "--json", "serve", "--port", "0"], cwd=self.home.folder, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL)
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        check(ready, "px serve does not come up")
        self.url = json.loads(self.process.stdout.readline())["url"]
        self.port = int(self.url.rsplit(":", 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process.stdout.close()
        self.home.remove()
        check(code == 0, f"px serve ended with {code}")

    def post(self, body, connection=None):
        own = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        own.request("POST", "/v1/embeddings", json.dumps(body), {"Content-Type": "application/json"})
        reply = own.getresponse()
        text = reply.read()
        if connection is None:
            own.close()
        return reply, json.loads(text)

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request("GET", path)
        text = connection.getresponse().read().decode()
        connection.close()
        return text

    def metric(self, name):
        return int(re.search(rf"^{name} (\d+)$", self.get("/metrics"), re.MULTILINE)[1])


def embeddings_are_those_of_px_embed(px):
    with Server(px) as server:
        lines = texts(40) + ["été 日本語 😀", "long " * 2000]
        expected = vectors_of(server.home, lines)
        reply, body = server.post({"input": lines, "model": "all-MiniLM-L6-v2"})
        check(reply.status == 200 and body["object"] == "list" and body["model"] == "all-MiniLM-L6-v2", str(body)[:300])
        check([row["index"] for row in body["data"]] == list(range(len(lines))), "index is not the place in input")
        check([as_f32(row["embedding"]) for row in body["data"]] == expected, "the vectors differ from px embed")
        _, packed = server.post({"input": lines, "encoding_format": "base64", "dimensions": WIDTH})
        check([base64.b64decode(row["embedding"]) for row in packed["data"]] == expected, "base64 holds other vectors")
        _, one = server.post({"input": lines[3]})
        check(as_f32(one["data"][0]["embedding"]) == expected[3], "one text alone gives another vector")
        _, counted = server.post({"input": ["cold store", "long " * 2000]})
        check(counted["usage"] == {"prompt_tokens": 4 + 256, "total_tokens": 4 + 256}, str(counted["usage"]))
        check("/v1/embeddings" in json.loads(server.get("/openapi.json"))["paths"], "not in /openapi.json")


def openai_s_client_reads_them(px):
    from openai import BadRequestError, NotFoundError, OpenAI
    with Server(px) as server:
        client = OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)
        lines = texts(5)
        made = client.embeddings.create(model="all-MiniLM-L6-v2", input=lines)
        check([as_f32(row.embedding) for row in made.data] == vectors_of(server.home, lines), "the client reads other vectors")
        check(made.usage.prompt_tokens == made.usage.total_tokens > 0, str(made.usage))
        plain = client.embeddings.create(model="all-MiniLM-L6-v2", input=lines[0], encoding_format="float")
        check(plain.data[0].embedding == made.data[0].embedding or as_f32(plain.data[0].embedding) == as_f32(made.data[0].embedding), "float differs")
        for refusal, arguments in ((NotFoundError, {"model": "text-embedding-3-small", "input": "a"}),
                                   (BadRequestError, {"model": "all-MiniLM-L6-v2", "input": [[1, 2]]})):
            try:
                client.embeddings.create(**arguments)
                check(False, f"{arguments} is not refused")
            except refusal as error:
                check(error.body and error.body["hint"], str(error))


def many_clients_get_what_a_lone_one_gets(px):
    with Server(px) as server:
        lines = texts(400)
        alone = {}
        for i in range(0, 400, 40):
            for line, row in zip(lines[i:i + 40], server.post({"input": lines[i:i + 40]})[1]["data"]):
                alone[line] = json.dumps(row["embedding"])
        before = server.metric("px_embedded_texts_total"), server.metric("px_embedded_batches_total")
        check(before[0] == 400, str(before))

        def client(number):
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
            seen = 0
            for i in range(12):
                mine = [lines[(number * 37 + i * 11 + j * 5) % 400] for j in range((number + i) % 4 + 1)]
                reply, body = server.post({"input": mine}, connection)
                check(reply.status == 200, str(body))
                check([json.dumps(row["embedding"]) for row in body["data"]] == [alone[line] for line in mine],
                      f"client {number} got other vectors than a lone one")
                seen += len(mine)
            connection.close()
            return seen

        with ThreadPoolExecutor(32) as pool:
            asked = sum(pool.map(client, range(32)))
        texts_seen = server.metric("px_embedded_texts_total") - before[0]
        batches = server.metric("px_embedded_batches_total") - before[1]
        check(texts_seen == asked, f"{texts_seen} texts encoded, {asked} asked for")
        check(batches < 32 * 12, f"{batches} batches for {32 * 12} requests: nothing was encoded together")
        check(server.metric("px_embed_waiting_texts") == 0, "texts wait although nobody does")


def a_client_that_leaves_takes_its_work_with_it(px):
    with Server(px) as server:
        big = {"input": ["pallets and forklifts " * 16 + str(i) for i in range(2000)]}
        leaving = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        leaving.request("POST", "/v1/embeddings", json.dumps(big))
        started = time.monotonic()
        while server.metric("px_embed_waiting_texts") == 0:
            check(time.monotonic() - started < 30, "the big request does not begin")
        _, small = server.post({"input": "cold store"})  # not behind the 2,000 texts
        check(len(small["data"]) == 1 and server.metric("px_embed_waiting_texts") > 0, "a small request waited for a big one")
        leaving.close()
        started = time.monotonic()
        while server.metric("px_embed_waiting_texts") > 0:
            check(time.monotonic() - started < 5, "the work of a client that left goes on")
        check(server.metric("px_embedded_texts_total") < 2000, "it was done to the end")


if __name__ == "__main__":
    main([lines_keep_their_order_and_ids, raw_floats_are_the_same_vectors, vectors_depend_on_the_text_alone, a_bad_line_is_named,
          a_single_line_is_answered_before_the_next_comes, memory_is_bounded_when_nobody_reads, sigint_ends_an_idle_one,
          a_closed_pipe_ends_it_quietly, embeddings_are_those_of_px_embed, openai_s_client_reads_them, many_clients_get_what_a_lone_one_gets,
          a_client_that_leaves_takes_its_work_with_it])

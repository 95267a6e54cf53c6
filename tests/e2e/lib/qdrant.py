"""The Qdrant test server (qdrant_server.py) as a process of a test, stopped by its id at the end."""

import http.client
import json
import pathlib
import re
import subprocess
import sys

LIB = pathlib.Path(__file__).resolve().parent


class Qdrant:
    def __init__(self, api_key=""):
        self.process = subprocess.Popen([sys.executable, LIB / "qdrant_server.py", "--api-key", api_key], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.search(r"listens on (http://127\.0\.0\.1:(\d+))", line)
        if not found:
            self.process.wait()
            raise RuntimeError("the Qdrant test server did not start; next: tools/setup.sh test")
        self.url, self.port = found[1], int(found[2])

    def test(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, "/_test/" + path, None if body is None else json.dumps(body))
        answer = json.loads(connection.getresponse().read() or b"null")
        connection.close()
        return answer

    def fault(self, nth, kind):
        """The nth request from now on goes wrong once: "503", "cut", "lost" …"""
        self.test("PUT", "fault", {"nth": nth, "kind": kind})

    def requests(self):
        """[method, path, bytes in, bytes out] since the last forget()."""
        return self.test("GET", "requests")

    def forget(self):
        self.test("DELETE", "requests")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

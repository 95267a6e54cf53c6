"""Upload and download of our store of Azure Blob Storage, beside the Python SDK with as many connections, against one Azurite, one run.

    python bench/azure_transfer.py --px-bin build/release/bin [--large-mb 256] [--small 256]

One large file in blocks of 8 MiB, four at a time, and many small ones (128 kB, as part files and log entries are), eight at a time. Ours gives each
blob its MD5 and keeps a verified copy (SHA-256) of what it fetched; the SDK sends and writes bytes alone. Azurite is one thread of Node.js and
keeps blobs in memory: it is what limits MB/s here; CPU-seconds are the clients' own.
"""
import argparse
import os
import pathlib
import random
import shutil
import sys
import tempfile

from measure import BENCH, ROOT, run, table

sys.path.insert(0, str(ROOT / "tests/e2e/lib"))
from servers import ACCOUNT, Azurite  # noqa: E402

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # published with Azurite
SDK = """
import pathlib, sys, time
from concurrent.futures import ThreadPoolExecutor
from azure.storage.blob import ContainerClient
what, endpoint, container, folder, threads, *names = sys.argv[1:]
client = ContainerClient(endpoint, container, api_version="2025-11-05", credential={"account_name": %r, "account_key": %r}, max_block_size=8 << 20,
                         max_single_put_size=8 << 20, max_single_get_size=8 << 20, max_chunk_get_size=8 << 20)
if not client.exists():
    client.create_container()
blocks = 4 if len(names) == 1 else 1
def put(path):
    with open(path, "rb") as stream:
        client.upload_blob(pathlib.Path(path).name, stream, overwrite=True, max_concurrency=blocks)
def get(name):
    with open(pathlib.Path(folder) / name, "wb") as stream:
        client.download_blob(name, max_concurrency=blocks).readinto(stream)
started = time.monotonic()
with ThreadPoolExecutor(int(threads)) as pool:
    list(pool.map(put if what == "put" else get, names))
print(time.monotonic() - started)
""" % (ACCOUNT, KEY)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--px-bin", type=pathlib.Path, required=True)
    parser.add_argument("--large-mb", type=int, default=256)
    parser.add_argument("--small", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    tool = args.px_bin.resolve() / "tool_store_transfer"
    BENCH.mkdir(parents=True, exist_ok=True)
    server = Azurite()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="px-transfer-", dir=os.environ.get("TMPDIR", "/tmp")))
    try:
        dice = random.Random(1)
        work = {"one file of %d MB" % args.large_mb: [("large", args.large_mb << 20)],
                "%d files of 128 kB" % args.small: [(f"small-{i:04}", 128 << 10) for i in range(args.small)]}
        rows = []
        for title, files in work.items():
            threads = 1 if len(files) == 1 else 8
            best = {}
            for repeat in range(args.repeats):
                source = folder / "source"
                shutil.rmtree(source, ignore_errors=True)
                source.mkdir()
                for name, size in files:
                    with open(source / name, "wb") as stream:  # little by little: a child is charged with our memory
                        for at in range(0, size, 1 << 20):
                            stream.write(dice.randbytes(min(1 << 20, size - at)))
                names = [name for name, _ in files]
                for who in ("px", "SDK"):
                    for what in ("get", "put")[::-1]:
                        target = folder / "target"
                        shutil.rmtree(target, ignore_errors=True)
                        target.mkdir()
                        if who == "px":
                            copies = folder / "copies"  # a stored file is handed over
                            shutil.rmtree(copies, ignore_errors=True)
                            shutil.copytree(source, copies)
                            words = [copies / name for name in names] if what == "put" else names
                            done = run([tool, what, f"{server.endpoint}/px-bench", target, threads, *words],
                                       environment={"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY})
                        else:
                            words = [source / name for name in names] if what == "put" else names
                            done = run([sys.executable, "-c", SDK, what, server.endpoint, "sdk-bench", target, threads, *words])
                        seconds = float(done.output)
                        key = (who, what)
                        best[key] = min(best.get(key, (1e9, 0, 0)), (seconds, done.cpu_s, done.rss_bytes))
                        if what == "get" and who == "px":
                            got = sum(path.stat().st_size for path in target.rglob("*") if path.is_file() and path.suffix != ".sum" and path.parent.name != "locks")
                            assert got == sum(size for _, size in files), got
            total = sum(size for _, size in files) / 1e6
            for who in ("px", "SDK"):
                for what in ("put", "get"):
                    seconds, cpu_s, rss = best[who, what]
                    rows.append([f"{title}, {what}", who, f"{total / seconds:.0f}", f"{cpu_s:.2f}", f"{rss / 1e6:.0f}"])
        table(f"Azure Blob Storage (Azurite on the loopback), best of {args.repeats}",
              ["what", "who", "MB/s", "CPU-s of the client", "peak MB"], rows)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

"""What the benchmarks share: a measured child process, one table, one results file, a generated CSV, a served px."""
import json
import os
import pathlib
import platform
import random
import signal
import subprocess
import time
from datetime import datetime, timedelta, timezone

ROOT = pathlib.Path(__file__).resolve().parents[1]
BENCH = ROOT / "build" / "bench"
SHARED = ROOT.parent / "shared" / "data"


def machine():
    name = platform.processor()
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    return f"{name}, {len(os.sched_getaffinity(0))} CPUs, load {os.getloadavg()[0]:.1f} at the start"


class Measured:
    """A finished child: exit code, output, wall and CPU seconds, peak resident bytes."""

    def __init__(self, code, output, wall_s, cpu_s, rss_bytes):
        self.code, self.output, self.wall_s, self.cpu_s, self.rss_bytes = code, output, wall_s, cpu_s, rss_bytes


def run(command, cwd=None, environment=None, expect=(0,)):
    """Runs a child to its end and measures it alone (wait4). Another exit code than expected ends the benchmark."""
    log = BENCH / "child.log"
    with open(log, "wb") as errors:
        started = time.monotonic()
        process = subprocess.Popen([str(word) for word in command], cwd=cwd, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **(environment or {})})
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in expect:
        tail = log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise SystemExit(f"{' '.join(str(word) for word in command)}\n  exit {process.returncode}\n{output.decode(errors='replace')[-1000:]}\n{tail}")
    return Measured(process.returncode, output.decode("utf-8", "replace"), wall_s, usage.ru_utime + usage.ru_stime,
                    usage.ru_maxrss * 1024)


def table(title, columns, rows):
    """Prints one table and adds its rows to results.jsonl."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(columns[i]), *(len(row[i]) for row in cells)) for i in range(len(columns))]
    print(f"\n{title}\n{machine()}")
    print("  ".join(name.ljust(width) if i == 0 else name.rjust(width)
                    for i, (name, width) in enumerate(zip(columns, widths))))
    for row in cells:
        print("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))), flush=True)
    BENCH.mkdir(parents=True, exist_ok=True)
    with open(BENCH / "results.jsonl", "a", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps({"table": title, "machine": machine(),
                                     "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                                     **dict(zip(columns, row))}) + "\n")


# ---- a generated CSV -------------------------------------------------------------------------------
# id, title, author, published_at, category, revenue, text: quoted commas, doubled quotes, quoted line ends and
# characters outside ASCII among them. The same bytes for the same size, on any machine.

COLUMNS = ("id", "title", "author", "published_at", "category", "revenue", "text")
SYLLABLES = ["ba", "ren", "mil", "tor", "va", "sel", "dun", "ka", "lo", "fi", "rast", "we", "on", "ter", "gul", "ip"]


def generated_csv(size_bytes):
    """The path of a CSV of about size_bytes, made at the first call, and its number of rows."""
    BENCH.mkdir(parents=True, exist_ok=True)
    path = BENCH / f"generated-{size_bytes // 1_000_000}mb.csv"
    count = path.with_suffix(".rows")
    if path.exists() and count.exists():
        return path, int(count.read_text(encoding="utf-8"))
    rng = random.Random(20261123)
    words = sorted({"".join(rng.choices(SYLLABLES, k=rng.randint(1, 4))) for _ in range(6000)})
    authors = [f"{rng.choice(words).title()} {rng.choice(words).title()}" for _ in range(500)]
    categories = ["Finance", "Operations", "Safety", "People", "Engineering", "Governance"]
    openings = [" ".join(rng.choices(words, k=rng.randint(4, 12))) for _ in range(40_000)]
    middles = ['"' + " ".join(rng.choices(words, k=6)) + ", " + " ".join(rng.choices(words, k=rng.randint(4, 14)))
               for _ in range(40_000)]
    for i in range(0, len(middles), 37):
        middles[i] += ' ""so called""\nand a new line'
    for i in range(5, len(middles), 41):
        middles[i] += " Zürich – 東京"
    first = datetime(2020, 1, 1)
    moments = [(first + timedelta(seconds=37 * 60 * i)).strftime("%Y-%m-%d %H:%M:%S") for i in range(60_000)]
    rows, written = 0, 0
    aside = path.with_suffix(".new")
    with open(aside, "w", encoding="utf-8", newline="") as stream:
        written += stream.write(",".join(COLUMNS) + "\n")
        bits = rng.getrandbits
        while written < size_bytes:
            block = []
            for _ in range(20_000):
                a, b = bits(48), bits(60)
                block.append(f"r-{rows:010d},{openings[a % 40_000]},{authors[(a >> 16) % 500]},{moments[(a >> 24) % 60_000]},"
                             f"{categories[(a >> 40) % 6]},{b % 90_000_000 / 100:.2f},{middles[(b >> 32) % 40_000]} "
                             f"{openings[(b >> 16) % 40_000]}\"\n")
                rows += 1
            written += stream.write("".join(block))
    count.write_text(str(rows), encoding="utf-8")
    os.replace(aside, path)
    return path, rows


def csv_pipeline(folder, csv_path, unique_id):
    """A pipeline of one CSV source without text: from raw bytes to a Delta table, every column typed."""
    identity = "required: true, unique: true, role: id" if unique_id else "required: true"
    (folder / "pipeline.yaml").write_text(f"""pipeline: bench
sources:
  reports: {{csv: "{csv_path}", mode: snapshot, contract: report}}
contracts:
  report:
    columns:
      - {{name: id, type: string, {identity}}}
      - {{name: title, type: string, required: true}}
      - {{name: author, type: string}}
      - {{name: published_at, type: timestamp}}
      - {{name: category, type: string}}
      - {{name: revenue, type: "decimal(18,2)", min: 0}}
      - {{name: text, type: string}}
""", encoding="utf-8")


def run_phases(px, folder):
    """Wall seconds of the parts of the last run: what px itself noted in its catalog."""
    runs = json.loads(run([px, "--json", "runs", "--limit", "1"], cwd=folder).output)
    detail = json.loads(run([px, "--json", "runs", runs[0]["id"]], cwd=folder).output)
    moment = lambda text: datetime.fromisoformat(text.replace("Z", "+00:00"))
    phases = {}
    for task in detail["tasks"]:
        if task["finished_at"]:
            phases[task["task"]] = (moment(task["finished_at"]) - moment(task["started_at"])).total_seconds()
        if task["task"] == "land":  # noted when all has landed
            phases["land"] = (moment(task["finished_at"]) - moment(detail["started_at"])).total_seconds()
    return phases


# ---- a served px -----------------------------------------------------------------------------------

class Served:
    """px serve on a free port, ended with the block."""

    def __init__(self, px, folder, environment=None):
        self.log = open(BENCH / "serve.log", "wb")
        self.process = subprocess.Popen([str(px), "--json", "serve", "--port", "0"], cwd=folder, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self.log, env={**os.environ, **(environment or {})})

    def __enter__(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"px serve did not start; see {BENCH / 'serve.log'}")
        self.url = json.loads(line)["url"]
        return self

    def cpu_s(self):
        fields = open(f"/proc/{self.process.pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self):
        for line in open(f"/proc/{self.process.pid}/status", encoding="utf-8"):
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
        return 0

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

"""Checks every #include of src/ against tools/include_ranks.txt. Exit 1 names each line that breaks a rule."""

import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def load_rules():
    ranks, allowed, only, foreign = {}, set(), {}, {}
    for line in (TOP / "tools" / "include_ranks.txt").read_text().splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0] == "rank":
            ranks[words[1]] = int(words[2])
        elif words[0] == "allow":
            allowed.add((words[1], words[2]))
        elif words[0] == "only":
            only[words[1]] = set(words[2:]) | {"base", words[1]}
        elif words[0] == "foreign":
            foreign[words[1]] = words[2:]
        else:
            raise SystemExit(f"include_ranks.txt: unknown rule '{words[0]}'")
    return ranks, allowed, only, foreign


def main() -> int:
    ranks, allowed, only, foreign = load_rules()
    problems = []
    files = sorted(p for p in (TOP / "src").rglob("*") if p.suffix in (".h", ".cpp"))
    for path in files:
        relative = path.relative_to(TOP / "src")
        room = relative.parts[0]
        is_test = path.stem.endswith("_test") or path.stem.startswith(("tool_", "test_", "demo_", "conformance")) or room == "testing"
        if room not in ranks:
            problems.append(f"src/{relative}: room '{room}' has no rank")
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, target = match.groups()
            where = f"src/{relative}:{number}"
            if quote == "<":
                for header, places in foreign.items():
                    if target == header or target.startswith(header + "/") or target.startswith(header + "."):
                        if not any(str(relative).startswith(place + "/") for place in places) and not is_test:
                            problems.append(f"{where}: <{target}> belongs to {', '.join(places)}")
                continue
            other = target.split("/")[0]
            if other not in ranks:
                if "/" in target and target != "px_version.h":
                    problems.append(f"{where}: '{other}' is no room")
                continue
            if other == "testing" and not is_test:
                problems.append(f"{where}: only tests include testing/")
            if is_test or other == room:
                continue
            if room in only and other not in only[room]:
                problems.append(f"{where}: {room} may not include {other}")
            elif ranks[other] >= ranks[room] and (room, other) not in allowed:
                problems.append(f"{where}: {room} (rank {ranks[room]}) may not include {other} (rank {ranks[other]})")
            # An adapter is named by app alone.
            adapters = {"local", "memory", "azure", "sqlite", "postgres", "embedded", "qdrant", "spark", "openai"}
            parts = target.split("/")
            if len(parts) > 2 and parts[1] in adapters and room not in ("app", parts[0]) and parts[0] != "capi":
                if target != "store/local/local_object_store.h" or room != "pipeline":
                    problems.append(f"{where}: only app names the adapter {parts[0]}/{parts[1]}")
    for problem in problems:
        print(problem)
    print(f"{len(files)} files, {len(problems)} problems", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

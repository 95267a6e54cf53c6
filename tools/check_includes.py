"""Checks every #include of src/ against tools/include_ranks.txt. Exit 1 names each line that breaks a rule.

    python3 tools/check_includes.py [--root FOLDER]    # FOLDER holds src/ and tools/include_ranks.txt
"""
import argparse
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


class Rules:
    def __init__(self, text):
        self.ranks, self.allowed, self.only, self.foreign = {}, set(), {}, {}
        self.adapters, self.named_by = set(), set()
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            kind, rest = words[0], words[1:]
            if kind == "rank" and len(rest) == 2:
                self.ranks[rest[0]] = int(rest[1])
            elif kind == "allow" and len(rest) == 2:
                self.allowed.add((rest[0], rest[1]))
            elif kind == "only" and rest:
                self.only[rest[0]] = set(rest[1:]) | {"base", rest[0]}
            elif kind == "foreign" and len(rest) > 1:
                self.foreign[rest[0]] = rest[1:]
            elif kind == "adapters":
                self.adapters.update(rest)
            elif kind == "names_adapter" and len(rest) == 2:
                self.named_by.add((rest[0], rest[1]))
            else:
                raise SystemExit(f"include_ranks.txt:{number}: unknown rule '{line.strip()}'")


def is_test(relative):
    return (relative.parts[0] == "testing" or relative.stem.endswith(("_test", "_bench"))
            or relative.stem.startswith(("tool_", "test_", "demo_", "conformance")))


def check_line(rules, relative, quote, target):
    """Yields what is wrong with one #include of the file relative (to src/)."""
    room, tests = relative.parts[0], is_test(relative)
    if quote == "<":
        for header, places in rules.foreign.items():
            if target == header or target.startswith((header + "/", header + ".")):
                if not tests and not any(str(relative).startswith(place + "/") for place in places):
                    yield f"<{target}> belongs to {', '.join(places)}"
        return
    parts = target.split("/")
    other = parts[0]
    if other not in rules.ranks:
        if len(parts) > 1:
            yield f"'{other}' is no room"
        return
    if other == "testing" and not tests:
        yield "only tests include testing/"
    if tests or other == room:
        return
    if room in rules.only and other not in rules.only[room]:
        yield f"{room} may not include {other}"
    elif rules.ranks[other] >= rules.ranks[room] and (room, other) not in rules.allowed:
        yield f"{room} (rank {rules.ranks[room]}) may not include {other} (rank {rules.ranks[other]})"
    if len(parts) > 2 and other != "capi" and parts[1] in rules.adapters and room != "app":
        if (room, f"{other}/{parts[1]}") not in rules.named_by:
            yield f"only app names the adapter {other}/{parts[1]}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    root = parser.parse_args().root
    rules = Rules((root / "tools" / "include_ranks.txt").read_text(encoding="utf-8"))
    files = sorted(path for path in (root / "src").rglob("*") if path.suffix in (".h", ".cpp"))
    problems = []
    for path in files:
        relative = path.relative_to(root / "src")
        if relative.parts[0] not in rules.ranks:
            problems.append(f"src/{relative}: room '{relative.parts[0]}' has no rank")
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            if match:
                problems += [f"src/{relative}:{number}: {what}" for what in check_line(rules, relative, *match.groups())]
    if not files:
        problems.append(f"{root / 'src'} holds no sources")
    for problem in problems:
        print(problem)
    print(f"{len(files)} files, {len(problems)} problems", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

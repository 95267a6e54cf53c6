"""Every relative link and image of a Markdown file leads to something that is there.

    python3 tests/unit/links_test.py
"""
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def markdown_files():
    listed = subprocess.run(["git", "ls-files", "-z", "--", "*.md"], cwd=TOP, capture_output=True, check=False)
    names = [name for name in listed.stdout.decode().split("\0") if name]
    if not names:  # no git, or a folder that is not a clone
        skipped = {"build", "node_modules", ".deps"}
        names = [path.relative_to(TOP) for path in TOP.rglob("*.md") if not skipped & set(path.relative_to(TOP).parts)]
    return sorted(TOP / name for name in names if not str(name).startswith("examples/company/data/"))


def main():
    files, links, broken = markdown_files(), 0, 0
    for file in files:
        if not file.exists():
            continue
        text = re.sub(r"```.*?```", lambda block: "\n" * block[0].count("\n"), file.read_text(encoding="utf-8"), flags=re.DOTALL)
        for number, line in enumerate(text.splitlines(), 1):
            for target in LINK.findall(re.sub(r"`[^`]*`", "", line)):
                if re.match(r"[a-z]+:|#", target):
                    continue
                links += 1
                if not (file.parent / target.split("#")[0]).exists():
                    broken += 1
                    print(f"{file.relative_to(TOP)}:{number}: nothing at {target}")
    print(f"{len(files)} files, {links} links, {broken} broken", file=sys.stderr)
    return 1 if broken or not links else 0


if __name__ == "__main__":
    sys.exit(main())

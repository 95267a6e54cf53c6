"""The man page px(1), made from px's own help, so that the two cannot differ."""
import re
import subprocess

SECTION = re.compile(r"^(Options|Positionals|Subcommands):$")


def help_of(px, *words):
    """What `px help WORDS` prints (`px --help` for no words)."""
    command = [px, "help", *words] if words else [px, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode != 0 or not done.stdout:
        raise SystemExit(f"man page: `{' '.join(map(str, command))}` failed: {done.stderr.strip()}")
    return done.stdout


def parse(text):
    """(description, usage, {section: [[term, text], ...]}) of one help text."""
    description, usage, sections, current = [], "", {}, None
    for line in text.splitlines():
        match = SECTION.match(line)
        if match:
            current = sections.setdefault(match[1], [])
        elif line.startswith("Usage: "):
            usage = line[len("Usage: "):]
        elif current is not None and re.match(r"^  \S", line):
            term, _, rest = line.strip().partition("  ")
            current.append([term, rest.strip()])
        elif current and re.match(r"^ {3,}\S", line):
            current[-1][1] = (current[-1][1] + " " + line.strip()).strip()
        elif current is None and line.strip():
            description.append(line.strip())
    return " ".join(description), usage, sections


def commands(px, *words):
    """Every command with its help, depth first: (words, parsed)."""
    parsed = parse(help_of(px, *words))
    yield words, parsed
    for name, _ in parsed[2].get("Subcommands", []):
        yield from commands(px, *words, name)


def quoted(text):
    """Text as roff shows it unchanged."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq")
    return "\\&" + text if text.startswith(".") else text


def listed(entries):
    lines = []
    for term, text in entries:
        lines += [".TP", f".B {quoted(term)}", quoted(text) or "\\&"]
    return lines


def man_page(px, version, day):
    """The page as roff. day: YYYY-MM-DD, the date of the release."""
    found = list(commands(px))
    description, usage, sections = found[0][1]
    lines = [f'.TH PX 1 "{day}" "px {version}" "Pipeline\\-X"', ".SH NAME",
             "px \\- from raw files to one atomic release, served as cited answers and SQL",
             ".SH SYNOPSIS", f".B {quoted(usage)}", ".SH DESCRIPTION", quoted(description),
             ".SH OPTIONS", *listed(sections.get("Options", [])), ".SH COMMANDS"]
    for words, (text, usage, sections) in found[1:]:
        lines += [f".SS {quoted('px ' + ' '.join(words))}", quoted(text), ".PP", f".I {quoted(usage)}"]
        entries = sections.get("Positionals", []) + [e for e in sections.get("Options", []) if not e[0].startswith("-h,")]
        lines += listed(entries)
    lines += [".SH EXIT STATUS", *listed([
        ("0", "done"), ("1", "failed"), ("2", "wrong usage or configuration"), ("3", "halted by the gate"),
        ("4", "a service cannot be reached"), ("99", "nothing to do")]),
        ".SH FILES", *listed([("pipeline.yaml", "the pipeline, in the current folder unless named with --file"),
                              (".env", "beside it: addresses and credentials")])]
    return "\n".join(lines) + "\n"

"""Our due times against croniter's: 10,000 random expressions, each from a random instant, ten due times on.

    python tests/peers/schedule_croniter.py --px-bin build/dev/bin

In UTC every due time must be equal. In zones with changes of the clock the same holds for all that is due away from a change; at a change
the rules differ on purpose (docs/formats/schedule.md), so due times within a day of one are left out on both sides.
Not generated, since the meanings differ on purpose: ranges that run backwards and steps larger than
the field (ours refuses them), and ranges of one value (1-1 is every
value to croniter).
"""

import argparse
import datetime
import pathlib
import random
import subprocess
import sys
import zoneinfo

from croniter import croniter

EXPRESSIONS = 10_000
COUNT = 10
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
DAYS = "sun mon tue wed thu fri sat".split()


def part(chance, low, high, names):
    def value(number):
        if names and number - low < len(names) and chance.random() < .3:
            return chance.choice((str.lower, str.upper, str.title))(names[number - low])
        return str(number)
    kind = chance.random()
    if kind < .4:
        return value(chance.randint(low, high))
    if kind < .7:
        first = chance.randint(low, high - 1)
        text = f"{value(first)}-{value(chance.randint(first + 1, high))}"
        return text + (f"/{chance.randint(1, min(high, 9))}" if chance.random() < .3 else "")
    if kind < .85:
        return f"*/{chance.randint(2, min(high, 20))}"
    return f"{chance.randint(low, high - 1)}/{chance.randint(2, min(high, 9))}"


def field(chance, low, high, names=(), star=.35):
    if chance.random() < star:
        return "*"
    return ",".join(part(chance, low, high, names) for _ in range(chance.choice((1, 1, 1, 2, 3))))


def expression(chance):
    if chance.random() < .01:
        return chance.choice(("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"))
    day = "L" if chance.random() < .04 else field(chance, 1, 31, star=.5)
    return " ".join((field(chance, 0, 59, star=.2), field(chance, 0, 23), day, field(chance, 1, 12, MONTHS, star=.6),
                     field(chance, 0, 7 if chance.random() < .2 else 6, DAYS, star=.6)))


def theirs(text, zone, after):
    """croniter's due times; a text when it finds none or refuses the expression."""
    try:
        steps = croniter(text, datetime.datetime.fromtimestamp(after, zoneinfo.ZoneInfo(zone)), ret_type=float, max_years_between_matches=20)
        return [int(steps.get_next()) for _ in range(COUNT)]
    except Exception as error:  # noqa: BLE001: whatever it raises, it has no answer
        return f"{type(error).__name__}: {error}"


def near_a_change(zone, at):
    where = zoneinfo.ZoneInfo(zone)
    return len({datetime.datetime.fromtimestamp(at + hours * 3600, where).utcoffset() for hours in range(-27, 28, 3)}) > 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--px-bin", required=True, type=pathlib.Path)
    tool = parser.parse_args().px_bin.resolve() / "tool_schedule_due"
    seed = 20261123
    print(f"seed {seed}")
    chance = random.Random(seed)
    asked = []
    for i in range(EXPRESSIONS):
        zone = "UTC" if i % 4 else ZONES[i // 4 % len(ZONES)]
        asked.append((expression(chance), zone, chance.randint(946_684_800, 2_208_988_800)))  # 2000 to 2040
    lines = "".join(f"{text}\t{zone}\t{after}\t{COUNT}\n" for text, zone, after in asked)
    answers = subprocess.run([tool], input=lines, capture_output=True, text=True, check=True, timeout=170).stdout.splitlines()
    if len(answers) != len(asked):
        sys.exit(f"{len(answers)} answers to {len(asked)} questions")
    different, compared, due, none, left_out = [], 0, 0, 0, 0
    for (text, zone, after), answer in zip(asked, answers):
        expected = theirs(text, zone, after)
        if isinstance(expected, str):  # never due, as 30 February, or no expression: so it must be to us
            none += 1
            if answer and not answer.startswith("error"):
                different.append((text, zone, after, answer, expected))
            continue
        ours = answer if answer.startswith("error") else [int(word) for word in answer.split()]
        if zone != "UTC" and not isinstance(ours, str) and ours:
            end = min(ours[-1], expected[-1])
            kept = [[at for at in each if at <= end and not near_a_change(zone, at)] for each in (ours, expected)]
            left_out += len(ours) - len(kept[0])
            ours, expected = kept
        compared += 1
        due += len(expected)
        if ours != expected:
            different.append((text, zone, after, ours, expected))
    for text, zone, after, ours, expected in different[:10]:
        print(f"{text!r} in {zone} after {after}:\n  ours     {ours}\n  croniter {expected}", file=sys.stderr)
    print(f"schedule: {compared} expressions and {due} due times compared with croniter, {none} never due or refused by both, {left_out} due "
          f"times near a change of the clock left out, {len(different)} differences")
    return 1 if different or compared < EXPRESSIONS * .9 else 0


if __name__ == "__main__":
    sys.exit(main())

"""Restore drills: a pipeline is backed up, lost in part or as a whole, and brought back, and nothing of its history is missing."""

import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent / "lib"))
from harness import check  # noqa: E402
from migrate import At, cloud_file, history, with_history  # noqa: E402
from remote import with_servers  # noqa: E402

STORES = ("landing", "lake", "index", "catalog.db", "catalog.db-wal", "catalog.db-shm", "catalog.db.lock", ".px")


def lose(home, names=STORES):
    for name in names:
        path = home.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def tree(folder):
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(home, code, words, *arguments):
    done = home.run(*arguments)
    check(done.returncode == code, f"px {arguments}: exit {done.returncode}, not {code}: {done.stderr}")
    for word in words:
        check(word in done.stderr, f"px {arguments}: '{word}' is not in {done.stderr}")


def a_lost_pipeline_comes_back_with_its_history(px):
    home = with_history(px)
    before, answer = history(home), home.json("ask", "What stored pallets?")
    made = home.json("backup", "saved/one")
    backup = home.folder / "saved/one"
    check(made["releases"] == 3 and made["files"] == len(tree(backup)) - 2, str(made))
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=backup, check=True)
    home.run("backup", "saved/one", expect=99)
    home.run("backup", "--verify", "saved/one", expect=0)
    saved = tree(backup)

    lose(home)
    restored = home.json("restore", "saved/one")
    check(restored["release"] == 3 and restored["copied"] > 0, str(restored))
    after = history(home)
    for part, told in before.items():
        check(after[part] == told, f"{part} differs:\n{str(told)[:500]}\n{str(after[part])[:500]}")
    home.run("verify", "-", expect=0, stdin=json.dumps(answer))
    check(tree(backup) == saved, "restoring changed the backup")
    home.run("run", "--ds", "2026-11-22", expect=99)

    # Once more brings nothing; damage of single files is mended; work goes on.
    check(home.json("restore", "saved/one")["copied"] == 0, "a second restore brought something")
    parts = sorted((home.folder / "lake").rglob("*.parquet"))
    parts[0].unlink()
    parts[1].chmod(0o644)
    parts[1].write_bytes(bytes(len(parts[1].read_bytes())))
    next(p for p in (home.folder / "index").rglob("*") if p.is_file()).unlink()
    mended = home.json("restore", "saved/one")
    check(mended["copied"] == 3 and mended["catalog_was_there"], str(mended))
    check(history(home) == before, "the mended pipeline answers otherwise")
    home.write("data/items.jsonl", '{"sku": "C", "price": 9}\n')
    home.run("run", "--ds", "2026-11-23", expect=0)

    # The next backup shares what did not change, and the older one stays what it was.
    refused(home, 1, ["release 3", "--base"], "backup", "saved/one")
    grown = home.json("backup", "saved/two", "--base", "saved/one")
    check(grown["linked"] > grown["copied"] > 0, str(grown))
    shared = [p for p in (home.folder / "saved/two").rglob("*") if p.is_file() and p.stat().st_nlink == 2]
    check(len(shared) == grown["linked"], f"{len(shared)} shared, {grown['linked']} told")
    shutil.rmtree(backup)
    home.run("backup", "--verify", "saved/two", expect=0)
    now = history(home)
    lose(home)
    home.run("restore", "saved/two", expect=0)
    check(history(home) == now, "the second backup brings another history")
    home.remove()


def killed_anywhere_both_go_on(px):
    home = with_history(px)
    expected, dice = history(home), random.Random(8)
    steps = home.folder / "steps"
    home.run("backup", "calm", expect=0, env={"PX_TEST_STEPS": str(steps)})
    labels = steps.read_text().split()
    calm = {name: digest for name, digest in tree(home.folder / "calm").items() if name not in ("backup.json", "SHA256SUMS", "catalog.db")}
    for number, (label, moment) in enumerate([(label, 0) for label in labels] + [(None, dice.uniform(0.02, 0.5)) for _ in range(6)]):
        folder = f"killed{number}"
        killed(home, label, moment, "backup", folder)
        if label and label != "backup.end":
            refused(home, 1, ["not finished"], "restore", folder)
        home.run("backup", folder, expect=(0, 99))
        home.run("backup", "--verify", folder, expect=0)
        found = tree(home.folder / folder)
        differs = [name for name in calm.keys() | found.keys() if calm.get(name) != found.get(name)]
        check(sorted(differs) == ["SHA256SUMS", "backup.json", "catalog.db"], f"{label} {moment}: {differs}")
    steps.unlink()
    lose(home)
    home.run("restore", "calm", expect=0, env={"PX_TEST_STEPS": str(steps)})
    labels = steps.read_text().split()
    for label, moment in [(label, 0) for label in labels] + [(None, dice.uniform(0.02, 0.5)) for _ in range(6)]:
        lose(home)
        killed(home, label, moment, "restore", "calm")
        # Until it is whole it serves nothing.
        if label and label not in ("restore.verified", "migrate.begin", "migrate.catalog.end", "migrate.end", "restore.end"):
            refused(home, 4, ["has not finished"], "run", "--ds", "2026-11-30")
        home.run("restore", "calm", expect=0)
        check(history(home) == expected, f"{label} {moment}: another history")
    home.remove()


def killed(home, label, moment, *words):
    if label:
        home.run(*words, expect=-9, env={"PX_TEST_KILL_AT": label})
        return
    process = subprocess.Popen([home.px, *words], cwd=home.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.wait()


def a_bad_backup_or_place_is_refused_before_anything_is_written(px):
    home = with_history(px)
    refused(home, 1, ["there is no backup at", "px backup"], "restore", "nowhere")
    home.run("backup", "good", expect=0)
    for place in ("lake/backup", "index", "landing/x/y"):
        refused(home, 2, ["to be a backup of"], "backup", place)
    home.write("mine/thesis.txt", "my only copy")
    refused(home, 1, ["no backup"], "backup", "mine")
    refused(home, 1, ["no backup"], "restore", "mine")
    state = tree(home.folder / "lake")
    part = next((home.folder / "good/lake").rglob("*.parquet"))
    bytes_of_part = part.read_bytes()
    part.chmod(0o644)
    part.write_bytes(bytes_of_part[:-1] + bytes([bytes_of_part[-1] ^ 1]))
    lose(home, ("index",))
    refused(home, 1, ["is damaged", part.name, "Use another backup"], "restore", "good")
    refused(home, 1, ["is damaged", part.name], "backup", "--verify", "good")
    check(not (home.folder / "index").exists() and tree(home.folder / "lake") == state, "a damaged backup was brought back")
    part.write_bytes(bytes_of_part)
    # Another pipeline's, and one that went on.
    text = (home.folder / "pipeline.yaml").read_text()
    home.write("other.yaml", text.replace("pipeline: small", "pipeline: other"))
    refused(home, 2, ["of pipeline small"], "--file", "other.yaml", "restore", "good")
    home.run("restore", "good", expect=0)
    home.write("data/items.jsonl", '{"sku": "D", "price": 3}\n')
    home.run("run", "--ds", "2026-11-24", expect=0)
    refused(home, 1, ["other releases", "empty place"], "restore", "good")
    check(home.json("releases", "--limit", "1")[0]["id"] == 4, "a refused restore changed the releases")
    # Without a pipeline file, the backup's own is named.
    empty = home.folder / "empty"
    empty.mkdir()
    done = subprocess.run([home.px, "restore", "../good"], cwd=empty, capture_output=True, text=True, check=False)
    check(done.returncode == 2 and "good/pipeline.yaml" in done.stderr, done.stderr)
    shutil.copy(home.folder / "good/pipeline.yaml", empty)
    subprocess.run([home.px, "restore", "../good"], cwd=empty, check=True, capture_output=True)
    check((os.stat(home.folder / "good").st_mode & 0o777) == 0o700, "others may read a backup")
    home.remove()


def a_pipeline_in_the_cloud_is_saved_to_a_folder_and_brought_back(px):
    home = with_history(px)
    cloud = At(home, cloud_file(home, "saved"))
    home.run("migrate", "--to", cloud.file, expect=0)
    before = history(cloud)
    cloud.run("backup", "copy", expect=0)
    again = At(home, cloud_file(home, "again"))
    again.run("restore", "copy", expect=0)
    check(history(again) == before, "another history in the cloud")
    again.run("run", "--ds", "2026-11-22", expect=99)
    # And without the cloud.
    lose(home)
    home.run("restore", "copy", expect=0)
    check(history(home) == before, "another history at home")
    home.remove()


if __name__ == "__main__":
    with_servers([a_lost_pipeline_comes_back_with_its_history, killed_anywhere_both_go_on,
                  a_bad_backup_or_place_is_refused_before_anything_is_written, a_pipeline_in_the_cloud_is_saved_to_a_folder_and_brought_back])

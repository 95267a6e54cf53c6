"""What a loss of power leaves: reads the log of disk.c, and lays out a folder as it may be found when the machine is back.

The model promises what POSIX promises and no more:
- bytes of a file are safe once the file was fsynced after they were written; until then each write may be lost, kept, torn at a sector, or be
  zeros where the file had grown;
- a name (created, linked, renamed, removed) is safe once its folder was fsynced after it; until then it may be there or not, whatever came
  after it; fsync of the file does not help; a rename happens or not, in both of its folders;
- what nobody synced may just as well have reached the disk.
What is lost is drawn from the seed. Bytes written through a mapping are lost, always.
"""

import os
import pathlib
import random
import struct

ENTRY = struct.Struct("<IIIIQq")
OPEN, WRITE, TRUNCATE, SYNC, RENAME, LINK, UNLINK, MKDIR, RMDIR, MAP, SYNC_ALL, FAILED = range(1, 13)
NAMES = "? open write truncate sync rename link unlink mkdir rmdir map sync-all failed".split()
SECTOR = 512
PAGE = 4096


def read_log(path):
    """[(operation, path, other path, bytes, inode, offset)] in their order; an entry that was cut off by a kill is left out."""
    data, entries, at = pathlib.Path(path).read_bytes(), [], 0
    while at + ENTRY.size <= len(data):
        operation, name, other, size, inode, where = ENTRY.unpack_from(data, at)
        end = at + ENTRY.size + name + other + size
        if end > len(data):
            break
        at += ENTRY.size
        entries.append((operation, data[at:at + name].decode(), data[at + name:at + name + other].decode(), data[at + name + other:end], inode, where))
        at = end
    return entries


class File:
    """Bytes that are safe, and what was done since: (offset, bytes) or (size, None)."""

    def __init__(self, source=None):
        self.source = source  # a file outside that holds the safe bytes, while nothing was written
        self.durable = None if source else b""
        self.pending = []

    def safe_bytes(self):
        if self.durable is None:
            self.durable = self.source.read_bytes()
        return self.durable

    @staticmethod
    def after(data, changes):
        data = bytearray(data)
        for at, new in changes:
            if new is None:
                data = data[:at] + bytes(max(0, at - len(data)))
            else:
                data += bytes(max(0, at - len(data)))
                data[at:at + len(new)] = new
        return bytes(data)

    def sync(self):
        if self.pending:
            self.durable = self.after(self.safe_bytes(), self.pending)
            self.pending = []

    def all_bytes(self):
        return self.after(self.safe_bytes(), self.pending)

    def left(self, chance, policy):
        """The bytes found after the loss."""
        if not self.pending:
            return self.safe_bytes()
        how = chance.choice(("none", "all", "prefix", "pages", "zeros")) if policy == "any" else policy
        if how == "none":
            return self.safe_bytes()
        if how == "all":
            return self.all_bytes()
        if how == "prefix":
            kept = chance.randrange(len(self.pending) + 1)
            changes = self.pending[:kept]
            if kept < len(self.pending) and self.pending[kept][1] is not None:
                at, new = self.pending[kept]
                changes.append((at, new[:chance.randrange(len(new) // SECTOR + 1) * SECTOR]))
            return self.after(self.safe_bytes(), changes)
        if how == "pages":
            changes = []
            for at, new in self.pending:
                if new is None:
                    changes += [(at, None)] if chance.random() < 0.5 else []
                    continue
                for page in range(0, len(new), PAGE):
                    if chance.random() < 0.5:
                        changes.append((at + page, new[page:page + PAGE]))
            return self.after(self.safe_bytes(), changes)
        # The size is there, the bytes are not.
        safe = self.safe_bytes()
        size = len(self.all_bytes())
        return safe[:size] + bytes(max(0, size - len(safe)))


class Folder:
    """Names that are safe: name → (sequence, what), what None when it was removed; and the names as they are."""

    def __init__(self):
        self.durable = {}
        self.now = {}
        self.pending = []  # Changes, in their order


class Change:
    """One change of names, in one folder or two; it happens as a whole or not at all."""

    def __init__(self, sequence, parts):
        self.sequence, self.parts, self.settled = sequence, parts, False  # parts: [(folder, name, what)]

    def settle(self):
        if not self.settled:
            self.settled = True
            apply(self, lambda folder: folder.durable)


def apply(change, names_of):
    for folder, name, what in change.parts:
        names = names_of(folder)
        if names.get(name, (-1, None))[0] < change.sequence:
            names[name] = (change.sequence, what)


class Disk:
    """A folder that is safe as it stands, and the operations that follow."""

    def __init__(self, base):
        self.sequence = 0
        self.inodes = {}
        self.top = self.load(pathlib.Path(base))

    def load(self, path):
        folder = Folder()
        for entry in sorted(path.iterdir()):
            what = self.load(entry) if entry.is_dir() else File(entry)
            folder.now[entry.name] = what
            folder.durable[entry.name] = (0, what)
        return folder

    def find(self, path):
        node = self.top
        for part in filter(None, path.split("/")):
            node = node.now.get(part) if isinstance(node, Folder) else None
        return node

    def parent(self, path):
        head, _, name = path.rpartition("/")
        folder = self.find(head)
        assert isinstance(folder, Folder), f"no folder for {path}"
        return folder, name

    def change(self, *parts):
        self.sequence += 1
        change = Change(self.sequence, parts)
        for folder, name, what in parts:
            if what is None:
                folder.now.pop(name, None)
            else:
                folder.now[name] = what
            if change not in folder.pending:
                folder.pending.append(change)

    def do(self, entry):
        operation, path, other, data, inode, at = entry
        if operation == OPEN:
            if at & os.O_TMPFILE == os.O_TMPFILE:
                self.inodes[inode] = File()
                return
            file = self.find(path)
            if file is None:
                file = File()
                folder, name = self.parent(path)
                self.change((folder, name, file))
            elif at & os.O_TRUNC and file.all_bytes():
                file.pending.append((0, None))
            self.inodes[inode] = file
        elif operation == WRITE:
            self.inodes[inode].pending.append((at, data))
        elif operation == TRUNCATE:
            self.inodes[inode].pending.append((at, None))
        elif operation == SYNC:
            node = self.find(path)
            if isinstance(node, Folder):
                for change in node.pending:
                    change.settle()
                node.pending = []
            elif inode in self.inodes:
                self.inodes[inode].sync()
        elif operation == RENAME:
            what = self.find(path)
            (source, old), (target, new) = self.parent(path), self.parent(other)
            if self.find(other) is not what:
                self.change((source, old, None), (target, new, what))
        elif operation == LINK:
            folder, name = self.parent(path)
            self.change((folder, name, self.inodes[inode]))
        elif operation in (UNLINK, RMDIR):
            folder, name = self.parent(path)
            self.change((folder, name, None))
        elif operation == MKDIR:
            folder, name = self.parent(path)
            self.change((folder, name, Folder()))

    def lay_out(self, target, seed=None, policy="any"):
        """Writes the folder as found after the loss. policy: of what is not safe, keep none, all, any (by the seed), or the names alone
        ("names": as a file system does that writes its journal before its data)."""
        chance = random.Random(seed)
        folders, files, happened = {}, {}, {}

        def happens(change):
            if change not in happened:
                happened[change] = {"none": False, "all": True, "names": True}.get(policy, chance.random() < 0.5)
            return happened[change]

        def names(folder):
            if folder not in folders:
                found = dict(folder.durable)
                for change in folder.pending:
                    if not change.settled and happens(change):
                        for where, name, what in change.parts:
                            if where is folder and found.get(name, (-1, None))[0] < change.sequence:
                                found[name] = (change.sequence, what)
                folders[folder] = {name: what for name, (_, what) in sorted(found.items()) if what is not None}
            return folders[folder]

        def write(folder, path):
            path.mkdir(parents=True, exist_ok=True)
            for name, what in names(folder).items():
                if isinstance(what, Folder):
                    write(what, path / name)
                elif what in files:
                    os.link(files[what], path / name)
                elif what.source and what.durable is None and not what.pending and what.source.stat().st_size > 1 << 20:
                    os.link(what.source, path / name)  # large and untouched: no copy
                    files[what] = path / name
                else:
                    (path / name).write_bytes(what.left(chance, {"names": chance.choice(("none", "zeros"))}.get(policy, policy)))
                    files[what] = path / name

        write(self.top, pathlib.Path(target))


def describe(entry):
    operation, path, other, data, _, at = entry
    more = f" → {other}" if other else f" {len(data)} bytes at {at}" if operation == WRITE else ""
    return f"{NAMES[operation]} {path or '.'}{more}"

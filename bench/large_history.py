"""A repository of many files and commits, as one pack of a bare repository: large_history.py FOLDER FILES COMMITS

The first commit has all files, a hundred in each folder; every later one changes one file, and neighbours change far folders. `git fast-import` looks for
each path among all folders, one after the other, which takes a quarter of an hour for a million files; this takes a minute.
"""

import hashlib
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import BinaryIO

COMMIT, TREE, BLOB, DELTA = 1, 2, 3, 6
PER_FOLDER = 100
STEP = 7919  # prime
CHAIN = 50  # deltas in a row
ENTRY = 33  # bytes of a folder in the root: mode, a name of five characters, id
FILE_ENTRY = 40  # of a file in its folder: mode, a name of twelve, id


class Pack:
    def __init__(self, out: BinaryIO, count: int) -> None:
        self.out, self.at, self.sum = out, 0, hashlib.sha1()
        self.write(b"PACK" + struct.pack(">II", 2, count))

    def write(self, data: bytes) -> None:
        self.sum.update(data)
        self.out.write(data)
        self.at += len(data)

    def entry(self, kind: int, data: bytes, base: int = 0) -> int:
        """Where it begins. `base` is where that of a delta does."""
        begin, size, low = self.at, len(data) >> 4, len(data) & 15
        head = bytearray([kind << 4 | low])
        while size:
            head[-1] |= 0x80
            head.append(size & 0x7F)
            size >>= 7
        if kind == DELTA:
            head += distance(begin - base)
        self.write(bytes(head) + zlib.compress(data, 1))
        return begin

    def close(self) -> None:
        self.out.write(self.sum.digest())


def distance(value: int) -> bytes:
    out = [value & 0x7F]
    while value := value >> 7:
        value -= 1
        out.append(0x80 | (value & 0x7F))
    return bytes(reversed(out))


def number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | (value & 0x7F))
        value >>= 7
    return bytes([*out, value])


def copy(offset: int, size: int) -> bytes:
    """Copy instructions of a delta."""
    out = bytearray()
    while size:
        part = min(size, 0xFFFF)
        out += b"\xbf" + struct.pack("<I", offset) + struct.pack("<H", part)
        offset, size = offset + part, size - part
    return bytes(out)


def delta(size: int, at: int, oid: bytes) -> bytes:
    """The same bytes, but for the id at `at`."""
    return number(size) * 2 + copy(0, at) + bytes([20]) + oid + copy(at + 20, size - at - 20)


def name_of(kind: bytes, data: bytes) -> bytes:
    return hashlib.sha1(b"%s %d\0" % (kind, len(data)) + data).digest()


def content(file: int, version: int) -> bytes:
    return b"file %d version %d\n" % (file, version) * 8


class History:
    def __init__(self, pack: Pack, files: int) -> None:
        self.pack, self.files, self.parent = pack, files, b""
        self.folders = [self._folder(first) for first in range(0, files, PER_FOLDER)]
        self.root = bytearray(b"".join(b"40000 d%05d\0" % at + name_of(b"tree", data) for at, data in enumerate(self.folders)))
        for data in self.folders:
            pack.entry(TREE, data)
        self.root_at, self.chain = pack.entry(TREE, self.root), 0

    def _folder(self, first: int) -> bytearray:
        data = bytearray()
        for file in range(first, first + PER_FOLDER):
            blob = content(file, 0)
            self.pack.entry(BLOB, blob)
            data += b"100644 f%07d.txt\0" % file + name_of(b"blob", blob)
        return data

    def change(self, file: int, version: int) -> None:
        blob, folder = content(file, version), self.folders[file // PER_FOLDER]
        self.pack.entry(BLOB, blob)
        folder[(file % PER_FOLDER + 1) * FILE_ENTRY - 20 : (file % PER_FOLDER + 1) * FILE_ENTRY] = name_of(b"blob", blob)
        self.pack.entry(TREE, folder)
        at, oid = (file // PER_FOLDER + 1) * ENTRY - 20, name_of(b"tree", folder)
        self.root[at : at + 20] = oid
        self.chain = (self.chain + 1) % CHAIN
        if self.chain:
            self.root_at = self.pack.entry(DELTA, delta(len(self.root), at, oid), self.root_at)
        else:
            self.root_at = self.pack.entry(TREE, self.root)

    def commit(self, number: int) -> None:
        who = b"Scale <scale@example.org> %d +0000" % (1_700_000_000 + number)
        parent = b"parent %s\n" % self.parent if self.parent else b""
        tree = name_of(b"tree", self.root).hex().encode()
        data = b"tree %s\n%sauthor %s\ncommitter %s\n\ncommit %d\n" % (tree, parent, who, who, number)
        self.pack.entry(COMMIT, data)
        self.parent = name_of(b"commit", data).hex().encode()


def main(folder: Path, files: int, commits: int) -> None:
    subprocess.run(["git", "init", "-q", "--bare", folder], check=True)
    path = folder / "new.pack"
    with path.open("wb", 1 << 20) as out:
        pack = Pack(out, files + files // PER_FOLDER + 2 + commits * 4)
        history = History(pack, files)
        history.commit(0)
        for index in range(1, commits + 1):
            history.change(index * STEP % files, index)
            history.commit(index)
        pack.close()
    with path.open("rb") as file:
        subprocess.run(["git", "-C", folder, "index-pack", "--stdin"], stdin=file, check=True, stdout=subprocess.DEVNULL)
    path.unlink()
    for command in (["update-ref", "refs/heads/main", history.parent.decode()], ["symbolic-ref", "HEAD", "refs/heads/main"]):
        subprocess.run(["git", "-C", folder, *command], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

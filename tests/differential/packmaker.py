"""Packs by dice: objects that are legal or a little off, entries whole and as deltas of every kind, and packs with something broken."""

import hashlib
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from gitserver.objects.entries import OFS_DELTA, REF_DELTA
from gitserver.objects.pack_writer import pack_entry
from gitserver.objects.store import Kind, RawObject, object_id
from tests.differential.oddities import ATTRIBUTES, MODES, MODULES, NASTY_MODES, NASTY_NAMES, NASTY_WORDS

PERSON = b"A U Thor <a@example.com> 1700000000 +0100"


@dataclass
class Maker:
    """Objects that know each other. `stored` are those of the repository already; `made` those of the pack."""

    dice: random.Random
    stored: dict[bytes, RawObject] = field(default_factory=dict)
    made: dict[bytes, RawObject] = field(default_factory=dict)
    is_plain: bool = False  # nothing that fsck looks at twice
    wrong: float = 0.0  # how often an object is made with a fault

    def fill(self, count: int) -> None:
        makers = (self.blob, self.blob, self.tree, self.tree, self.commit, self.commit, self.tag)
        self.blob(), self.tree(), self.commit()
        for _ in range(count):
            self.dice.choice(makers)()

    def add(self, kind: Kind, data: bytes) -> bytes:
        if kind is not Kind.BLOB and self.dice.random() < self.wrong:
            data = self._spoiled(data)
        oid = object_id(kind, data)
        if oid not in self.stored:
            self.made[oid] = RawObject(kind, data)
        return oid

    def blob(self) -> bytes:
        dice = self.dice
        if not self.is_plain and dice.random() < 0.2:
            return self.add(Kind.BLOB, dice.choice((*MODULES, *ATTRIBUTES)))
        lines = [b"line %d" % n for n in range(dice.choice((0, 1, 20, 200)))]
        return self.add(Kind.BLOB, b"\n".join([*lines, dice.randbytes(dice.choice((0, 4, 40)))]))

    def tree(self) -> bytes:
        dice, entries = self.dice, {}
        for _ in range(dice.choice((0, 1, 3, 8))):
            mode = dice.choice(MODES)
            kind = Kind.TREE if mode == b"40000" else Kind.BLOB
            name = dice.choice((b"a", b"b", b"a.b", b"a0", b"c d", b"dir", b".gitmodules", b".gitattributes", b"\xc3\xa9", b".gitx"))
            target = dice.randbytes(20) if mode == b"160000" else self.some(kind)
            is_control = name in (b".gitmodules", b".gitattributes")
            if not (is_control and mode not in (b"100644", b"100755")) or dice.random() < self.wrong * 0.3:
                entries[name] = (mode, name, target)
        listed = sorted(entries.values(), key=lambda entry: entry[1] + (b"/" if entry[0] == b"40000" else b""))
        if dice.random() < self.wrong:
            listed = self._odd_entries(listed)
        return self.add(Kind.TREE, b"".join(mode + b" " + name + b"\0" + oid for mode, name, oid in listed))

    def commit(self) -> bytes:
        dice = self.dice
        parents = [self.some(Kind.COMMIT) for _ in range(dice.choice((0, 1, 1, 2, 5)) if self._has(Kind.COMMIT) else 0)]
        lines = [b"tree " + self.some(Kind.TREE).hex().encode(), *(b"parent " + oid.hex().encode() for oid in parents)]
        lines += [b"author " + PERSON, b"committer " + PERSON]
        lines += dice.choice(([], [], [b"encoding latin1"], [b"gpgsig -----BEGIN\n abc\n -----END"], [b"mergetag object x\n type commit"]))
        return self.add(Kind.COMMIT, b"\n".join([*lines, b"", dice.randbytes(6).hex().encode(), b""]))

    def tag(self) -> bytes:
        oid = self.some(self.dice.choice(list(Kind)) if self._has(Kind.TAG) else Kind.COMMIT)
        known = self.made.get(oid) or self.stored.get(oid)
        kind = known.kind.text if known else b"commit"
        lines = [b"object " + oid.hex().encode(), b"type " + kind, b"tag v%d" % self.dice.randrange(99)]
        lines += [b"tagger " + PERSON] if self.dice.random() < 0.9 else []
        return self.add(Kind.TAG, b"\n".join([*lines, b"", b"message", b""]))

    def some(self, kind: Kind) -> bytes:
        """One of that kind; now and then, where faults are wanted, any other or none at all."""
        if self.dice.random() < self.wrong * 0.1:
            return self.dice.choice((bytes(20), self.dice.randbytes(20), *self.made))
        found = [oid for oid, raw in (self.stored | self.made).items() if raw.kind is kind]
        if found:
            return self.dice.choice(found)
        return {Kind.BLOB: self.blob, Kind.TREE: self.tree, Kind.COMMIT: self.commit, Kind.TAG: self.tag}[kind]()

    def _has(self, kind: Kind) -> bool:
        return any(raw.kind is kind for raw in (self.stored | self.made).values())

    def _odd_entries(self, entries: "list[tuple[bytes, bytes, bytes]]") -> "list[tuple[bytes, bytes, bytes]]":
        dice = self.dice
        mode, name, oid = dice.choice(entries) if entries else (b"100644", b"f", self.some(Kind.BLOB))
        new = dice.choice(
            (
                (mode, dice.choice(NASTY_NAMES), oid),
                (mode, dice.choice(NASTY_NAMES), oid),
                (dice.choice(NASTY_MODES), name, oid),
                (dice.choice(MODES), name, oid),
                (mode, name, bytes(20)),
            )
        )
        changed = [*(entry for entry in entries if entry[1] != name or dice.random() < 0.2), new]
        if dice.random() < 0.8:
            changed.sort(key=lambda entry: entry[1] + (b"/" if entry[0] == b"40000" else b""))
        return changed

    def _spoiled(self, data: bytes) -> bytes:
        dice = self.dice
        at, to = sorted((dice.randrange(len(data) + 1), dice.randrange(len(data) + 1)))
        lines = data.split(b"\n")
        one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
        swapped = [*lines]
        swapped[one], swapped[other] = swapped[other], swapped[one]
        words = data.split(b" ")
        place = dice.randrange(len(words))
        choices: tuple[Callable[[], bytes], ...] = (
            lambda: data[:at] + dice.choice(NASTY_WORDS) + data[at:],
            lambda: b" ".join([*words[:place], dice.choice(NASTY_WORDS), *words[place + 1 :]]),
            lambda: b" ".join([*words[:place], dice.choice(NASTY_WORDS) + words[place], *words[place + 1 :]]),
            lambda: data[:at] + data[min(to, at + 5) :],
            lambda: data[:at],
            lambda: b"\n".join(swapped),
            lambda: b"\n".join([*lines[:one], lines[one], *lines[one:]]),
            lambda: b"\n".join([*lines[:one], *lines[one + 1 :]]),
            lambda: data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :],
        )
        return dice.choice(choices)()


@dataclass
class Packer:
    """Writes a pack of what a Maker made. Each fault has its chance `broken`."""

    maker: Maker
    broken: float
    body: bytearray = field(default_factory=bytearray)
    offsets: dict[bytes, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def pack(self) -> bytes:
        dice = self.maker.dice
        oids = list(self.maker.made)
        dice.shuffle(oids)
        self.body += b"PACK" + struct.pack(">II", dice.choice((2, 2, 2, 3)), 0)
        for oid in oids:
            self._entry(oid)
        count = len(oids)
        if self._is("twice"):
            self._entry(dice.choice(oids))
            count += 1
        if self._is("left out"):
            count -= 1
        if self._is("too many"):
            count += dice.choice((1, 255, 1 << 31))
        self.body[8:12] = struct.pack(">I", count & 0xFFFFFFFF)
        return self._ended(bytes(self.body))

    def _ended(self, body: bytes) -> bytes:
        dice = self.maker.dice
        if self._is("flipped"):
            changed = bytearray(body)
            for _ in range(dice.choice((1, 1, 3))):
                changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
            body = bytes(changed)
        if self._is("cut"):
            body = body[: dice.randrange(len(body))]
        if self._is("rest"):
            body += dice.randbytes(dice.choice((1, 20, 100)))
        data = body + hashlib.sha1(body, usedforsecurity=False).digest()
        if self._is("trailer"):
            data = data[: -dice.choice((1, 20))] + bytes(dice.choice((0, 1, 20)))
        return data

    def _is(self, fault: str) -> bool:
        if self.maker.dice.random() < self.broken:
            self.faults.append(fault)
            return True
        return False

    def _entry(self, oid: bytes) -> None:
        raw = self.maker.made[oid]
        dice = self.maker.dice
        start = len(self.body)
        bases = [base for base, other in self.maker.made.items() if other.kind is raw.kind and base in self.offsets and base != oid]
        outside = [base for base, other in self.maker.stored.items() if other.kind is raw.kind]
        way = dice.random()
        if bases and way < 0.3:
            base = dice.choice(bases)
            distance = start - self.offsets[base]
            if self._is("distance"):
                distance += dice.choice((-1, 1, start, 1 << 40))
            self._delta(OFS_DELTA, _distance(max(distance, 0)), self.maker.made[base].data, raw.data)
        elif (bases or outside) and way < 0.5:
            base = dice.choice([*bases, *outside])
            raw_base = self.maker.made.get(base) or self.maker.stored[base]
            named = dice.randbytes(20) if self._is("base") else oid if self._is("itself") else base
            self._delta(REF_DELTA, named, raw_base.data, raw.data)
        else:
            kind = dice.choice((0, 5, *(other for other in Kind))) if self._is("type") else int(raw.kind)
            size = len(raw.data) + (dice.choice((-1, 1, 1 << 20)) if self._is("size") else 0)
            self.body += (
                pack_entry(raw) if (kind, size) == (raw.kind, len(raw.data)) else _head(kind, max(size, 0)) + zlib.compress(raw.data)
            )
        self.offsets[oid] = start

    def _delta(self, kind: int, base: bytes, old: bytes, new: bytes) -> None:
        dice = self.maker.dice
        delta = bytearray(_number(len(old) + (dice.choice((-1, 1)) if self._is("old size") else 0)))
        delta += _number(len(new) + (dice.choice((-1, 1, 1 << 30)) if self._is("new size") else 0))
        same = next((n for n, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), min(len(old), len(new)))
        same = min(same, 0xFFFF)
        if same:
            delta += bytes((0x80 | 0x10 | 0x20, same & 255, same >> 8))
        for at in range(same, len(new), 127):
            piece = new[at : at + 127]
            delta += bytes((len(piece),)) + piece
        if self._is("opcode"):
            at = dice.randrange(len(delta) + 1)
            delta[at:at] = dice.choice((b"\0", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\x90\x00", b"\x05ab", b"\x80"))
        if self._is("short delta"):
            del delta[dice.randrange(len(delta)) :]
        self.body += _head(kind, len(delta)) + base + zlib.compress(bytes(delta))


def _head(kind: int, size: int) -> bytes:
    out = bytearray([kind << 4 | size & 15])
    size >>= 4
    while size:
        out[-1] |= 0x80
        out.append(size & 0x7F)
        size >>= 7
    return bytes(out)


def _number(value: int) -> bytes:
    value = max(value, 0)
    out = bytearray([value & 0x7F])
    while value := value >> 7:
        out[-1] |= 0x80
        out.append(value & 0x7F)
    return bytes(out)


def _distance(value: int) -> bytes:
    out = [value & 0x7F]
    while value := value >> 7:
        value -= 1
        out.append(0x80 | value & 0x7F)
    return bytes(reversed(out))

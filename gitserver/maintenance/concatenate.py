"""One pack made of several: every object once, compressed bytes copied as they are, deltas only onto objects of the same pack.

An object that stands in several packs is taken from the first. Each is written after the base of its delta, so every delta becomes an
OFS_DELTA; where that would make a chain too long, the object is deflated anew as a whole.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dulwich.pack import write_pack_index_v2

from gitserver.objects.entries import OFS_DELTA, EntryHeader, entry_header, offset_bytes, read_entry_header
from gitserver.objects.pack_writer import pack_entry
from gitserver.objects.store import Objects
from storage.errors import Unavailable
from storage.packs import PackFile, StoredEntry
from storage.records import Oid, PackInfo

_DEPTH = 50  # git's own default
_TRAILER = 20


@dataclass(frozen=True, slots=True)
class SourcePack:
    """A stored pack and its whole index, in pack order."""

    pack: PackFile
    entries: Sequence[StoredEntry]


def write_joined(objects: Objects, sources: Sequence[SourcePack], pack: Path) -> PackInfo:
    """Write the pack of all objects of `sources`, and its index beside it. Raises Unavailable when a source is damaged."""
    joined = Joined(objects, sources)
    with pack.open("wb") as out:
        out.writelines(joined.pieces())
        size = out.tell()
    with pack.with_suffix(".idx").open("wb") as out:
        write_pack_index_v2(out, sorted(joined.rows), joined.trailer)
    return PackInfo(joined.trailer.hex(), len(joined.rows), size)


class Joined:
    """The new pack as a stream; afterwards `rows` are those of its index, and `trailer` is its checksum."""

    def __init__(self, objects: Objects, sources: Sequence[SourcePack]) -> None:
        self._objects = objects
        self._sources = sources
        self._offsets: dict[Oid, int] = {}
        self._depths: dict[Oid, int] = {}  # of deltas
        self.rows: list[tuple[Oid, int, int]] = []
        self.trailer = b""

    def pieces(self) -> Iterator[bytes]:
        total = len({entry.oid for source in self._sources for entry in source.entries})
        head = b"PACK" + struct.pack(">II", 2, total)
        digest = hashlib.sha1(head, usedforsecurity=False)
        position = len(head)
        yield head
        for source in self._sources:
            part = _Part(source)
            for entry in source.entries:
                for task in self._tasks(part, entry.oid):
                    piece = self._entry(part, task, position)
                    self._offsets[task.entry.oid] = position
                    self.rows.append((task.entry.oid, position, zlib.crc32(piece)))
                    digest.update(piece)
                    position += len(piece)
                    yield piece
        self.trailer = digest.digest()
        yield self.trailer

    def _tasks(self, part: "_Part", oid: Oid) -> "Iterator[_Task]":
        """What is to be written for `oid`: nothing if it is here already, else first the bases that it needs."""
        if oid in self._offsets:
            return
        pending = [part.task(oid)]
        while pending:
            base = pending[-1].base
            if base is None or base in self._offsets:
                yield pending.pop()
            elif len(pending) > len(part.entries):
                raise part.damage(pending[-1].entry.offset)
            else:
                pending.append(part.task(base))

    def _entry(self, part: "_Part", task: "_Task", position: int) -> bytes:
        entry = task.entry
        stored = bytes(part.data[entry.offset : part.ends[entry.offset]])
        if zlib.crc32(stored) != entry.crc:
            raise part.damage(entry.offset)
        if task.head is None or task.base is None:
            return stored
        depth = self._depths.get(task.base, 0) + 1
        if depth > _DEPTH:
            return pack_entry(self._objects.get(entry.oid))
        self._depths[entry.oid] = depth
        head = entry_header(OFS_DELTA, task.head.size) + offset_bytes(position - self._offsets[task.base])
        return head + stored[task.head.data_offset - entry.offset :]


class _Task(NamedTuple):
    """An entry to write; for a delta its header and the id of its base."""

    entry: StoredEntry
    head: EntryHeader | None = None
    base: Oid | None = None


class _Part:
    """A source by ids and by offsets."""

    def __init__(self, source: SourcePack) -> None:
        self.data = source.pack.data
        self.entries = {entry.oid: entry for entry in source.entries}
        offsets = [entry.offset for entry in source.entries]
        self.ends = dict(zip(offsets, [*offsets[1:], len(self.data) - _TRAILER], strict=True))
        self._oids = {entry.offset: entry.oid for entry in source.entries}
        self._id = source.pack.info.id

    def task(self, oid: Oid) -> _Task:
        entry = self.entries.get(oid)
        if entry is None:
            raise self.damage(0)
        if (self.data[entry.offset] >> 4) & 7 < OFS_DELTA:
            return _Task(entry)
        head = read_entry_header(self.data, entry.offset)
        base = head.base_oid or self._oids.get(head.base_offset or 0)
        if base is None:
            raise self.damage(entry.offset)
        return _Task(entry, head, base)

    def damage(self, offset: int) -> Unavailable:
        return Unavailable(f"Pack {self._id} is damaged at {offset} and is not merged. Run kohakuhub admin check.")

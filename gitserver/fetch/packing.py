"""A pack for a client, copied from the stored packs: compressed entries go out as they are, in runs, never inflated.

A delta is kept when its base is sent too (or, in a thin pack, when the client has it); only the others are inflated and deflated anew.
Entries go pack by pack in the stored order. An object that stands in several packs is taken from the first, so that a delta whose
base was taken from another pack always points back: no cycles.
"""

import hashlib
import struct
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import compress
from typing import TypeAlias

from gitserver.fetch.objectset import ObjectSet
from gitserver.objects.entries import OFS_DELTA, REF_DELTA, EntryHeader, entry_header, offset_bytes, read_entry_header
from gitserver.objects.reachability import BY_ID, NOTHING, Reach
from gitserver.objects.store import Objects
from storage.errors import ObjectNotFound
from storage.packs import PackFile
from storage.records import Oid

Piece: TypeAlias = bytes | memoryview
_LEVEL = 3
_TRAILER = 20
_HEADER = 12
_MANY = 8  # an index is read as a whole when more than one in so many of its objects is looked up


@dataclass(frozen=True, slots=True)
class Rules:
    """What the client understands."""

    ofs_delta: bool
    thin: bool


class Packing:
    """The pack of `sent`, as a stream of pieces. `known` are objects that the client has."""

    def __init__(self, objects: Objects, sent: ObjectSet, known: ObjectSet, rules: Rules) -> None:
        self._objects = objects
        self._sent = sent
        self._known = known
        self._rules = rules
        self._hash = hashlib.sha1(usedforsecurity=False)
        self._position = 0
        self.total = len(sent)
        self.rewritten = 0
        singles = sent.others if rules.ofs_delta else set(sent)
        self._marked = sent.reach if rules.ofs_delta else None
        self._parts = [_Part(pack, places) for pack, places in _choose(objects, singles)]

    def pieces(self) -> Iterator[Piece]:
        yield self._count(b"PACK" + struct.pack(">II", 2, self.total))
        if self._marked is not None:
            for piece in self._large(self._marked):
                yield self._count(piece)
        for part in self._parts:
            for piece in self._part(part):
                yield self._count(piece)
        yield self._hash.digest()

    def _count(self, piece: Piece) -> Piece:
        self._hash.update(piece)
        self._position += len(piece)
        return piece

    def _large(self, reach: Reach) -> Iterator[Piece]:
        """What is marked in the large pack. Its table tells each entry's base, so that headers are not read."""
        marks, data = self._sent.marks, memoryview(reach.pack.data)
        if marks.count(1) == reach.size:
            yield data[_HEADER:-_TRAILER]
            return
        offsets, bases, kinds = reach.offsets, reach.bases, reach.kinds
        placed = array("Q", bytes(8 * reach.size))
        start = end = 0
        for position in compress(range(reach.size), marks):
            offset = offsets[position]
            if offset != end:
                if end > start:
                    yield data[start:end]
                start = end = offset
            placed[position] = self._position + offset - start
            base = bases[position]
            if base == NOTHING or (marks[base] and (kinds[position] & BY_ID or placed[position] - placed[base] == offset - offsets[base])):
                end = offsets[position + 1]
                continue
            if end > start:
                yield data[start:end]
            yield from self._rebased(reach, position, self._position - placed[base] if marks[base] else 0)
            start = end = offsets[position + 1]
        if end > start:
            yield data[start:end]

    def _rebased(self, reach: Reach, position: int, distance: int) -> Iterator[Piece]:
        """A delta of the large pack whose base lies at another distance now, or is not sent."""
        head = read_entry_header(reach.pack.data, reach.offsets[position])
        compressed = memoryview(reach.pack.data)[head.data_offset : reach.offsets[position + 1]]
        if distance:
            yield entry_header(OFS_DELTA, head.size) + offset_bytes(distance)
            yield compressed
        elif self._rules.thin and (base := reach.oid(reach.bases[position])) in self._known:
            yield entry_header(REF_DELTA, head.size) + base
            yield compressed
        else:
            self.rewritten += 1
            yield from _deflated(self._objects, reach.oid(position))

    def _part(self, part: "_Part") -> Iterator[Piece]:
        data = memoryview(part.pack.data)
        if part.is_whole and self._rules.ofs_delta:
            yield data[_HEADER:-_TRAILER]
            return
        run_start = run_end = 0
        for index, offset in enumerate(part.offsets):
            part.positions[index] = self._position + run_end - run_start
            change = self._change(part, index, offset)
            end = part.pack.end(offset)
            if change is None and offset == run_end:
                run_end = end
                continue
            if run_end > run_start:
                yield data[run_start:run_end]
            run_start = run_end = end
            if change is None:
                run_start = offset
            else:
                yield from self._rewritten(part, offset, change, data[change.head.data_offset : end])
        if run_end > run_start:
            yield data[run_start:run_end]

    def _change(self, part: "_Part", index: int, offset: int) -> "_Change | None":
        """None when the entry may be copied with its header."""
        if (part.pack.data[offset] >> 4) & 7 < OFS_DELTA:
            return None
        head = read_entry_header(part.pack.data, offset)
        base = head.base_offset if head.base_oid is None else part.pack.offset(head.base_oid)
        at = part.index(base) if base is not None else None
        if at is None:
            oid = head.base_oid or self._oid_at(part, base)
            if oid is None or not (oid in self._sent or (self._rules.thin and oid in self._known)):
                return _Change(head)
            return None if head.base_oid else _Change(head, base_oid=oid)
        if head.base_oid is not None:
            return None
        if not self._rules.ofs_delta:
            return _Change(head, base_oid=part.places[part.offsets[at]])
        distance = part.positions[index] - part.positions[at]
        return None if distance == offset - part.offsets[at] else _Change(head, distance=distance)

    def _rewritten(self, part: "_Part", offset: int, change: "_Change", compressed: memoryview) -> Iterator[Piece]:
        if change.distance:
            yield entry_header(OFS_DELTA, change.head.size) + offset_bytes(change.distance)
            yield compressed
        elif change.base_oid:
            yield entry_header(REF_DELTA, change.head.size) + change.base_oid
            yield compressed
        else:
            self.rewritten += 1
            yield from _deflated(self._objects, part.places[offset])

    def _oid_at(self, part: "_Part", base: int | None) -> Oid | None:
        """The id of an entry that is not taken from this pack, if it is sent from another one or the client has it."""
        if part.others is None:
            part.others = self._others(part)
        return part.others.get(base) if base is not None else None

    def _others(self, part: "_Part") -> dict[int, Oid]:
        sent, known = self._sent, self._known if self._rules.thin else ObjectSet()
        if part.pack.info.objects <= len(sent) + len(known):
            return {at: oid for at, oid in part.pack.oids() if at not in part.places and (oid in sent or oid in known)}
        candidates = known if len(self._parts) == 1 and self._marked is None else [*known, *sent]
        found = ((part.pack.offset(oid), oid) for oid in candidates)
        return {at: oid for at, oid in found if at is not None and at not in part.places}


class _Part:
    """What is taken from one pack: `offsets` sorted, and for each its place in the new pack once it is known."""

    def __init__(self, pack: PackFile, places: dict[int, Oid]) -> None:
        self.pack = pack
        self.places = places
        self.offsets = array("Q", sorted(places))
        self.positions = array("Q", bytes(8 * len(places)))
        self.others: dict[int, Oid] | None = None
        self.is_whole = len(places) == pack.info.objects

    def index(self, offset: int) -> int | None:
        at = bisect_left(self.offsets, offset)
        return at if at < len(self.offsets) and self.offsets[at] == offset else None


@dataclass(frozen=True, slots=True)
class _Change:
    """How an entry's header changes; with neither distance nor base the object is deflated anew."""

    head: EntryHeader
    distance: int = 0
    base_oid: Oid | None = None


def _choose(objects: Objects, sent: AbstractSet[Oid]) -> list[tuple[PackFile, dict[int, Oid]]]:
    """For each pack, largest first, the objects to take from it by offset. Raises ObjectNotFound."""
    left = sent
    chosen = []
    for pack in sorted(objects.packs(), key=lambda pack: (-pack.info.objects, pack.info.id)):
        if not left:
            break
        places = _places(pack, left)
        if places:
            chosen.append((pack, places))
            left = left - set(places.values())
    if left:
        raise ObjectNotFound(f"Object {next(iter(left)).hex()} is not in this repository.")
    return chosen


def _places(pack: PackFile, wanted: AbstractSet[Oid]) -> dict[int, Oid]:
    if pack.info.objects < len(wanted) * _MANY:
        return {offset: oid for offset, oid in pack.oids() if oid in wanted}
    found = ((pack.offset(oid), oid) for oid in wanted)
    return {offset: oid for offset, oid in found if offset is not None}


def _deflated(objects: Objects, oid: Oid) -> Iterator[Piece]:
    kind, size = objects.header(oid)
    yield entry_header(kind, size)
    deflater = zlib.compressobj(_LEVEL)
    for data in objects.stream(oid):
        if piece := deflater.compress(data):
            yield piece
    yield deflater.flush()

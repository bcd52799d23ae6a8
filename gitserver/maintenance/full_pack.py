"""One pack of chosen objects: commits, tags, trees, blobs, each newest first; stored entries as they are, and new deltas where none was.

A delta's base stands before it. Stored deltas of several packs may lead in a circle: there one object is deflated anew.
"""

import hashlib
import struct
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dulwich.pack import write_pack_index_v2

from gitserver.maintenance.catalog import Catalog
from gitserver.maintenance.delta import make_delta
from gitserver.maintenance.walk import Found
from gitserver.objects.entries import OFS_DELTA, entry_header, offset_bytes
from gitserver.objects.pack_writer import pack_entry
from gitserver.objects.store import Kind, Objects
from storage.files import sync_file
from storage.records import PackInfo

DEPTH = 50  # git's own default
_MOST_PATHS = 200_000  # of which the newest version is remembered
_LEVEL = 6
_LEAST = 64  # bytes that are worth a delta


@dataclass(slots=True)
class Tries:
    """How much may still be looked at for new deltas, and of which objects."""

    left_bytes: int
    object_bytes: int


class WholePack:
    def __init__(self, catalog: Catalog, objects: Objects, found: Found, paths: "array[int]", tries: Tries) -> None:
        self._catalog = catalog
        self._objects = objects
        self._found = found
        self._paths = paths
        self._tries = tries
        self._positions = array("Q", bytes(8 * len(catalog)))  # 0: not written
        self._depths = bytearray(len(catalog))
        self._crcs = array("I", bytes(4 * len(catalog)))
        self._is_chosen = bytearray(len(catalog))
        self._newest: dict[int, int] = {}  # a path's hash to the object that was written last

    def write(self, pack: Path) -> PackInfo:
        """Write it and its index, synced. Raises Unavailable when a source is damaged."""
        for number in self._found:
            self._is_chosen[number] = 1
        with pack.open("wb") as out:
            out.writelines(self._pieces())
            size = out.tell()
        oids = self._catalog.oids
        rows = sorted((oids[number], self._positions[number], self._crcs[number]) for number in self._found)
        index = pack.with_suffix(".idx")
        with index.open("wb") as out:
            write_pack_index_v2(out, rows, self._trailer)
        sync_file(pack)
        sync_file(index)
        return PackInfo(self._trailer.hex(), len(rows), size)

    def _pieces(self) -> Iterator[bytes]:
        head = b"PACK" + struct.pack(">II", 2, len(self._found))
        digest = hashlib.sha1(head, usedforsecurity=False)
        position = len(head)
        yield head
        for kind, numbers in self._kinds():
            self._newest.clear()
            for wanted in numbers:
                for number in self._with_bases(wanted):
                    piece = self._entry(kind, number, position)
                    self._positions[number] = position
                    self._crcs[number] = zlib.crc32(piece)
                    digest.update(piece)
                    position += len(piece)
                    yield piece
        self._trailer = digest.digest()
        yield self._trailer

    def _kinds(self) -> "list[tuple[Kind, array[int]]]":
        found = self._found
        return [(Kind.COMMIT, found.commits), (Kind.TAG, found.tags), (Kind.TREE, found.trees), (Kind.BLOB, found.blobs)]

    def _with_bases(self, wanted: int) -> Iterator[int]:
        """What is to be written for an object: nothing if it is here already, else first the bases of its delta."""
        if self._positions[wanted]:
            return
        pending = {wanted: self._base(wanted)}
        while pending:
            number, base = next(reversed(pending.items()))
            if base is None or self._positions[base] or base in pending:
                yield number
                del pending[number]
            else:
                pending[base] = self._base(base)

    def _base(self, number: int) -> int | None:
        """That of the stored delta, if it is one and its base is written, too."""
        shelf, place = self._catalog.place(number)
        delta = self._catalog.delta(shelf, place)
        base = shelf.numbers[delta.base] if delta is not None else None
        return base if base is not None and self._is_chosen[base] else None

    def _entry(self, kind: Kind, number: int, position: int) -> bytes:
        shelf, place = self._catalog.place(number)
        stored = shelf.stored(place)
        delta = self._catalog.delta(shelf, place)
        base = shelf.numbers[delta.base] if delta is not None else None
        if delta is not None and base is not None and self._positions[base] and self._depths[base] < DEPTH:
            piece = self._as_delta(number, base, delta.head.size, stored[delta.head.data_offset - shelf.offsets[place] :], position)
        else:
            if delta is not None:
                stored = pack_entry(self._objects.get(self._catalog.oids[number]))
            piece = self._smaller(kind, number, stored, position) or stored
        self._remember(kind, number)
        return piece

    def _as_delta(self, number: int, base: int, size: int, compressed: bytes, position: int) -> bytes:
        self._depths[number] = self._depths[base] + 1
        return entry_header(OFS_DELTA, size) + offset_bytes(position - self._positions[base]) + compressed

    def _smaller(self, kind: Kind, number: int, stored: bytes, position: int) -> bytes | None:
        """The object as a delta onto the next version of the same path, if that takes clearly less room."""
        base = self._newest.get(self._paths[number])
        if base is None or self._depths[base] >= DEPTH or len(stored) < _LEAST or not self._may_try(kind, number, base):
            return None
        target, before = self._objects.get(self._catalog.oids[number]).data, self._objects.get(self._catalog.oids[base]).data
        self._tries.left_bytes -= len(target) + len(before)
        delta = make_delta(before, target, len(target) // 2)
        if delta is None:
            return None
        compressed = zlib.compress(delta, _LEVEL)
        if len(compressed) + 8 > len(stored) * 3 // 4:
            return None
        return self._as_delta(number, base, len(delta), compressed, position)

    def _may_try(self, kind: Kind, number: int, base: int) -> bool:
        if kind not in (Kind.TREE, Kind.BLOB):
            return False
        most = self._tries.object_bytes
        sizes = [self._objects.header(self._catalog.oids[one])[1] for one in (number, base)]
        return max(sizes) <= most and sum(sizes) <= self._tries.left_bytes and min(sizes) * 8 >= max(sizes)

    def _remember(self, kind: Kind, number: int) -> None:
        path = self._paths[number]
        if kind in (Kind.TREE, Kind.BLOB) and (path in self._newest or len(self._newest) < _MOST_PATHS):
            self._newest[path] = number

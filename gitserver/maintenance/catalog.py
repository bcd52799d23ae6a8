"""All objects of some packs by number. Arrays, not objects: a repository may have millions."""

import zlib
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from gitserver.objects.entries import OFS_DELTA, EntryHeader, read_entry_header
from storage.errors import Unavailable
from storage.packs import PackFile, StoredEntry
from storage.records import Oid

_TRAILER = 20


class Shelf:
    """One pack: `offsets` of its entries in their order and then that of the trailer, and the number of each entry's object."""

    def __init__(self, pack: PackFile) -> None:
        self.pack = pack
        self.offsets = array("Q")
        self.numbers = array("I")
        self.crcs = array("I")

    def place(self, offset: int) -> int | None:
        """Of the entry that begins there."""
        at = bisect_left(self.offsets, offset)
        return at if at < len(self.numbers) and self.offsets[at] == offset else None

    def room(self, place: int) -> int:
        return self.offsets[place + 1] - self.offsets[place]

    def stored(self, place: int) -> bytes:
        """The entry as it is stored. Raises Unavailable when its bytes were changed."""
        data = bytes(self.pack.data[self.offsets[place] : self.offsets[place + 1]])
        if zlib.crc32(data) != self.crcs[place]:
            raise self.damage(place)
        return data

    def damage(self, place: int) -> Unavailable:
        return Unavailable(
            f"Pack {self.pack.info.id} is damaged at {self.offsets[place]}, and nothing was repacked. Run: kohakuhub admin check"
        )


@dataclass(frozen=True, slots=True)
class Delta:
    """A stored entry that is a delta: its header, and where in the same pack its base is."""

    head: EntryHeader
    base: int


class Catalog:
    """An object that stands in several packs has its place where it takes the least room, or in the first `fixed` packs if it is there."""

    def __init__(self, packs: Sequence[tuple[PackFile, Sequence[StoredEntry]]], fixed: int) -> None:
        self._fixed = fixed
        self.shelves: list[Shelf] = []
        self.numbers: dict[Oid, int] = {}
        self.shelf_of = array("H")
        self.place_of = array("I")
        self.oids: list[Oid] = []
        for pack, entries in packs:
            self._add(pack, entries)

    def __len__(self) -> int:
        return len(self.oids)

    def place(self, number: int) -> tuple[Shelf, int]:
        return self.shelves[self.shelf_of[number]], self.place_of[number]

    def delta(self, shelf: Shelf, place: int) -> Delta | None:
        """None for an entry that is whole. Raises Unavailable when the base is not in the same pack."""
        offset = shelf.offsets[place]
        if (shelf.pack.data[offset] >> 4) & 7 < OFS_DELTA:
            return None
        head = read_entry_header(shelf.pack.data, offset)
        at = head.base_offset if head.base_oid is None else shelf.pack.offset(head.base_oid)
        base = shelf.place(at) if at is not None else None
        if base is None:
            raise shelf.damage(place)
        return Delta(head, base)

    def _add(self, pack: PackFile, entries: Sequence[StoredEntry]) -> None:
        shelf = Shelf(pack)
        self.shelves.append(shelf)
        shelf.offsets.extend(entry.offset for entry in entries)
        shelf.offsets.append(len(pack.data) - _TRAILER)
        for place, entry in enumerate(entries):
            number = self.numbers.setdefault(entry.oid, len(self.oids))
            shelf.numbers.append(number)
            shelf.crcs.append(entry.crc)
            if number == len(self.oids):
                self.oids.append(entry.oid)
                self.shelf_of.append(len(self.shelves) - 1)
                self.place_of.append(place)
            elif self.shelf_of[number] >= self._fixed and shelf.room(place) < self._room(number):
                self.shelf_of[number] = len(self.shelves) - 1
                self.place_of[number] = place

    def _room(self, number: int) -> int:
        shelf, place = self.place(number)
        return shelf.room(place)

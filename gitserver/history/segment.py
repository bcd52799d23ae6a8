"""One file of the changed-path index: for each path the commits, of a set of them, that changed it.

Commits have ranks. A chain is a run of commits of which each is the first parent of the next; its ranks follow each other, oldest first.
So the newest change of a path that a commit sees along first parents is a binary search in the path's ranks. Every file stands for
itself: what it says of a commit follows from that commit's id and is true for ever. Numbers are in this machine's own byte order.
"""

import struct
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import BinaryIO

from storage.columns import Columns, padded
from storage.records import Oid

_MAGIC = b"KHPATHS1"
_HEAD = struct.Struct("=8sI4x8Q")
OUTSIDE = 1 << 31  # of `parents`: what is below it is the place in `outside`, else it is a rank


@dataclass(slots=True)
class SegmentArrays:
    """What the file holds, in its order.

    By rank: ids, and where in `parents` its own begin. `order`: ranks in the order of ids. `starts`: the first rank of each chain.
    `outside`: ids of parents that are in no chain here. `large`: ranks of commits whose paths are not listed. `merges`: ranks of
    merges; for each parent of theirs but the first a cell, whose paths (by their numbers) differ from that parent and all before it.
    By path, in order of their bytes: where its name begins in `names`, and its ranks in `changes`.
    """

    oids: bytearray = field(default_factory=bytearray)
    order: "array[int]" = field(default_factory=lambda: array("I"))
    starts: "array[int]" = field(default_factory=lambda: array("I", [0]))
    firsts: "array[int]" = field(default_factory=lambda: array("I", [0]))
    parents: "array[int]" = field(default_factory=lambda: array("I"))
    outside: bytearray = field(default_factory=bytearray)
    large: "array[int]" = field(default_factory=lambda: array("I"))
    merges: "array[int]" = field(default_factory=lambda: array("I"))
    cells: "array[int]" = field(default_factory=lambda: array("I"))  # of each merge its first cell
    cell_starts: "array[int]" = field(default_factory=lambda: array("I", [0]))
    cell_paths: "array[int]" = field(default_factory=lambda: array("I"))
    name_starts: "array[int]" = field(default_factory=lambda: array("Q", [0]))
    names: bytearray = field(default_factory=bytearray)
    change_starts: "array[int]" = field(default_factory=lambda: array("I", [0]))
    changes: "array[int]" = field(default_factory=lambda: array("I"))

    def write(self, out: BinaryIO) -> None:
        data = bytearray()
        for name in self.__slots__:
            data += padded(getattr(self, name))
        counted = (self.order, self.starts, self.parents, self.outside, self.large, self.merges, self.cell_starts, self.name_starts)
        out.write(_HEAD.pack(_MAGIC, zlib.crc32(data), *map(len, counted)))
        out.write(data)


class PathSegment:
    """The file, mapped."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises ValueError for a file that is damaged or of another version of the hub."""
        columns = Columns(file, _HEAD.size)
        try:
            magic, crc, commits, chains, parents, outside, large, merges, cells, paths = _HEAD.unpack_from(columns.view)
        except struct.error as error:
            raise ValueError("the file is cut off") from error
        if magic != _MAGIC or zlib.crc32(columns.view[_HEAD.size :]) != crc:
            raise ValueError("not a file of changed paths, or damaged")
        self.commits = commits
        self._oids = columns.next("B", commits * 20)
        self._order = columns.next("I", commits)
        self._starts = columns.next("I", chains)
        self._firsts = columns.next("I", commits + 1)
        self._parents = columns.next("I", parents)
        self._outside = columns.next("B", outside)
        self._large = columns.next("I", large)
        self._merges = columns.next("I", merges)
        self._cells = columns.next("I", merges)
        self._cell_starts = columns.next("I", cells)
        self._cell_paths = columns.next("I", self._cell_starts[-1])
        self._name_starts = columns.next("Q", paths)
        self._names = columns.next("B", self._name_starts[-1])
        self._change_starts = columns.next("I", paths)
        self._changes = columns.next("I", self._change_starts[-1])
        self.changes = len(self._changes) + len(self._cell_paths)

    def rank(self, oid: Oid) -> int | None:
        at = bisect_left(self._order, oid, key=self.oid)
        if at == self.commits or self.oid(rank := self._order[at]) != oid:
            return None
        return rank

    def oid(self, rank: int) -> Oid:
        return bytes(self._oids[rank * 20 : rank * 20 + 20])

    def parents(self, rank: int) -> list[int]:
        """As ranks, or as what `outsider` takes."""
        return self._parents[self._firsts[rank] : self._firsts[rank + 1]].tolist()

    def named(self, parent: int) -> Oid:
        """The id of one of `parents`."""
        if parent < OUTSIDE:
            return self.oid(parent)
        at = (parent - OUTSIDE) * 20
        return bytes(self._outside[at : at + 20])

    def outsiders(self) -> Iterator[Oid]:
        """Parents of commits of this file that are not in it themselves."""
        return (bytes(self._outside[at : at + 20]) for at in range(0, len(self._outside), 20))

    def start(self, rank: int) -> int:
        """The oldest commit of the chain."""
        return self._starts[bisect_right(self._starts, rank) - 1]

    def path(self, number: int) -> bytes:
        return bytes(self._names[self._name_starts[number] : self._name_starts[number + 1]])

    def paths(self) -> Iterator[tuple[bytes, "memoryview[int]"]]:
        """Each path with the ranks that changed it."""
        for number in range(len(self._name_starts) - 1):
            yield self.path(number), self._changes[self._change_starts[number] : self._change_starts[number + 1]]

    def number(self, path: bytes) -> int | None:
        """Of a path that some commit here changed."""
        count = len(self._name_starts) - 1
        at = bisect_left(range(count), path, key=self.path)
        return at if at < count and self.path(at) == path else None

    def is_large(self, rank: int) -> bool:
        at = bisect_left(self._large, rank)
        return at < len(self._large) and self._large[at] == rank

    def last_change(self, number: int | None, rank: int) -> int | None:
        """The newest commit from `rank` on, down its chain, that changed the path, or whose paths are not listed."""
        found = _newest(self._large, rank, 0, len(self._large))
        if number is not None:
            bounds = self._change_starts[number], self._change_starts[number + 1]
            found = max(found, _newest(self._changes, rank, *bounds))
        return found if found >= self.start(rank) else None

    def kept_from(self, rank: int, number: int | None) -> int | None:
        """Of a merge that changed the path: which parent, the first being 0, has it as the merge has; None where no one has."""
        at = bisect_left(self._merges, rank)
        first = self._cells[at]
        for cell in range(first, first + len(self.parents(rank)) - 1):
            low, high = self._cell_starts[cell], self._cell_starts[cell + 1]
            place = bisect_left(self._cell_paths, number, low, high) if number is not None else high
            if place == high or self._cell_paths[place] != number:
                return cell - first + 1
        return None

    def cell(self, rank: int) -> list[list[int]]:
        """All cells of a merge, as numbers of paths."""
        first = self._cells[bisect_left(self._merges, rank)]
        bounds = [self._cell_starts[first + at] for at in range(len(self.parents(rank)))]
        return [self._cell_paths[low:high].tolist() for low, high in pairwise(bounds)]


def _newest(ranks: "memoryview[int]", rank: int, low: int, high: int) -> int:
    """The largest that is not above `rank`; -1 where there is none."""
    at = bisect_right(ranks, rank, low, high) - 1
    return ranks[at] if at >= low else -1

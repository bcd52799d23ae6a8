"""The file of one pack's reachability: made by `build`, read as mapped arrays. It lies among the prepared files and may go at any time.

Objects are named by their position in the pack's order. The numbers are in this machine's own byte order: a file is never moved.
"""

import os
import struct
import zlib
from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import BinaryIO

from gitserver.objects.marks import Marks
from gitserver.objects.parse import CommitNode
from storage.columns import Columns, padded
from storage.filecache import FileCache
from storage.packs import PackFile
from storage.records import Oid

_MAGIC = b"KHREACH1"
_HEAD = struct.Struct("=8s5Q")
NOTHING = 0xFFFFFFFF  # no base
KIND, BY_ID = 7, 8  # of `kinds`: the object's kind; the entry is a delta that names its base by id


@dataclass(slots=True)
class Arrays:
    """What the file holds, in its order. `bases`: the position of a delta's base. Of commits (by rank among the pack's commits):
    position, tree, time, generation, and where in `parents` (ranks) its own begin. Of selected commits: rank, and where in `marks`
    their compressed marks begin.
    """

    offsets: "array[int]" = field(default_factory=lambda: array("Q"))
    bases: "array[int]" = field(default_factory=lambda: array("I"))
    kinds: bytearray = field(default_factory=bytearray)
    oids: bytearray = field(default_factory=bytearray)
    commits: "array[int]" = field(default_factory=lambda: array("I"))
    trees: "array[int]" = field(default_factory=lambda: array("I"))
    times: "array[int]" = field(default_factory=lambda: array("q"))
    generations: "array[int]" = field(default_factory=lambda: array("I"))
    firsts: "array[int]" = field(default_factory=lambda: array("I"))
    parents: "array[int]" = field(default_factory=lambda: array("I"))
    selected: "array[int]" = field(default_factory=lambda: array("I"))
    starts: "array[int]" = field(default_factory=lambda: array("Q"))
    marks: bytearray = field(default_factory=bytearray)

    def write(self, out: BinaryIO) -> None:
        counted = (self.kinds, self.commits, self.parents, self.selected, self.marks)
        out.write(_HEAD.pack(_MAGIC, *map(len, counted)))
        for name in self.__slots__:
            out.write(padded(getattr(self, name)))


class Reach:
    """The file of `pack`, which holds everything that its objects name. Positions are below `size`."""

    def __init__(self, pack: PackFile, file: BinaryIO) -> None:
        """Raises ValueError for a file that is none, or not this pack's."""
        self.pack = pack
        columns = Columns(file, _HEAD.size)
        magic, self.size, commits, parents, selected, marks = _HEAD.unpack_from(columns.view)
        if magic != _MAGIC or self.size != pack.info.objects:
            raise ValueError("not a file of this pack's reachability")
        self.offsets = columns.next("Q", self.size + 1)
        self.bases = columns.next("I", self.size)
        self.kinds = columns.next("B", self.size)
        self._oids = columns.next("B", self.size * 20)
        self.commits = columns.next("I", commits)
        self._trees = columns.next("I", commits)
        self._times = columns.next("q", commits)
        self.generations = columns.next("I", commits)
        self._firsts = columns.next("I", commits + 1)
        self._parents = columns.next("I", parents)
        self._selected = columns.next("I", selected)
        self._starts = columns.next("Q", selected + 1)
        self._marks = columns.next("B", marks)
        self.blobs = bytes(self.kinds).translate(_BLOBS)

    def position(self, oid: Oid) -> int | None:
        offset = self.pack.offset(oid)
        return None if offset is None else bisect_left(self.offsets, offset)

    def oid(self, position: int) -> Oid:
        return bytes(self._oids[position * 20 : position * 20 + 20])

    def rank(self, position: int) -> int | None:
        """Of a commit among the commits; None for another object."""
        rank = bisect_left(self.commits, position)
        return rank if rank < len(self.commits) and self.commits[rank] == position else None

    def node(self, rank: int) -> CommitNode:
        oid = self.oid
        parents = tuple(oid(self.commits[parent]) for parent in self.parents(rank))
        return CommitNode(oid(self.commits[rank]), oid(self._trees[rank]), parents, self._times[rank])

    def commit(self, oid: Oid) -> CommitNode | None:
        position = self.position(oid)
        rank = self.rank(position) if position is not None else None
        return self.node(rank) if rank is not None else None

    def tree(self, rank: int) -> int:
        """The position of a commit's tree."""
        return int(self._trees[rank])

    def parents(self, rank: int) -> list[int]:
        """The ranks of a commit's parents."""
        return self._parents[self._firsts[rank] : self._firsts[rank + 1]].tolist()

    def reached(self, rank: int) -> Marks | None:
        """Marks of all that the commit leads to, itself too; None unless it is a selected one."""
        at = bisect_left(self._selected, rank)
        if at == len(self._selected) or self._selected[at] != rank:
            return None
        return bytearray(zlib.decompress(self._marks[self._starts[at] : self._starts[at + 1]], bufsize=self.size))


def open_reach(prepared: FileCache, repo_id: str, pack: PackFile) -> Reach | None:
    """The file of `pack`; None while there is none, or where the pack does not hold all that it names."""
    file = prepared.open(reach_name(repo_id, pack))
    if file is None:
        return None
    if os.fstat(file.fileno()).st_size == 0:
        file.close()
        return None
    try:
        return Reach(pack, file)
    except (ValueError, struct.error):
        prepared.remove(reach_name(repo_id, pack))  # damaged, or of another version of the hub: it is made again
        return None


def reach_name(repo_id: str, pack: PackFile) -> str:
    """Among the prepared files. The file is empty where the pack does not hold all that it names."""
    return f"{repo_id}/reach-{pack.info.id}"


_BLOBS = bytes(int(value & KIND == 3) for value in range(256))

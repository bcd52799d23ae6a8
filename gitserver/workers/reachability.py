"""Making the file: one pass over the pack's entries, one over its commits and trees, then the marks of selected commits.

Each tree is inflated once. Marks of a commit start from those of selected commits behind it, so that each object is met about once.
"""

import heapq
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import BinaryIO

from gitserver.objects.entries import OFS_DELTA, REF_DELTA, read_entry_header
from gitserver.objects.marks import Marks, joined
from gitserver.objects.parse import CHILDREN, parse_commit_node, parse_tag_target
from gitserver.objects.reachability import BY_ID, KIND, NOTHING, Arrays
from gitserver.objects.store import Kind, Objects
from storage.packs import PackFile
from storage.records import Oid

_STEP = 100  # commits between two selected ones, along first parents
_NEW_STEP, _NEW = 12, 2000  # the same among so many of the newest: what clients have is mostly there
_MARKS_BYTES = 96 << 20  # of all marks together, before compression
_MOST_SELECTED = 1000


class NotClosed(Exception):
    """An object of the pack names one that is not in it."""


def build(objects: Objects, pack: PackFile, out: BinaryIO) -> None:
    """Write the reachability of `pack`, which is one of the packs of `objects`. Raises NotClosed."""
    made = _Build(objects, pack)
    try:
        made.entries()
        made.contents()
    except KeyError as error:
        raise NotClosed(f"Pack {pack.info.id} does not hold all that it names.") from error
    made.select()
    made.arrays.write(out)


class _Build:
    def __init__(self, objects: Objects, pack: PackFile) -> None:
        self._objects = objects
        self._pack = pack
        self._positions: dict[Oid, int] = {}
        self._folders: dict[int, int] = {}  # of each tree, where in `_entries` it begins
        self._entries = array("I")  # what trees hold, without submodules; each tree's number of entries before them
        self.arrays = Arrays()

    def entries(self) -> None:
        """Offsets, ids, bases, kinds."""
        arrays = self.arrays
        for position, (offset, oid) in enumerate(self._pack.oids()):
            arrays.offsets.append(offset)
            arrays.oids += oid
            self._positions[oid] = position
        size = len(self._positions)
        arrays.offsets.append(len(self._pack.data) - 20)
        arrays.kinds = bytearray(size)
        arrays.bases = array("I", [NOTHING]) * size
        for position in range(size):
            self._entry(position)
        for position in range(size):
            self._kind_of_delta(position)

    def _entry(self, position: int) -> None:
        arrays = self.arrays
        head = read_entry_header(self._pack.data, arrays.offsets[position])
        if head.kind_or_delta < OFS_DELTA:
            arrays.kinds[position] = head.kind_or_delta
        elif head.base_oid is not None:
            arrays.bases[position] = self._positions[head.base_oid]
        else:
            arrays.bases[position] = bisect_left(arrays.offsets, head.base_offset or 0)
        if head.kind_or_delta == REF_DELTA:
            arrays.kinds[position] = BY_ID

    def _kind_of_delta(self, position: int) -> None:
        kinds, chain = self.arrays.kinds, []
        while not kinds[position] & KIND:
            chain.append(position)
            position = self.arrays.bases[position]
        kind = kinds[position] & KIND
        for delta in chain:
            kinds[delta] |= kind

    def contents(self) -> None:
        """The graph of commits, and what trees hold; tags only have to lead somewhere."""
        arrays, positions = self.arrays, self._positions
        arrays.commits.extend(position for position, kind in enumerate(arrays.kinds) if kind & KIND == Kind.COMMIT)
        ranks = {position: rank for rank, position in enumerate(arrays.commits)}
        for position, value in enumerate(arrays.kinds):
            kind = value & KIND
            if kind == Kind.BLOB:
                continue
            data = self._objects.get(oid := bytes(arrays.oids[position * 20 : position * 20 + 20])).data
            if kind == Kind.TREE:
                self._folders[position] = len(self._entries)
                children = list(map(positions.__getitem__, filter(None, CHILDREN.findall(data))))
                self._entries.append(len(children))
                self._entries.extend(children)
            elif kind == Kind.TAG:
                _ = positions[parse_tag_target(data)[0]]
            else:
                node = parse_commit_node(oid, data)
                arrays.trees.append(positions[node.tree])
                arrays.times.append(node.time)
                arrays.firsts.append(len(arrays.parents))
                arrays.parents.extend(ranks[positions[parent]] for parent in node.parents)
        arrays.firsts.append(len(arrays.parents))

    def _parents(self, rank: int) -> "array[int]":
        return self.arrays.parents[self.arrays.firsts[rank] : self.arrays.firsts[rank + 1]]

    def select(self) -> None:
        """Generations, then the marks of selected commits."""
        arrays = self.arrays
        arrays.generations = array("I", bytes(4 * len(arrays.commits)))
        order = list(self._parents_first())
        chosen = self._choose(order)
        kept: dict[int, bytes] = {}
        for rank in order:
            if rank in chosen:
                kept[rank] = zlib.compress(self._marks(rank, kept), 1)
        for rank in sorted(kept):
            arrays.selected.append(rank)
            arrays.starts.append(len(arrays.marks))
            arrays.marks += kept[rank]
        arrays.starts.append(len(arrays.marks))

    def _parents_first(self) -> Iterator[int]:
        """All ranks; the generation of each is one more than the largest of its parents'."""
        generations = self.arrays.generations
        for start in range(len(generations)):
            stack = [start]
            while stack:
                rank = stack[-1]
                if generations[rank]:
                    stack.pop()
                    continue
                parents = self._parents(rank)
                if todo := [parent for parent in parents if not generations[parent]]:
                    stack += todo
                    continue
                generations[rank] = 1 + max((generations[parent] for parent in parents), default=0)
                stack.pop()
                yield rank

    def _choose(self, order: list[int]) -> set[int]:
        """Commits without children, the newest first, and others at a regular distance."""
        most = max(16, min(_MOST_SELECTED, _MARKS_BYTES // max(1, len(self.arrays.kinds))))
        times, has_child = self.arrays.times, bytearray(len(order))
        for parent in self.arrays.parents:
            has_child[parent] = 1
        ends = heapq.nlargest(most // 2, (rank for rank in order if not has_child[rank]), key=times.__getitem__)
        border = min(heapq.nlargest(_NEW, times), default=0)
        new = self._spaced([rank for rank in order if times[rank] >= border], _NEW_STEP)[-(most // 4) :]
        room = most - len(ends) - len(new)
        old = self._spaced([rank for rank in order if times[rank] < border], max(_STEP, 2 * len(order) // room))[-room:]
        return {*ends, *new, *old}

    def _spaced(self, ranks: list[int], step: int) -> list[int]:
        """Every so many of them along first parents."""
        since = array("I", bytes(4 * len(self.arrays.commits)))
        chosen: list[int] = []
        for rank in ranks:
            parents = self._parents(rank)
            since[rank] = since[parents[0]] + 1 if parents else 1
            if since[rank] >= step:
                since[rank] = 0
                chosen.append(rank)
        return chosen

    def _marks(self, rank: int, kept: dict[int, bytes]) -> Marks:
        arrays, size = self.arrays, len(self.arrays.kinds)
        marks = bytearray(size)
        heap = [(-arrays.generations[rank], rank)]
        between: list[int] = []
        seen = {rank}
        while heap:
            _, rank = heapq.heappop(heap)
            if marks[arrays.commits[rank]]:
                continue
            if (known := kept.get(rank)) is not None:
                marks = joined(marks, zlib.decompress(known, bufsize=size))
                continue
            between.append(rank)
            for parent in self._parents(rank):
                if parent not in seen:
                    seen.add(parent)
                    heapq.heappush(heap, (-arrays.generations[parent], parent))
        for rank in reversed(between):
            marks[arrays.commits[rank]] = 1
            self._mark_tree(marks, arrays.trees[rank])
        return marks

    def _mark_tree(self, marks: Marks, tree: int) -> None:
        if marks[tree]:
            return
        marks[tree] = 1
        stack = [tree]
        entries, folders, kinds = self._entries, self._folders, self.arrays.kinds
        while stack:
            first = folders[stack.pop()] + 1
            for child in entries[first : first + entries[first - 1]]:
                if not marks[child]:
                    marks[child] = 1
                    if kinds[child] & KIND == Kind.TREE:
                        stack.append(child)

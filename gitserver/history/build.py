"""Making files of the changed-path index: which commits have none yet, what they changed, and what is joined with it.

A small older file goes into the new one, so that a repository has few, each about twice as large as the next.
"""

import heapq
import os
import tempfile
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

from gitserver.history.changed import PathComparer, TooManyPaths
from gitserver.history.segment import OUTSIDE, PathSegment, SegmentArrays
from gitserver.objects.store import Objects
from storage.errors import ObjectNotFound
from storage.files import sync_file
from storage.limits import Limits
from storage.records import Oid

_BATCH = 50_000  # commits that are handled together


@dataclass(frozen=True, slots=True)
class NewSegments:
    """Files that were made, and the names of those that have gone into them."""

    files: tuple[Path, ...]
    replaced: tuple[str, ...]


def find_missing(objects: Objects, segments: Iterable[PathSegment], tips: Iterable[Oid]) -> Iterator[Oid]:
    """Commits that lead from `tips` and are in no segment, about the newest first. A segment may have been removed from under another
    one: of each that is met, what it leads to is looked at, too.
    """
    search = _Search(objects, list(segments))
    search.push(tips)
    while search.heap:
        _, oid = heapq.heappop(search.heap)
        yield oid
        search.push(objects.commit(oid).parents)


class _Search:
    """`heap`: commits in no segment, by time."""

    def __init__(self, objects: Objects, segments: Sequence[PathSegment]) -> None:
        self._objects = objects
        self._segments = segments
        self._met: set[int] = set()  # places of segments
        self._seen: set[Oid] = set()
        self.heap: list[tuple[int, Oid]] = []

    def push(self, oids: Iterable[Oid]) -> None:
        waiting = list(oids)
        while waiting:
            oid = waiting.pop()
            if oid in self._seen:
                continue
            self._seen.add(oid)
            holder = next((at for at, segment in enumerate(self._segments) if segment.rank(oid) is not None), None)
            if holder is None:
                with suppress(ObjectNotFound):  # a tag may lead to something else
                    heapq.heappush(self.heap, (-self._objects.commit(oid).time, oid))
            elif holder not in self._met:
                self._met.add(holder)
                waiting += self._segments[holder].outsiders()


class SegmentBuilder:
    """Makes what is missing in `segments` (by name) as files in `folder`, until all is there or `seconds` have passed."""

    def __init__(self, objects: Objects, segments: dict[str, PathSegment], folder: Path, limits: Limits) -> None:
        self._objects = objects
        self._segments = dict(segments)
        self._folder = folder
        self._limits = limits
        self._comparer = PathComparer(objects, limits.history_commit_paths)
        self._made: list[Path] = []

    def run(self, tips: Sequence[Oid], seconds: float) -> NewSegments:
        until = time.monotonic() + seconds
        replaced: list[str] = []
        while time.monotonic() < until:
            missing = list(islice(find_missing(self._objects, self._segments.values(), tips), _BATCH))
            if not missing:
                break
            joined = self._to_join(len(missing))
            self._batch(missing, [self._segments.pop(name) for name in joined], until)
            replaced += [name for name in joined if not self._is_gone(name)]
        return NewSegments(tuple(self._made), tuple(replaced))

    def _is_gone(self, name: str) -> bool:
        """A file of this very run: it is removed at once."""
        path = Path(name)
        if path not in self._made:
            return False
        self._made.remove(path)
        path.unlink()
        return True

    def _to_join(self, commits: int) -> list[str]:
        """Names of small segments, as long as each is no more than twice as large as all before it."""
        names: list[str] = []
        changes = 0
        for name, segment in sorted(self._segments.items(), key=lambda item: item[1].commits):
            changes += segment.changes
            if segment.commits > 2 * commits or commits + segment.commits > 2 * _BATCH or changes > self._limits.history_file_changes // 2:
                break
            commits += segment.commits
            names.append(name)
        return names

    def _batch(self, missing: Sequence[Oid], joined: Sequence[PathSegment], until: float) -> None:
        """One or more files of the commits that are `missing` and those of the segments `joined`. After `until` no more are compared."""
        old = _places(joined)
        parents = {oid: self._objects.commit(oid).parents for oid in missing}
        parents |= {oid: tuple(map(place.segment.named, place.segment.parents(place.rank))) for oid, place in old.items()}
        writing = _Writing(parents)
        for oid, is_first in _ranked(parents):
            if writing.is_full(self._limits.history_file_changes):
                self._write(writing)
                writing = _Writing(parents)
            if is_first:
                writing.begin_chain()
            if oid in old:
                writing.add_old(oid, old[oid])
            elif time.monotonic() < until:
                writing.add(oid, self._changed(oid))
            else:
                writing.begin_chain()
        self._write(writing)

    def _changed(self, oid: Oid) -> list[list[bytes]] | None:
        try:
            return self._comparer.changed(self._objects.commit(oid))
        except TooManyPaths:
            return None

    def _write(self, writing: "_Writing") -> None:
        fd, name = tempfile.mkstemp(prefix="paths-", dir=self._folder)
        with os.fdopen(fd, "wb") as out:
            writing.finish().write(out)
        path = Path(name)
        sync_file(path)  # it is kept for ever
        self._made.append(path)
        self._segments[name] = PathSegment(path.open("rb"))


@dataclass(frozen=True, slots=True)
class _Place:
    """A commit in an older segment."""

    segment: PathSegment
    rank: int


def _places(segments: Sequence[PathSegment]) -> dict[Oid, _Place]:
    """Newest first within each."""
    ranks = ((segment, rank) for segment in segments for rank in reversed(range(segment.commits)))
    return {segment.oid(rank): _Place(segment, rank) for segment, rank in ranks}


def _ranked(parents: dict[Oid, tuple[Oid, ...]]) -> Iterator[tuple[Oid, bool]]:
    """All commits in the order of their ranks, and whether a chain begins with them: each commit, as they come, ends a chain of those
    of its first parents that are in none yet.
    """
    taken: set[Oid] = set()
    for oid in parents:
        chain: list[Oid] = []
        at: Oid | None = oid
        while at is not None and at in parents and at not in taken:
            taken.add(at)
            chain.append(at)
            at = parents[at][0] if parents[at] else None
        yield from ((one, one is chain[-1]) for one in reversed(chain))


class _Writing:
    """A file that is being made: commits in order of their ranks."""

    def __init__(self, parents: dict[Oid, tuple[Oid, ...]]) -> None:
        self._parents = parents
        self._ranks: dict[Oid, int] = {}
        self._numbers: dict[bytes, int] = {}  # of paths, in the order in which they come
        self._paths, self._at = array("I"), array("I")  # a path, and the rank that changed it
        self._cells: list[list[int]] = []
        self._old: dict[PathSegment, dict[int, int]] = {}  # ranks there and here
        self.arrays = SegmentArrays()

    def is_full(self, most: int) -> bool:
        return len(self._paths) >= most

    def begin_chain(self) -> None:
        """The next commit is not on top of the last one."""
        if self.arrays.starts[-1] != len(self._ranks):
            self.arrays.starts.append(len(self._ranks))

    def add(self, oid: Oid, changed: list[list[bytes]] | None) -> None:
        """None for a commit that changed too many paths to list them."""
        rank = self._rank(oid)
        if changed is None:
            self.arrays.large.append(rank)
        else:
            self._note(rank, self._numbered(changed[0]))
        self._merge(rank, oid, [self._numbered(paths) for paths in changed[1:]] if changed else None)

    def add_old(self, oid: Oid, place: _Place) -> None:
        """A commit whose paths a segment has."""
        rank = self._rank(oid)
        if place.segment.is_large(place.rank):
            self.arrays.large.append(rank)
        self._old.setdefault(place.segment, {})[place.rank] = rank
        if len(self._parents[oid]) > 1:
            self._merge(rank, oid, [self._numbered(map(place.segment.path, cell)) for cell in place.segment.cell(place.rank)])

    def finish(self) -> SegmentArrays:
        self._take_over()
        arrays = self.arrays
        arrays.order.extend(rank for _, rank in sorted(self._ranks.items()))
        self._write_parents()
        names = sorted(self._numbers)
        place = array("I", bytes(4 * len(names)))
        for at, name in enumerate(names):
            place[self._numbers[name]] = at
            arrays.names += name
            arrays.name_starts.append(len(arrays.names))
        self._write_changes(place)
        for cell in self._cells:
            arrays.cell_paths.extend(sorted(map(place.__getitem__, cell)))
            arrays.cell_starts.append(len(arrays.cell_paths))
        return arrays

    def _rank(self, oid: Oid) -> int:
        self._ranks[oid] = len(self._ranks)
        self.arrays.oids += oid
        return len(self._ranks) - 1

    def _numbered(self, paths: Iterable[bytes]) -> list[int]:
        numbers = self._numbers
        return [numbers.setdefault(path, len(numbers)) for path in paths]

    def _note(self, rank: int, numbers: Sequence[int]) -> None:
        self._paths.extend(numbers)
        self._at.extend([rank] * len(numbers))

    def _merge(self, rank: int, oid: Oid, cells: list[list[int]] | None) -> None:
        further = len(self._parents[oid]) - 1
        if further > 0:
            self.arrays.merges.append(rank)
            self.arrays.cells.append(len(self._cells))
            self._cells += cells if cells is not None else [[]] * further

    def _take_over(self) -> None:
        """What the older segments say of their commits that are here now."""
        for segment, ranks in self._old.items():
            for path, changed in segment.paths():
                here = [ranks[rank] for rank in changed if rank in ranks]
                if here:
                    self._paths.extend(self._numbered([path]) * len(here))
                    self._at.extend(here)

    def _write_parents(self) -> None:
        outside: dict[Oid, int] = {}
        arrays = self.arrays
        for oid in self._ranks:
            for parent in self._parents[oid]:
                rank = self._ranks.get(parent)
                arrays.parents.append(OUTSIDE + outside.setdefault(parent, len(outside)) if rank is None else rank)
            arrays.firsts.append(len(arrays.parents))
        arrays.outside += b"".join(outside)

    def _write_changes(self, place: "array[int]") -> None:
        """By path, in the order of their names, ranks ascending."""
        arrays, count = self.arrays, len(place)
        ends = [0] * (count + 1)
        for number in self._paths:
            ends[place[number] + 1] += 1
        for at in range(count):
            ends[at + 1] += ends[at]
        arrays.change_starts.extend(ends[1:])
        arrays.changes = array("I", bytes(4 * len(self._paths)))
        for number, rank in zip(self._paths, self._at, strict=True):
            at = place[number]
            arrays.changes[ends[at]] = rank
            ends[at] += 1
        if self._old:
            for low, high in pairwise(arrays.change_starts):
                arrays.changes[low:high] = array("I", sorted(arrays.changes[low:high]))

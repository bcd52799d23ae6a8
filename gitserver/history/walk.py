"""The way from a commit to the one that changed a path last: by the index where it has the commits, else by comparing trees."""

import heapq
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gitserver.history.changed import FileState, file_states
from gitserver.history.segment import OUTSIDE, PathSegment
from gitserver.objects.parse import TREE, TREE_ENTRIES
from gitserver.objects.store import Objects
from storage.errors import Unavailable
from storage.records import Oid

_MOST_ENTRIES = 50_000  # of trees that one walk holds, of some 200 bytes each


class NotIndexed(Exception):
    """More commits would have to be compared than one answer may."""


class WalkTooSlow(Unavailable):
    pass


@dataclass(frozen=True, slots=True)
class _Place:
    segment: PathSegment
    rank: int


class PathWalk:
    """`most` commits that the index does not have may be compared for one answer, and until the monotonic time `patient_until`; an
    answer as a whole takes until `until`.
    """

    def __init__(
        self, objects: Objects, segments: Sequence[PathSegment], most: int, until: float, patient_until: float = float("inf")
    ) -> None:
        self.objects = objects
        self._segments = segments
        self._most = most
        self._until = until
        self._patient_until = patient_until
        self._numbers: dict[tuple[PathSegment, bytes], int | None] = {}
        self._states: dict[Oid, Mapping[bytes, FileState]] = {}
        self._count = 0
        self.compared = 0

    def last_changes(self, commit: Oid, folder: bytes, names: Iterable[bytes]) -> dict[bytes, Oid]:
        """For each of `names` in `folder` the commit that changed it last; without those that never were there.

        Raises NotIndexed, WalkTooSlow, ObjectNotFound.
        """
        return _LastChanges(self, folder).run(commit, names)

    def history(self, commit: Oid, folder: bytes, name: bytes) -> Iterator[Oid]:
        """All commits that changed it, by time, newest first. Raises like `last_changes`."""
        seen: set[Oid] = set()
        heap: list[tuple[int, int, Oid]] = []
        starts: Sequence[Oid] = (commit,)
        while True:
            for start in starts:
                found = self.last_changes(start, folder, (name,)).get(name)
                if found is not None and found not in seen:
                    seen.add(found)  # of the same second the one that was met first comes first, as in git
                    heapq.heappush(heap, (-self.objects.commit(found).time, len(seen), found))
            if not heap:
                return
            self._check_time()
            _, _, oid = heapq.heappop(heap)
            yield oid
            starts = self.objects.commit(oid).parents

    def place(self, commit: Oid) -> _Place | None:
        """Where the index has it."""
        for segment in self._segments:
            if (rank := segment.rank(commit)) is not None:
                return _Place(segment, rank)
        return None

    def number(self, segment: PathSegment, path: bytes) -> int | None:
        key = (segment, path)
        if key not in self._numbers:
            self._numbers[key] = segment.number(path)
        return self._numbers[key]

    def count(self, *, is_indexed: bool) -> None:
        """One more commit is compared."""
        if not is_indexed:
            self.compared += 1
            if self.compared > self._most or time.monotonic() > self._patient_until:
                raise NotIndexed
        self._check_time()

    def _check_time(self) -> None:
        if time.monotonic() > self._until:
            raise WalkTooSlow("The history of this path takes too long to be looked up now. Try again in a moment.")

    def folder(self, tree: Oid, folder: bytes) -> Oid | None:
        """The tree of the folder; None where there is none."""
        at: Oid | None = tree
        for name in folder.split(b"/") if folder else ():
            state = self.states(at).get(name)
            at = state[1] if state is not None and state[0] == TREE else None
        return at

    def states(self, tree: Oid | None) -> Mapping[bytes, FileState]:
        """What lies in a folder."""
        if tree is None:
            return {}
        found = self._states.get(tree)
        if found is None:
            found = file_states(TREE_ENTRIES.findall(self.objects.get(tree).data))
            self._states[tree] = found
            self._count += len(found)
            while self._count > _MOST_ENTRIES and len(self._states) > 2:
                self._count -= len(self._states.pop(next(iter(self._states))))
        return found


class _LastChanges:
    """Names of one folder on their ways, which part where commits changed some of them."""

    def __init__(self, walk: PathWalk, folder: bytes) -> None:
        self._walk = walk
        self._folder = folder
        self._prefix = folder + b"/" if folder else b""
        self._waiting: dict[Oid, set[bytes]] = {}
        self._heap: list[tuple[int, Oid]] = []
        self._found: dict[bytes, Oid] = {}

    def run(self, commit: Oid, names: Iterable[bytes]) -> dict[bytes, Oid]:
        self._wait(commit, names)
        while self._heap:
            _, oid = heapq.heappop(self._heap)
            waiting = self._waiting.pop(oid)
            place = self._walk.place(oid)
            if place is None or place.segment.is_large(place.rank):
                self._walk.count(is_indexed=place is not None)
                self._compare(oid, waiting)
            else:
                for name in waiting:
                    self._jump(place.segment, place.rank, name)
        return self._found

    def _wait(self, commit: Oid, names: Iterable[bytes]) -> None:
        """Newest first, so that names that met go on together."""
        if commit not in self._waiting:
            heapq.heappush(self._heap, (-self._walk.objects.commit(commit).time, commit))
        self._waiting.setdefault(commit, set()).update(names)

    def _jump(self, segment: PathSegment, rank: int, name: bytes) -> None:
        """As far as the segment goes."""
        number = self._walk.number(segment, self._prefix + name)
        while True:
            change = segment.last_change(number, rank)
            if change is not None and segment.is_large(change):
                self._wait(segment.oid(change), (name,))
                return
            parents = segment.parents(segment.start(rank) if change is None else change)
            kept = segment.kept_from(change, number) if change is not None and len(parents) > 1 else None
            if change is not None and kept is None:
                self._found[name] = segment.oid(change)
                return
            if not parents:
                return
            rank = parents[kept or 0]
            if rank >= OUTSIDE:
                self._wait(segment.named(rank), (name,))
                return

    def _compare(self, oid: Oid, names: set[bytes]) -> None:
        walk = self._walk
        node = walk.objects.commit(oid)
        folder = walk.folder(node.tree, self._folder)
        if not node.parents:
            self._found |= dict.fromkeys(names & walk.states(folder).keys(), oid)
            return
        left = set(names)
        for parent in node.parents:
            same = self._same(folder, walk.folder(walk.objects.commit(parent).tree, self._folder), left)
            if same:
                left -= same
                self._wait(parent, same)
        self._found |= dict.fromkeys(left, oid)

    def _same(self, folder: Oid | None, other: Oid | None, names: set[bytes]) -> set[bytes]:
        if folder == other:
            return set(names)
        here, there = self._walk.states(folder), self._walk.states(other)
        return {name for name in names if here.get(name) == there.get(name)}

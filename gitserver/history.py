"""What happened to a repository: commits newest first, and the last commit that touched each path."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from gitserver.browse import Browser, Snapshot
from gitserver.objects import Objects
from gitserver.parse import parse_person
from gitserver.reach.table import Reach
from storage.recent import Recent
from storage.records import Commit, Oid

_KEPT_COUNTS = 10_000
_MOST_VISITED = 5000  # commits that one listing may look at for its paths


@dataclass(frozen=True, slots=True)
class _Step:
    commit: Oid
    names: frozenset[bytes]


def log(snapshot: Snapshot) -> Iterator[Commit]:
    """All commits that lead to the snapshot, by time, newest first."""
    objects = snapshot.objects
    seen = {snapshot.commit}
    heap = [(-objects.commit(snapshot.commit).time, 0, snapshot.commit)]  # of the same second the one that was met first, as in git
    while heap:
        _, _, oid = heapq.heappop(heap)
        yield read_commit(snapshot, oid)
        for parent in objects.commit(oid).parents:
            if parent not in seen:
                seen.add(parent)
                heapq.heappush(heap, (-objects.commit(parent).time, len(seen), parent))


class CommitCounts:
    """How many commits lead to a commit. Counts are kept: after a push only what is new is walked, as long as it is
    linear.
    """

    def __init__(self) -> None:
        self._known: Recent[tuple[str, Oid], int] = Recent(_KEPT_COUNTS)

    def of(self, snapshot: Snapshot) -> int:
        repo_id, objects, oid, newer = snapshot.repo.id, snapshot.objects, snapshot.commit, 0
        while (known := self._known.get((repo_id, oid))) is None:
            parents = objects.commit(oid).parents
            if len(parents) != 1 or _rank(objects.reach, oid) is not None:
                known = _reached(objects, oid)
                self._known.keep((repo_id, oid), known)
            else:
                oid, newer = parents[0], newer + 1
        self._known.keep((repo_id, snapshot.commit), known + newer)
        return known + newer


def _reached(objects: Objects, tip: Oid) -> int:
    """Inside the largest pack the walk goes by numbers, which is many times as fast as by ids."""
    reach = objects.reach
    seen, stack, ranks = {tip}, [tip], []
    while stack:
        oid = stack.pop()
        rank = _rank(reach, oid)
        if rank is not None:
            ranks.append(rank)
            continue
        new = [parent for parent in objects.commit(oid).parents if parent not in seen]
        seen.update(new)
        stack += dict.fromkeys(new)
    return len(seen) - len(ranks) + (_reached_inside(reach, ranks) if reach is not None else 0)


def _reached_inside(reach: Reach, ranks: list[int]) -> int:
    seen, stack, count = bytearray(len(reach.commits)), ranks, 0
    while stack:
        rank = stack.pop()
        if not seen[rank]:
            seen[rank] = 1
            count += 1
            stack += reach.parents(rank)
    return count


def _rank(reach: Reach | None, oid: Oid) -> int | None:
    position = reach.position(oid) if reach is not None else None
    return reach.rank(position) if reach is not None and position is not None else None


def read_commit(snapshot: Snapshot, oid: Oid) -> Commit:
    node = snapshot.objects.commit(oid)
    data = snapshot.objects.get(oid).data
    head, _, message = data.partition(b"\n\n")
    lines = dict(line.split(b" ", 1) for line in reversed(head.split(b"\n")) if b" " in line and not line.startswith(b" "))
    return Commit(
        oid, node.tree, node.parents, parse_person(lines.get(b"author", b"")), parse_person(lines.get(b"committer", b"")), message
    )


def last_commits(browser: Browser, snapshot: Snapshot, folder: bytes) -> dict[bytes, Commit]:
    """For each name in `folder` the commit that last changed it.

    A name follows the first parent that has the same entry. The walk looks at a bounded number of commits; names that did not change
    in those get the oldest commit that it reached.
    """
    found: dict[bytes, Oid] = {}
    waiting: dict[Oid, set[bytes]] = {snapshot.commit: set(browser.names(snapshot, folder))}
    heap = [(-snapshot.objects.commit(snapshot.commit).time, snapshot.commit)]
    visited = 0
    while heap:
        _, oid = heapq.heappop(heap)
        names = waiting.pop(oid, set())
        visited += 1
        if visited > _MOST_VISITED:
            found |= dict.fromkeys(names, oid)
            continue
        for parent, kept in _kept(browser, snapshot, folder, _Step(oid, frozenset(names))):
            names -= kept
            if parent not in waiting:
                heapq.heappush(heap, (-snapshot.objects.commit(parent).time, parent))
            waiting.setdefault(parent, set()).update(kept)
        found |= dict.fromkeys(names, oid)
    commits = {oid: read_commit(snapshot, oid) for oid in set(found.values())}
    return {name: commits[oid] for name, oid in found.items()}


def _kept(browser: Browser, snapshot: Snapshot, folder: bytes, step: _Step) -> Iterator[tuple[Oid, set[bytes]]]:
    """(parent, names that it has just so), each name once."""
    objects = snapshot.objects
    here = browser.names(_at(snapshot, step.commit), folder)
    left = set(step.names)
    for parent in objects.commit(step.commit).parents:
        there = browser.names(_at(snapshot, parent), folder)
        kept = {name for name in left if name in there and there[name] == here.get(name)}
        left -= kept
        if kept:
            yield parent, kept


def _at(snapshot: Snapshot, commit: Oid) -> Snapshot:
    return Snapshot(snapshot.repo, snapshot.objects, commit, snapshot.objects.commit(commit).tree)

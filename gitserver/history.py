"""What happened to a repository: commits newest first, and the last commit that touched each path."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from gitserver.browse import Browser, Snapshot
from gitserver.parse import parse_person
from storage.records import Commit, Oid

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

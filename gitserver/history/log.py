"""Commits of a repository, newest first."""

import heapq
from collections.abc import Iterator

from gitserver.history.browser import Snapshot
from gitserver.objects.parse import parse_person
from storage.records import Commit, Oid


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
    author, committer = (parse_person(lines.get(name, b"")) for name in (b"author", b"committer"))
    return Commit(oid, node.tree, node.parents, author, committer, message)

"""Commits of a repository, newest first."""

import heapq
import re
from collections.abc import Iterator

from gitserver.browse import Snapshot
from storage.records import Commit, Oid, Signature

_PERSON = re.compile(rb"([^<>\n]*) <([^<>\n]*)> (\d+) ([+-])(\d\d)(\d\d)")


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
    return Commit(oid, node.tree, node.parents, _signature(lines.get(b"author", b"")), _signature(lines.get(b"committer", b"")), message)


def _signature(line: bytes) -> Signature:
    match = _PERSON.match(line)
    if match is None:
        return Signature(b"", b"", 0)
    name, email, seconds, sign, hours, minutes = match.groups()
    zone = int(hours) * 60 + int(minutes)
    return Signature(name, email, int(seconds), -zone if sign == b"-" else zone)

"""How many commits a branch has."""

from gitserver.history.browser import Snapshot
from gitserver.objects.reachability import Reach
from gitserver.objects.store import Objects
from storage.lru import Recent
from storage.records import Oid

_KEPT_BYTES, _COUNT_BYTES = 4 << 20, 250


class CommitCounts:
    """How many commits lead to a commit. Counts are kept: after a push only what is new is walked, as long as it is
    linear.
    """

    def __init__(self) -> None:
        self._known: Recent[tuple[str, Oid], int] = Recent(_KEPT_BYTES, lambda count: _COUNT_BYTES)

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

"""Which commits changed a path, as `git log -- path` has it: a commit counts when it differs there from all its parents; of a merge that
is as one of its parents, the first such parent alone is followed. Renames are not followed.

Answers come from the index; commits that it does not have yet are compared here, up to a limit.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import islice
from typing import TypeVar

from gitserver.history.browser import Snapshot
from gitserver.history.index import PathIndex
from gitserver.history.log import log, read_commit
from gitserver.history.walk import NotIndexed, PathWalk
from storage.errors import Unavailable
from storage.limits import MIB, Limits
from storage.lru import Recent
from storage.records import Commit, Oid

T = TypeVar("T")
_FEW = 64  # compared commits of one answer that are worth an index
_TRIES = 3
_PATIENCE = 10  # a part of the time for an answer: comparing commits longer than that is worth an index, however few they are
_KNOWN_BYTES = 8 * MIB
_NAME_BYTES = 150  # of one that is known, besides its own
_ALL = 1 << 62


class PathHistory:
    def __init__(self, index: PathIndex, limits: Limits) -> None:
        self._index = index
        self._limits = limits
        self._known: Recent[tuple[str, Oid, bytes], Mapping[bytes, Oid]] = Recent(_KNOWN_BYTES, _weight)

    def last_commits(self, snapshot: Snapshot, folder: bytes, names: Iterable[bytes]) -> dict[bytes, Commit]:
        """For each of `names`, which lie in `folder`, the commit that changed it last. Raises Unavailable while that takes too long."""
        asked = list(names)
        key = (snapshot.repo.id, snapshot.commit, folder)
        known = self._known.get(key) or {}
        wanted = [name for name in asked if name not in known]
        if wanted:
            known = {**known, **self._answer(snapshot, lambda walk: walk.last_changes(snapshot.commit, folder, wanted))}
            self._known.keep(key, known)
        found = {name: known[name] for name in asked if name in known}
        commits = {oid: read_commit(snapshot, oid) for oid in set(found.values())}
        return {name: commits[oid] for name, oid in found.items()}

    def of_path(self, snapshot: Snapshot, path: bytes, most: int, after: int = 0) -> list[Commit]:
        """Commits that changed the file or folder (b"" is the root), at most so many behind the newest `after`, in git's order; also of
        one that is there no longer. Raises Unavailable while that takes too long.
        """
        if not path:
            return list(islice(log(snapshot), after, after + most))
        folder, _, name = path.rpartition(b"/")
        found = self._answer(snapshot, lambda walk: list(islice(walk.history(snapshot.commit, folder, name), after, after + most)))
        return [read_commit(snapshot, oid) for oid in found]

    def _answer(self, snapshot: Snapshot, ask: Callable[[PathWalk], T]) -> T:
        """Ask; where too much has to be compared, first have it indexed and wait for that."""
        until = time.monotonic() + self._limits.history_seconds
        most = self._limits.history_walk_commits if self._index.is_kept else _ALL
        patience = self._limits.history_seconds / _PATIENCE if self._index.is_kept else float("inf")
        for _ in range(_TRIES):
            patient_until = time.monotonic() + patience
            walk = PathWalk(snapshot.objects, self._index.segments(snapshot.repo.id), most, until, patient_until)
            try:
                found = ask(walk)
            except NotIndexed:
                making = self._index.make(snapshot.objects, [snapshot.commit])
                with suppress(TimeoutError):
                    if making is not None:
                        making.result(max(0.0, until - time.monotonic()))
                    else:
                        patience = float("inf")
                continue
            if walk.compared >= _FEW:
                self._index.make(snapshot.objects, [snapshot.commit])
            return found
        raise Unavailable("The history of this repository is being indexed. Try again in a moment.")


def _weight(known: Mapping[bytes, Oid]) -> int:
    return sum(_NAME_BYTES + len(name) for name in known)

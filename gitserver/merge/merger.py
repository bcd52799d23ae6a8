"""Merging in the background: `note` after what may have filled a tier, and the rest happens in one thread of its own.

Order of writes (I4): the new pack and its index, synced; then one transaction that puts its row in the place of the sources' rows; then
the sources' files go. Whatever stops it leaves a repository that is whole, and files that the next merge sweeps when they are old.
"""

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gitserver.merge.joined import Source, write_joined
from gitserver.merge.plan import choose
from gitserver.objects import Objects, ObjectStores
from storage.errors import Unavailable
from storage.limits import Limits
from storage.packs import PackStore
from storage.records import PackInfo

log = logging.getLogger(__name__)
_ROUNDS = 1000  # of one merge; a next push goes on where it stopped


class Merger:
    """`prepare` is told of the objects of a repository that got a pack, merged or not."""

    def __init__(
        self, packs: PackStore, objects: ObjectStores, limits: Limits, prepare: Callable[[Objects], None] = lambda objects: None
    ) -> None:
        self._packs = packs
        self._objects = objects
        self._limits = limits
        self._prepare = prepare
        self._waiting: set[str] = set()
        self._is_closed = False
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(1, "merge")

    def note(self, repo_id: str) -> None:
        """A pack was added: merge soon, if that made a tier full. Costs the caller next to nothing."""
        objects = self._objects.of(repo_id)
        self._prepare(objects)
        packs = [pack.info for pack in objects.packs()]
        if not choose(packs, self._limits):
            return
        with self._lock:
            if not self._is_closed and repo_id not in self._waiting:
                self._waiting.add(repo_id)
                self._executor.submit(self._work, repo_id)

    def close(self) -> None:
        """Wait for the merge that runs; what waits is left to the next start."""
        with self._lock:
            self._is_closed = True
        self._executor.shutdown(wait=True, cancel_futures=True)

    def merge(self, repo_id: str) -> None:
        """Merge until no tier is full. Raises Unavailable when a pack is damaged or lost; nothing is changed then."""
        with self._packs.merging(repo_id) as is_ours:
            if not is_ours:
                return
            self._packs.sweep(repo_id)
            for _ in range(_ROUNDS):
                sources = choose(self._packs.list(repo_id), self._limits)
                if self._is_closed or not sources or not self._round(repo_id, sources):
                    return

    def _work(self, repo_id: str) -> None:
        """One job of the thread: the outermost place, where every failure is logged. No push depends on it."""
        with self._lock:
            self._waiting.discard(repo_id)
        try:
            self.merge(repo_id)
        except Exception:
            log.exception("the small packs of repository %s were not merged", repo_id)

    def _round(self, repo_id: str, sources: Sequence[PackInfo]) -> bool:
        """Merge `sources`; False when some of them are there no longer."""
        folder = self._packs.quarantine()
        try:
            merged = self.write(repo_id, sources, folder / "merged.pack")
            return self.publish(repo_id, sources, merged, folder / "merged.pack")
        except Unavailable:
            if set(sources) <= set(self._packs.list(repo_id)):
                raise
            return False
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def write(self, repo_id: str, sources: Sequence[PackInfo], pack: Path) -> PackInfo:
        """The first step: the merged pack as a file, its index beside it."""
        parts = [Source(self._packs.open(repo_id, info), self._packs.entries(repo_id, info)) for info in sources]
        return write_joined(self._objects.of(repo_id), parts, pack)

    def publish(self, repo_id: str, sources: Sequence[PackInfo], merged: PackInfo, pack: Path) -> bool:
        """The other steps, in the order of writes. False when another merge or a deletion was faster; its own files are gone then."""
        self._packs.add(repo_id, merged, pack, pack.with_suffix(".idx"))
        if not self._packs.replace(repo_id, sources, merged):
            if merged not in self._packs.list(repo_id):  # else the other one made the very same
                self._packs.remove(repo_id, [merged])
            return False
        objects = self._objects.of(repo_id)
        objects.refresh()  # before the files go, so that readers here need no second look
        self._packs.remove(repo_id, [info for info in sources if info.id != merged.id])
        return True

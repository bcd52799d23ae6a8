"""Merging in the background: `enqueue` after what may have filled a tier; the rest happens in threads of its own, one for merges and one
that waits for whole repacks.

Order of writes (I4): the new pack and its index, synced; then one transaction that puts its row in the place of the sources' rows; then
the sources' files go. Whatever stops it leaves a repository that is whole, and files that the next merge sweeps when they are old.
"""

import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gitserver.maintenance.concatenate import SourcePack, write_joined
from gitserver.maintenance.repack import Repacker
from gitserver.maintenance.tiers import choose, wants_whole
from gitserver.objects.store import Objects, ObjectStores
from storage.disk_space import is_full
from storage.errors import Unavailable
from storage.limits import Limits
from storage.packs import PackStore
from storage.packs.generations import RepackSchedule
from storage.records import PackInfo

log = logging.getLogger(__name__)
_TURN_SECONDS = 600
_TENDED = 10  # repositories a time
_ROUNDS = 1000  # of one merge; a next push goes on where it stopped


class BackgroundRepack:
    """`prepare` is told of the objects of a repository that got a pack, merged or not."""

    def __init__(
        self,
        packs: PackStore,
        objects: ObjectStores,
        repacker: Repacker,
        limits: Limits,
        prepare: Callable[[Objects], None] = lambda objects: None,
    ) -> None:
        self._packs = packs
        self._objects = objects
        self.repacker = repacker
        self._limits = limits
        self._prepare = prepare
        self._merges = _Lane("merge", self.merge)
        self._repacks = _Lane("repack", self._repack_in_turn)
        self._is_closed = False

    def enqueue(self, repo_id: str) -> None:
        """A pack was added: merge soon, if that made a tier full or is worth a whole repack. Costs the caller next to nothing."""
        objects = self._objects.of(repo_id)
        self._prepare(objects)
        packs = [pack.info for pack in objects.packs()]
        if choose(packs, self._limits):
            self._merges.put(repo_id)
        elif wants_whole(packs, self._limits):
            self._repacks.put(repo_id)

    def run_maintenance(self) -> None:
        """Repack some of the repositories whose turn it is; now and then, on every machine."""
        keep = self._limits.unreachable_seconds
        for repo_id in self._packs.upkeep.due(RepackSchedule(keep // 2, keep), _TENDED):
            self._repacks.put(repo_id)

    def close(self) -> None:
        """Wait for the merge that runs, and end a repack; what waits is left to the next start."""
        self._is_closed = True
        self._merges.close()
        self._repacks.close(self.repacker.close)

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

    def _repack_in_turn(self, repo_id: str) -> None:
        """Of all machines one, and not again at once where it fails."""
        if self._packs.upkeep.claim(repo_id, _TURN_SECONDS):
            self.repacker.repack(repo_id)

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
        parts = [SourcePack(self._packs.open(repo_id, info), self._packs.entries(repo_id, info)) for info in sources]
        return write_joined(self._objects.of(repo_id), parts, pack)

    def publish(self, repo_id: str, sources: Sequence[PackInfo], merged: PackInfo, pack: Path) -> bool:
        """The other steps, in the order of writes. False when another merge or a deletion was faster; its own files are gone then."""
        self._packs.add(repo_id, merged, pack, pack.with_suffix(".idx"))
        if not self._packs.replace(repo_id, sources, merged):
            self._packs.discard(repo_id, [merged])  # unless the other one made the very same
            return False
        objects = self._objects.of(repo_id)
        objects.refresh()  # before the files go, so that readers here need no second look
        self._packs.discard(repo_id, sources)
        return True


class _Lane:
    """One thread for one kind of work on repositories; who waits already is not put in once more."""

    def __init__(self, name: str, work: Callable[[str], object]) -> None:
        self._name = name
        self._work = work
        self._waiting: set[str] = set()
        self._is_closed = False
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(1, name)

    def put(self, repo_id: str) -> None:
        with self._lock:
            if not self._is_closed and repo_id not in self._waiting:
                self._waiting.add(repo_id)
                self._executor.submit(self._one, repo_id)

    def close(self, hurry: Callable[[], None] = lambda: None) -> None:
        """Wait for what runs, after `hurry` told it to end."""
        with self._lock:
            self._is_closed = True
        hurry()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _one(self, repo_id: str) -> None:
        """The outermost place, where every failure is logged. No push depends on it."""
        with self._lock:
            self._waiting.discard(repo_id)
        try:
            self._work(repo_id)
        except Exception as error:
            if is_full(error):
                log.warning("the packs of repository %s are not merged while the disk is full", repo_id)
            elif not self._is_closed:
                log.exception("the packs of repository %s were not merged (%s)", repo_id, self._name)

"""A whole repack of one repository: what is reached becomes one pack, the rest is set aside in another, what was set aside long ago goes.

Order of writes (I4): the new packs and their indexes, synced; one transaction that puts their rows in the place of the sources' rows; then
the sources' files go. Objects are dropped by one more transaction, which takes the row of their pack away when nothing came since somebody
saw that nothing names them (docs/decisions/0015).
"""

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from gitserver.maintenance.order import DEAD, MAIN, RepackInput, RepackOrder, RepackResult, Role
from gitserver.maintenance.processes import RepackProcess
from gitserver.maintenance.tiers import is_copied
from gitserver.objects.connectivity import is_closed, is_in
from gitserver.objects.store import Objects, ObjectStores
from storage.errors import Unavailable
from storage.limits import Limits
from storage.packs import PackStore
from storage.records import Oid, PackInfo
from storage.versions.base import VersionStore

log = logging.getLogger(__name__)
_ROUNDS = 3  # when others merge the same packs
_DROP_TRIES = 5  # when pushes come in between
_MOST_NEW = 20_000  # objects that came during a repack and are looked at one by one
_MOST_DEAD_PACKS = 8  # more become one


@dataclass(frozen=True, slots=True)
class Look:
    """What a repack begins with: the packs by their roles."""

    changes: int
    roles: dict[PackInfo, Role]
    roots: frozenset[Oid]

    @property
    def sources(self) -> list[PackInfo]:
        return [info for info, role in self.roles.items() if role is Role.SOURCE]


@dataclass(frozen=True, slots=True)
class Repacked:
    """What became of a repository: objects that are reached, that are set aside now, and that were dropped."""

    reached: int
    set_aside: int
    dropped: int


class Repacker:
    """`prepare` is told of the objects of a repository that was repacked."""

    def __init__(
        self,
        packs: PackStore,
        objects: ObjectStores,
        versions: VersionStore,
        limits: Limits,
        prepare: Callable[[Objects], None] = lambda objects: None,
    ) -> None:
        self._packs = packs
        self._objects = objects
        self._versions = versions
        self._limits = limits
        self._prepare = prepare
        self._process = RepackProcess(limits.repack_seconds)

    def close(self) -> None:
        """End what runs."""
        self._process.close()

    def repack(self, repo_id: str, grace_seconds: int | None = None) -> Repacked | None:
        """None when somebody else on this machine merges here, or others did again and again. Raises Unavailable; nothing is lost then.

        `grace_seconds`: how long objects that nothing leads to are kept, if not for the usual time.
        """
        self._objects.of(repo_id).refresh()
        grace = self._limits.unreachable_seconds if grace_seconds is None else grace_seconds
        with self._packs.merging(repo_id) as is_ours:
            if is_ours:
                self._packs.sweep(repo_id)
            for _ in range(_ROUNDS if is_ours else 0):
                known = self._round(repo_id)
                if known is not None:
                    dropped = self.drop(repo_id, known, grace)
                    return self._repacked(repo_id, dropped)
        return None

    def look(self, repo_id: str) -> Look:
        """Roots before packs: what a root leads to is in the packs then. A push in between is looked at, too, if it can be."""
        for _ in range(_ROUNDS):
            changes = self._packs.upkeep.changes(repo_id)
            roots = frozenset(self._versions.roots(repo_id))
            infos = self._packs.list(repo_id)
            if self._packs.upkeep.changes(repo_id) == changes:
                break
        dead = [info for info in infos if info.dead_since is not None and is_copied(info, self._limits)]
        folded = set(dead) if len(dead) >= _MOST_DEAD_PACKS else set()
        return Look(changes, {info: self._role(info, is_folded=info in folded) for info in infos}, roots)

    def write(self, repo_id: str, look: Look, folder: Path) -> RepackResult:
        """The first step: the new packs as files in `folder`."""
        with ExitStack() as stack:
            given = []
            for info, role in look.roles.items():
                pack, index = map(stack.enter_context, self._packs.files(repo_id, info))
                given.append(RepackInput(info, role, pack.fileno(), index.fileno()))
            limits = self._limits
            roots = tuple(sorted(root.hex() for root in look.roots))
            job = RepackOrder(str(folder), tuple(given), roots, limits.delta_object_bytes, limits.delta_repack_bytes)
            return self._process.run(job, [fd for one in given for fd in (one.pack_fd, one.index_fd)])

    def publish(self, repo_id: str, look: Look, made: RepackResult, folder: Path) -> set[PackInfo] | None:
        """The next steps. All packs that are there now, and were looked at; None when another merge or a deletion was faster."""
        now = _after(look)
        files = [(made.main, MAIN), (made.dead and replace(made.dead, dead_since=now), DEAD)]
        new = [(info, folder / name) for info, name in files if info is not None]
        for info, pack in new:
            self._packs.add(repo_id, info, pack, pack.with_suffix(".idx"))
        kept = [info for info in look.roles if info.id in made.dead_kept]
        gone = [*look.sources, *kept]
        standing = [info for info, _ in new] + [replace(info, dead_since=now) for info in kept]
        if not self._packs.replace(repo_id, gone, *standing):
            if not self._packs.list(repo_id):  # deleted; else a sweep takes the files away, when nobody can be making the very same
                self._packs.remove(repo_id, [info for info, _ in new])
            return None
        self._packs.upkeep.repacked(repo_id, look.changes)
        objects = self._objects.of(repo_id)
        objects.refresh()  # before the files go, so that readers here need no second look
        self._prepare(objects)
        self._packs.discard(repo_id, look.sources)
        return (look.roles.keys() - set(gone)) | set(standing)

    def drop(self, repo_id: str, known: set[PackInfo], grace_seconds: int) -> int:
        """Drop what was set aside so long ago; how many objects. `known` are packs of which a repack saw what they name: what leads from
        the roots of that moment names nothing that is only in packs that are set aside, and no pack names what was set aside before it.
        """
        for _ in range(_DROP_TRIES):
            changes = self._packs.upkeep.changes(repo_id)
            limit = time.time_ns() // 1000 - grace_seconds * 1_000_000
            packs = self._packs.list(repo_id)
            dead = [info for info in packs if info.dead_since is not None and info.dead_since <= limit]
            if not dead or not self._is_named_by_nothing(repo_id, dead, known):
                return 0
            if self._packs.upkeep.drop(repo_id, dead, changes, grace_seconds):
                self._objects.of(repo_id).refresh()
                self._packs.discard(repo_id, dead)
                if self._objects.prepared is not None:  # packs of clones may hold what was dropped
                    self._objects.prepared.remove_folder(repo_id)
                return sum(info.objects for info in dead)
        log.info("repository %s is too busy for objects to be dropped; it is tried again later", repo_id)
        return 0

    def _round(self, repo_id: str) -> set[PackInfo] | None:
        look = self.look(repo_id)
        if not look.roles:
            return set()
        folder = self._packs.quarantine()
        try:
            return self.publish(repo_id, look, self.write(repo_id, look, folder), folder)
        except Unavailable:
            if look.roles.keys() <= set(self._packs.list(repo_id)):
                raise
            return None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _role(self, info: PackInfo, *, is_folded: bool) -> Role:
        if info.dead_since is not None and not is_folded:
            return Role.DEAD
        return Role.SOURCE if is_copied(info, self._limits) else Role.KEPT

    def _is_named_by_nothing(self, repo_id: str, dead: Sequence[PackInfo], known: set[PackInfo]) -> bool:
        """Whether what came since the repack goes without the packs `dead`: refs, and packs that are not `known`."""
        roots = self._versions.roots(repo_id)
        objects = self._objects.of(repo_id)
        objects.refresh()
        going = {info.id for info in dead}
        staying = [pack for pack in objects.packs() if pack.info.id not in going]
        new = [pack for pack in staying if pack.info not in known]
        if sum(pack.info.objects for pack in new) > _MOST_NEW:
            return False
        return all(is_in(staying, oid) for oid in roots) and all(is_closed(pack, staying) for pack in new)

    def _repacked(self, repo_id: str, dropped: int) -> Repacked:
        infos = self._packs.list(repo_id)
        dead = sum(info.objects for info in infos if info.dead_since is not None)
        return Repacked(sum(info.objects for info in infos) - dead, dead, dropped)


def _after(look: Look) -> int:
    """Now, and later than what was set aside before, whatever other machines' clocks say: what is dropped together goes by these times."""
    return max([time.time_ns() // 1000, *(info.dead_since + 1 for info in look.roles if info.dead_since is not None)])

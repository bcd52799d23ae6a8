"""A hub's git side on one machine, without its web: several on the same rows and files are a cluster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from gitserver.maintenance.background import BackgroundRepack
from gitserver.maintenance.check import check_repository
from gitserver.maintenance.repack import Repacker
from gitserver.objects.pack_writer import PackWriter
from gitserver.objects.store import Kind, ObjectStores, RawObject, object_id
from gitserver.update.pusher import Pusher
from gitserver.update.ref_updater import RefUpdater
from gitserver.update.ref_writer import RefWriter
from hub.services import Services
from storage.limits import Limits
from storage.packs import PackStore
from storage.packs.base import PackFiles
from storage.records import ZERO_OID, Oid, Principal, RefUpdate, Repo
from storage.versions.table import TableVersionStore

Sites: TypeAlias = Callable[..., "Site"]
PERSON = b"A <a@example.org> %d +0000"


@dataclass
class Site:
    services: Services
    actor: Principal
    repo: Repo
    packs: PackStore
    limits: Limits
    made: dict[Oid, RawObject] = field(default_factory=dict)  # by this site, whatever became of it

    def __post_init__(self) -> None:
        self.stores = ObjectStores(self.packs)
        self.versions = TableVersionStore(self.services.database)
        self.repacker = Repacker(self.packs, self.stores, self.versions, self.limits)
        background_repack = BackgroundRepack(self.packs, self.stores, self.repacker, self.limits)
        background_repack.close()
        self.repacker = Repacker(self.packs, self.stores, self.versions, self.limits)
        work = (self.stores, self.packs, background_repack, self.versions, None, self.services.receive_runner, self.limits)
        updater = RefUpdater(*work)
        self.pusher, self.writer = Pusher(updater, self.services.possession), RefWriter(updater)

    def ref(self, name: str) -> Oid:
        found = self.versions.find(self.repo.id, [b"refs/heads/" + name.encode()])
        return found.oid if found is not None else ZERO_OID

    def commit(self, branch: str, content: bytes, *, parents: Sequence[Oid] | None = None) -> Oid:
        """One file changed, on top of the branch; with `parents` the branch is put there, whatever it was."""
        before = self.ref(branch)
        parents = parents if parents is not None else [before] if before != ZERO_OID else []
        blob = RawObject(Kind.BLOB, content)
        tree = RawObject(Kind.TREE, b"100644 file\0" + object_id(Kind.BLOB, content))
        lines = [b"tree " + object_id(Kind.TREE, tree.data).hex().encode(), *(b"parent " + one.hex().encode() for one in parents)]
        who = PERSON % (1_700_000_000 + len(self.made))
        lines += [b"author " + who, b"committer " + who, b"", b"m\n"]
        commit = RawObject(Kind.COMMIT, b"\n".join(lines))
        oid = object_id(Kind.COMMIT, commit.data)
        self.store([blob, tree, commit], RefUpdate(b"refs/heads/" + branch.encode(), before, oid))
        return oid

    def store(self, new: Sequence[RawObject], update: RefUpdate) -> None:
        def fill(writer: PackWriter) -> list[RefUpdate]:
            objects = self.stores.of(self.repo.id)
            objects.refresh()
            for raw in new:
                writer.add(raw, unless=lambda oid: objects.peek(oid) is not None)
            return [update]

        results = self.writer.store(self.repo, self.actor, fill)
        assert [result.reason for result in results] == [""]
        self.made |= {object_id(raw.kind, raw.data): raw for raw in new}

    def move(self, branch: str, oid: Oid) -> str:
        """Why it was refused, or empty."""
        (result,) = self.writer.move(self.repo, self.actor, [RefUpdate(b"refs/heads/" + branch.encode(), self.ref(branch), oid)])
        return result.reason

    def repack(self, grace: int | None = None) -> Any:
        return self.repacker.repack(self.repo.id, grace)

    def age(self, seconds: int) -> None:
        """What was set aside was set aside so much longer ago."""
        sql = "UPDATE packs SET dead_since = dead_since - :us WHERE dead_since IS NOT NULL"
        self.services.database.write(lambda tx: tx.run(sql, {"us": seconds * 1_000_000}))

    def has(self, oid: Oid) -> bool:
        objects = ObjectStores(self.packs).of(self.repo.id)
        return objects.contains(oid) and objects.get(oid) == self.made.get(oid, objects.get(oid))

    def live(self) -> list[int]:
        return sorted(info.objects for info in self.packs.list(self.repo.id) if info.dead_since is None)

    def dead(self) -> list[int]:
        return sorted(info.objects for info in self.packs.list(self.repo.id) if info.dead_since is not None)

    def check(self) -> None:
        """With fresh eyes: nothing that is stored names what is not."""
        assert list(check_repository(self.repo, ObjectStores(self.packs), self.versions, self.services.possession)) == []

    def leftovers(self) -> int:
        """Packs without a row: what a sweep takes away when they are old."""
        return len({info.id for info in self.packs.stored(self.repo.id)} - {info.id for info in self.packs.list(self.repo.id)})


def make_site(services: Services, repo: Repo, actor: Principal, files: PackFiles, incoming: Path, limits: Limits) -> Site:
    return Site(services, actor, repo, PackStore(files, incoming, services.database), limits)

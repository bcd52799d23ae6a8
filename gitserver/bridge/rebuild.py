"""Rows again from what the version store, the packs and the pool have, when the database was lost (I3)."""

from collections.abc import Iterator

from accounts.identity.users import Users
from accounts.repositories import Repositories
from gitserver.objects.store import Kind, ObjectStores
from lfs.objects.possession import Possession
from lfs.pointer import MOST_BYTES, parse
from storage.blobs.base import BlobStore
from storage.database.base import Tx
from storage.errors import HubError
from storage.packs import PackStore
from storage.records import Repo
from storage.versions.base import StoredRepository, VersionStore


class Rebuild:
    def __init__(
        self,
        users: Users,
        repos: Repositories,
        packs: PackStore,
        objects: ObjectStores,
        possession: Possession,
        blobs: BlobStore,
        versions: VersionStore,
    ) -> None:
        self._users = users
        self._repos = repos
        self._packs = packs
        self._objects = objects
        self._possession = possession
        self._blobs = blobs
        self._versions = versions

    def run(self) -> Iterator[str]:
        """One line a repository. Those that have a row are left as they are. Accounts come back without passwords and tokens.

        Raises Invalid where there is nothing to rebuild from, Unavailable.
        """
        for kept in self._versions.kept():
            if self._repos.get(kept.repo_id) is not None:
                yield f"{kept.name.path}: is here"
                continue
            try:
                yield f"{kept.name.path}: {self._one(kept)}"
            except HubError as error:
                yield f"{kept.name.path}: failed: {error.message}"

    def _one(self, kept: StoredRepository) -> str:
        creator = self._users.restore(kept.creator)
        repo = Repo(kept.repo_id, kept.name, kept.is_private, creator.id, kept.created, kept.created, kept.head)
        packs = self._packs.stored(repo.id)

        def rows(tx: Tx) -> None:
            self._repos.restore(tx, repo)
            for info in packs:
                self._packs.record(tx, repo.id, info)

        self._versions.restore(repo, kept, rows)
        large = self._link_large(repo)
        refs = self._versions.refs(repo.id, fresh=False).refs
        return f"{len(refs)} refs, {len(packs)} packs, {large} large objects"

    def _link_large(self, repo: Repo) -> int:
        """What its pointers name and the pool has: only what a repository possessed could be pushed into it."""
        objects = self._objects.of(repo.id)
        objects.refresh()
        found = set()
        for pack in objects.packs():
            for _, oid in pack.oids():
                kind, size = objects.header(oid)
                if kind is Kind.BLOB and size <= MOST_BYTES and (pointer := parse(objects.get(oid).data)):
                    found.add(pointer.blob)
        stored = [blob for blob in found if self._blobs.exists(blob)]
        for blob in stored:
            self._possession.link(repo.id, blob)
        return len(stored)

"""Which repository was given which large object (I7). Every read of the pool on behalf of a user asks here first.

The empty object is everybody's: to know it is to have it. It is stored and noted when it is first asked for.
"""

import hashlib
import time
from collections.abc import Iterable

from storage.blobs.base import BlobStore
from storage.database.base import Database, Tx
from storage.errors import ObjectNotFound, RepoNotFound
from storage.records import BlobRef

EMPTY = BlobRef(hashlib.sha256().hexdigest(), 0)


class Possession:
    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self._database = database
        self._blobs = blobs

    def has(self, repo_id: str, sha256: str) -> BlobRef | None:
        """The object with its true size, if the repository possesses it."""
        return _has(self._database, repo_id, sha256) or self._empty(repo_id, sha256)

    def held(self, repo_id: str, oids: Iterable[str]) -> dict[str, BlobRef]:
        """Those of `oids` that the repository possesses."""

        def work(tx: Tx) -> dict[str, BlobRef]:
            found = ((oid, _has(tx, repo_id, oid)) for oid in wanted)
            return {oid: blob for oid, blob in found if blob is not None}

        wanted = set(oids)
        held = self._database.read(work)
        if EMPTY.sha256 in wanted - set(held) and (empty := self._empty(repo_id, EMPTY.sha256)):
            held[empty.sha256] = empty
        return held

    def missing(self, repo_id: str, blobs: Iterable[BlobRef]) -> list[BlobRef]:
        """Those that the repository does not possess in that size."""
        wanted = list(blobs)
        held = self.held(repo_id, {blob.sha256 for blob in wanted})
        return [blob for blob in wanted if held.get(blob.sha256) != blob]

    def link(self, repo_id: str, blob: BlobRef) -> None:
        """Note that the bytes of `blob` came in through the repository. Raises ObjectNotFound while they are not durable in the
        pool (I4), RepoNotFound when the repository was deleted meanwhile.
        """
        if not self._blobs.exists(blob):
            raise ObjectNotFound(f"Object {blob.sha256} of {blob.size} bytes is not stored. Upload it first.")
        self._database.write(lambda tx: link_in(tx, repo_id, blob))

    def _empty(self, repo_id: str, sha256: str) -> BlobRef | None:
        if sha256 != EMPTY.sha256:
            return None
        self._blobs.keep(b"")
        self._database.write(lambda tx: link_in(tx, repo_id, EMPTY))
        return EMPTY


def link_in(tx: Tx, repo_id: str, blob: BlobRef) -> None:
    """The same within a transaction; that the bytes are durable is the caller's to know."""
    row = {"repo": repo_id, "sha256": blob.sha256, "size": blob.size, "now": time.time_ns() // 1000}
    if tx.one("SELECT id FROM repos WHERE id = :repo", row) is None:
        raise RepoNotFound("The repository was deleted meanwhile.")
    tx.run("INSERT INTO blobs (sha256, size, created_at) VALUES (:sha256, :size, :now) ON CONFLICT DO NOTHING", row)
    tx.run("INSERT INTO lfs_objects (repo_id, sha256, created_at) VALUES (:repo, :sha256, :now) ON CONFLICT DO NOTHING", row)


def _has(rows: Tx | Database, repo_id: str, sha256: str) -> BlobRef | None:
    sql = (
        "SELECT blobs.size FROM lfs_objects JOIN blobs ON blobs.sha256 = lfs_objects.sha256"
        " WHERE lfs_objects.repo_id = :repo AND lfs_objects.sha256 = :sha256"
    )
    row = rows.one(sql, {"repo": repo_id, "sha256": sha256})
    return BlobRef(sha256, row["size"]) if row else None

"""Large files as other packages use them: keep bytes, and let a repository have what its writer may read elsewhere (I7)."""

from collections.abc import Mapping, Sequence

from accounts.access import READABLE_REPOS, readable_by
from lfs.objects.possession import EMPTY, Possession, link_in
from storage.blobs.base import BlobStore
from storage.database.base import Database, Tx
from storage.records import BlobRef, Principal, Repo


class LargeFiles:
    def __init__(self, database: Database, blobs: BlobStore, possession: Possession) -> None:
        self._database = database
        self._blobs = blobs
        self._possession = possession

    def keep(self, repo: Repo, data: bytes) -> BlobRef:
        """Store `data` as an object of the repository."""
        blob = self._blobs.keep(data)
        self._possession.link(repo.id, blob)
        return blob

    def sized(self, wanted: Mapping[str, int | None]) -> dict[str, BlobRef | None]:
        """Each with its true size where the pool has it, in the size that was asked for if one was. Says nothing of who may."""

        def work(tx: Tx) -> dict[str, BlobRef | None]:
            sql = "SELECT size FROM blobs WHERE sha256 = :sha256"
            rows = {sha256: tx.one(sql, {"sha256": sha256}) for sha256 in wanted}
            sizes = {sha256: row["size"] for sha256, row in rows.items() if row is not None} | {EMPTY.sha256: EMPTY.size}
            return {
                sha256: BlobRef(sha256, sizes[sha256]) if sha256 in sizes and size in (None, sizes[sha256]) else None
                for sha256, size in wanted.items()
            }

        return self._database.read(work)

    def missing(self, principal: Principal, repo: Repo, blobs: Sequence[BlobRef]) -> list[BlobRef]:
        """Those that the repository lacks and the caller may not read in another one."""
        lacking = self._possession.missing(repo.id, blobs)
        return self._database.read(lambda tx: [blob for blob in lacking if not _is_readable(tx, principal, blob)]) if lacking else []

    def claim(self, principal: Principal, repo: Repo, blobs: Sequence[BlobRef]) -> list[BlobRef]:
        """Link those that the repository lacks and the caller may read in another one; what is still missing then."""
        missing = self._possession.missing(repo.id, blobs)
        if not missing:
            return []

        def work(tx: Tx) -> list[BlobRef]:
            left = []
            for blob in missing:
                if _is_readable(tx, principal, blob):
                    link_in(tx, repo.id, blob)
                else:
                    left.append(blob)
            return left

        return self._database.write(work)


def _is_readable(tx: Tx, principal: Principal, blob: BlobRef) -> bool:
    sql = (
        "SELECT repos.id FROM lfs_objects JOIN blobs ON blobs.sha256 = lfs_objects.sha256 JOIN repos ON repos.id = lfs_objects.repo_id"
        f" WHERE lfs_objects.sha256 = :sha256 AND blobs.size = :size AND {READABLE_REPOS} LIMIT 1"
    )
    return tx.one(sql, readable_by(principal) | {"sha256": blob.sha256, "size": blob.size}) is not None

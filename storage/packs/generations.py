"""The rows of upkeep: what a push counts on stays, and repositories are repacked in turn (docs/decisions/0015).

A push looks whether what its objects name is stored, and is recorded a moment later. `drops` says whether anything went in between. The
other way round, who drops objects has looked whether anything names them, and `changes` says whether anything came in between.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from storage.database.base import Database, Tx
from storage.errors import Dropped, HubError, RepoNotFound
from storage.records import PackInfo

_DROPPED = "Objects that nothing had led to were removed from this repository just now. Do the same once more."
_MERGED_SECONDS = 86400  # the row of a merged pack is kept so long
_AGAIN_SECONDS = 86400  # what could not be dropped is tried again after that
_DUE = (
    "SELECT id FROM repos WHERE repacked_at < :again AND ((changes > repacked_changes AND repacked_at < :old AND created_at < :old)"
    " OR EXISTS (SELECT 1 FROM packs WHERE packs.repo_id = repos.id AND merged_at IS NULL AND dead_since < :dead))"
    " ORDER BY repacked_at, id LIMIT :most"
)


@dataclass(frozen=True, slots=True)
class RepackSchedule:
    """When a repository is to be repacked though no push asks for it, in seconds: some time after it changed, and when the objects that
    were set aside in it have been there for long.
    """

    changed: int
    dead: int


class Upkeep:
    def __init__(self, database: Database) -> None:
        self._database = database

    def drops(self, repo_id: str) -> int:
        """To be asked before the first look at what is stored."""
        row = self._database.one("SELECT drops FROM repos WHERE id = :repo", {"repo": repo_id})
        return int(row["drops"]) if row else 0

    def changes(self, repo_id: str) -> int:
        """To be asked before the first look at what names objects."""
        row = self._database.one("SELECT changes FROM repos WHERE id = :repo", {"repo": repo_id})
        return int(row["changes"]) if row else 0

    def count_on(self, tx: Tx, repo_id: str, drops: int) -> None:
        """Part of every transaction that makes packs or refs show which name stored objects. Raises Dropped, RepoNotFound."""
        row = {"repo": repo_id, "drops": drops}
        if tx.run("UPDATE repos SET changes = changes + 1 WHERE id = :repo AND drops = :drops", row):
            return
        if tx.one("SELECT id FROM repos WHERE id = :repo", row) is None:
            raise RepoNotFound("The repository is gone.")
        raise Dropped(_DROPPED)

    def check(self, repo_id: str, drops: int, error: HubError) -> None:
        """Raises Dropped where that may be why there was an error."""
        if self.drops(repo_id) != drops:
            raise Dropped(_DROPPED) from error

    def drop(self, repo_id: str, dead: Sequence[PackInfo], changes: int, grace_seconds: int) -> bool:
        """The packs `dead`, set aside `grace_seconds` ago or earlier, are no longer part of the repository.

        False, and nothing is changed, when anything came since `changes`, or one of them is not there as it was. Rows of merged packs
        go, too, where their objects may have been in these: a push of the very same pack must not be taken for one that is here.
        """
        now = time.time_ns() // 1000
        merged = now - min(grace_seconds, _MERGED_SECONDS) * 1_000_000

        def work(tx: Tx) -> None:
            row = {"repo": repo_id, "changes": changes, "merged": merged}
            if not tx.run("UPDATE repos SET drops = drops + 1 WHERE id = :repo AND changes = :changes", row):
                raise _Changed
            for info in dead:
                gone = {"repo": repo_id, "id": info.id, "dead": info.dead_since}
                if not tx.run("DELETE FROM packs WHERE repo_id = :repo AND id = :id AND merged_at IS NULL AND dead_since = :dead", gone):
                    raise _Changed
            tx.run("DELETE FROM packs WHERE repo_id = :repo AND merged_at <= :merged", row)

        try:
            self._database.write(work)
        except _Changed:
            return False
        return True

    def due(self, turns: RepackSchedule, most: int) -> list[str]:
        """At most `most` repositories whose turn it is, the longest waiting first."""
        now = time.time_ns() // 1000
        row = {
            "again": now - _AGAIN_SECONDS * 1_000_000,
            "old": now - turns.changed * 1_000_000,
            "dead": now - turns.dead * 1_000_000,
            "most": most,
        }
        return [found["id"] for found in self._database.all(_DUE, row)]

    def claim(self, repo_id: str, seconds: int) -> bool:
        """Whether the caller is to repack it now: of all machines one within so many seconds."""
        now = time.time_ns() // 1000
        row = {"repo": repo_id, "now": now, "again": now - seconds * 1_000_000}
        sql = "UPDATE repos SET repacked_at = :now WHERE id = :repo AND repacked_at < :again"
        return bool(self._database.write(lambda tx: tx.run(sql, row)))

    def repacked(self, repo_id: str, changes: int) -> None:
        """A repack saw all that there was at `changes`."""
        row = {"repo": repo_id, "now": time.time_ns() // 1000, "changes": changes}
        self._database.write(lambda tx: tx.run("UPDATE repos SET repacked_at = :now, repacked_changes = :changes WHERE id = :repo", row))


class _Changed(Exception):
    """Rolls the transaction of a drop back."""

"""Each repository of the hub as one of LakeFS: made before its first update, its default branch protected at once."""

from collections.abc import Mapping

from storage.database.base import Database, Tx
from storage.records import ZERO_OID, Repo
from storage.versions.lakefs import journal
from storage.versions.lakefs.client import Denied, LakeFS
from storage.versions.lakefs.names import branch_id, repository_id

_MAIN = b"refs/heads/main"


class Repositories:
    """`namespace` is where LakeFS keeps what is its own of all repositories, e.g. `s3://bucket/lakefs`."""

    def __init__(self, database: Database, lakefs: LakeFS, namespace: str) -> None:
        self._database = database
        self._lakefs = lakefs
        self._namespace = namespace

    def ensure(self, repo: Repo) -> None:
        """LakeFS has it when this returns. Raises Unavailable."""
        if self._database.read(lambda tx: journal.description(tx, repo.id)) is None:
            self._make(repo.id)

    def settle(self, repo_id: str) -> None:
        """Make it, tell LakeFS what it is called now, or delete it, whatever the rows say. Raises Unavailable."""
        wanted, told = self._database.read(lambda tx: (_description(tx, repo_id), journal.description(tx, repo_id)))
        if wanted is None and told is not None:
            self._lakefs.delete_repository(repository_id(repo_id))
            self._database.write(lambda tx: journal.forget_repository(tx, repo_id))
        elif wanted is not None and told is None:
            self._make(repo_id)
        elif wanted is not None and wanted != told:
            self._lakefs.describe(repository_id(repo_id), wanted)
            self._database.write(lambda tx: journal.note_description(tx, repo_id, wanted))

    def unsettled(self) -> list[str]:
        """Repositories that are gone here and not yet there, or are called otherwise there."""

        def work(tx: Tx) -> list[str]:
            ids = [row["repo_id"] for row in tx.all("SELECT repo_id FROM lakefs_repos")]
            return [repo_id for repo_id in ids if _description(tx, repo_id) != journal.description(tx, repo_id)]

        return self._database.read(work)

    def _make(self, repo_id: str) -> None:
        """Every call may find itself done before: by a process that died, or by one that does the same right now."""
        name = repository_id(repo_id)
        main = branch_id(_MAIN)
        self._lakefs.set_up()
        try:
            self._lakefs.create_repository(name, f"{self._namespace}/{name}", main)
        except Denied as error:
            if error.status != 409:
                raise
        self._lakefs.protect(name, main)
        wanted = self._database.read(lambda tx: _description(tx, repo_id))
        if wanted is None:
            return self._lakefs.delete_repository(name)
        self._lakefs.describe(name, wanted)
        first = self._lakefs.branch(name, main)
        is_new = first is not None and self._lakefs.get_commit(name, first).is_initial

        def work(tx: Tx) -> None:
            journal.note_description(tx, repo_id, wanted)  # also where it was deleted meanwhile: so it is deleted there later
            exists = _description(tx, repo_id) is not None
            if exists and is_new and first is not None and main not in journal.known_refs(tx, repo_id, is_tag=False):
                journal.note_branch(tx, repo_id, main, _MAIN, first)
                journal.note_commit(tx, repo_id, first, ZERO_OID)

        self._database.write(work)


def _description(tx: Tx, repo_id: str) -> Mapping[str, str] | None:
    """What LakeFS keeps of a repository besides its files, enough to have it again without our rows."""
    row = tx.one(
        "SELECT repos.*, users.name AS creator FROM repos JOIN users ON users.id = repos.creator_id WHERE repos.id = :id", {"id": repo_id}
    )
    if row is None:
        return None
    return {
        "hub.kind": row["kind"],
        "hub.namespace": row["namespace"],
        "hub.name": row["name"],
        "hub.private": str(row["is_private"]),
        "hub.creator": row["creator"],
        "hub.created": str(row["created_at"]),
        "hub.head": bytes(row["head"]).decode("utf-8", "backslashreplace"),
    }

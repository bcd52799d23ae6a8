"""Each repository of the hub as one of LakeFS: made before its first update, its default branch protected at once."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping

from storage.database.base import Database, Tx
from storage.errors import Invalid
from storage.records import ZERO_OID, Repo
from storage.versions.base import StoredRepository
from storage.versions.lakefs import operations
from storage.versions.lakefs.client import Denied, LakeFS
from storage.versions.lakefs.description import describe, digest, parse
from storage.versions.lakefs.names import branch_id, repo_id_of, repository_id
from storage.versions.lakefs.records import COVERED_SINCE

log = logging.getLogger(__name__)
_MAIN = b"refs/heads/main"
_FROM_BIRTH = 0
_MARGIN_SECONDS = 600  # for the clocks of two servers, and for calls on their way


class LakeRepositories:
    """`namespace` is where LakeFS keeps what is its own of all repositories, e.g. `s3://bucket/lakefs`; `drop` removes one's there."""

    def __init__(self, database: Database, lakefs: LakeFS, namespace: str, drop: Callable[[str], None]) -> None:
        self._database = database
        self._lakefs = lakefs
        self._namespace = namespace
        self._drop = drop

    def ensure(self, repo: Repo) -> None:
        """LakeFS has it when this returns. Raises Unavailable."""
        if not operations.is_described(self._database, repo.id):
            self._make(repo.id)

    def sync_metadata(self, repo_id: str) -> None:
        """Make it, tell LakeFS what it is called now, or delete it, whatever the rows say. Raises Unavailable."""
        wanted, told = self._database.read(lambda tx: (describe(tx, repo_id), operations.description(tx, repo_id)))
        if wanted is None and told is not None:
            self._lakefs.delete_repository(repository_id(repo_id))
            self._drop(repository_id(repo_id))
            self._database.write(lambda tx: operations.forget_repository(tx, repo_id))
        elif wanted is not None and told is None:
            self._make(repo_id)
        elif wanted is not None and told is not None and _noted(wanted, told.get(COVERED_SINCE)) != told:
            name = repository_id(repo_id)
            since = told.get(COVERED_SINCE) or self._covered_since(name, is_new=False)
            self._lakefs.describe(name, {**wanted, COVERED_SINCE: since})
            self._database.write(lambda tx: operations.note_description(tx, repo_id, _noted(wanted, since)))

    def kept(self) -> Iterator[StoredRepository]:
        """Those that the hub made, as LakeFS was last told of them."""
        for row in self._lakefs.repositories():
            repo_id = repo_id_of(row["id"])
            if repo_id is not None:
                try:
                    yield parse(repo_id, self._lakefs.description(row["id"]))
                except Invalid as error:
                    log.warning("LakeFS repository %s is left out: %s", row["id"], error.message)

    def adopt(self, tx: Tx, repo_id: str) -> None:
        """Note that LakeFS has it, and is told so already."""
        told = describe(tx, repo_id)
        if told is not None:
            operations.note_description(tx, repo_id, digest(told))

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
        wanted = self._database.read(lambda tx: describe(tx, repo_id))
        if wanted is None:
            return self._lakefs.delete_repository(name)
        first = self._lakefs.branch(name, main)
        is_new = first is not None and self._lakefs.get_commit(name, first).is_initial
        since = self._covered_since(name, is_new=is_new)
        self._lakefs.describe(name, {**wanted, COVERED_SINCE: since})

        def work(tx: Tx) -> None:
            # Also where it was deleted meanwhile: so it is deleted there later.
            operations.note_description(tx, repo_id, _noted(wanted, since))
            exists = describe(tx, repo_id) is not None
            if exists and is_new and first is not None and main not in operations.known_refs(tx, repo_id, is_tag=False):
                operations.note_branch(tx, repo_id, main, _MAIN, first)
                operations.note_commit(tx, repo_id, first, ZERO_OID)

        self._database.write(work)

    def _covered_since(self, name: str, *, is_new: bool) -> str:
        """The moment that LakeFS keeps, or one that is later than every commit that may have an id in git already."""
        kept = self._lakefs.description(name).get(COVERED_SINCE)
        if kept is not None:
            return kept
        if is_new:
            return str(_FROM_BIRTH)
        last = 0
        for head in self._lakefs.branches(name, hidden=True):
            for commit in self._lakefs.history(name, head.commit):
                last = max(last, commit.created)  # anybody may write a date into a commit
        return str(max(last + 1, int(time.time()) + _MARGIN_SECONDS))


def _noted(wanted: Mapping[str, str], since: str | None) -> Mapping[str, str]:
    """What the row says that LakeFS was told; never equal to it while LakeFS has no moment."""
    return {**digest(wanted), COVERED_SINCE: since or ""}

"""What crashes left in LakeFS, put in order now and then by every worker; what one has done another does not find."""

import logging
from collections.abc import Callable

from storage.database.base import Database
from storage.records import Repo
from storage.versions.lakefs import journal
from storage.versions.lakefs.carrier import Carrier
from storage.versions.lakefs.client import Denied, LakeFS
from storage.versions.lakefs.names import SCRATCH, repository_id
from storage.versions.lakefs.repositories import Repositories
from storage.versions.lakefs.writer import scratch_owner

log = logging.getLogger(__name__)


class Janitor:
    def __init__(
        self,
        database: Database,
        lakefs: LakeFS,
        carrier: Carrier,
        repositories: Repositories,
        find_repo: Callable[[str], Repo | None],
    ) -> None:
        self._database = database
        self._lakefs = lakefs
        self._carrier = carrier
        self._repositories = repositories
        self._find_repo = find_repo

    def tidy(self) -> None:
        """Raises Unavailable when LakeFS does not answer; the rest is left to the next time."""
        for operation, repo_id in self._overdue():
            repo = self._find_repo(repo_id)
            if repo is not None:
                self._carrier.recover(repo, operation)
        for row in self._database.all("SELECT repo_id FROM lakefs_repos"):
            try:
                self._drop_scratch(row["repo_id"])
                self._repositories.settle(row["repo_id"])
            except Denied as error:
                log.warning("LakeFS: repository %s was not put in order: %s", repository_id(row["repo_id"]), error)

    def _overdue(self) -> list[tuple[str, str]]:
        return self._database.read(journal.overdue)

    def _drop_scratch(self, repo_id: str) -> None:
        """A private branch lives as long as the row of its operation, which is written before it and removed after its last use."""
        name = repository_id(repo_id)
        for found in self._lakefs.branches(name, SCRATCH, hidden=True):
            owner = scratch_owner(found.id)
            if not self._database.read(lambda tx, owner=owner: journal.is_open(tx, owner)):  # type: ignore[misc]
                self._lakefs.delete_branch(name, found.id)

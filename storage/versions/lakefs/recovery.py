"""What crashes left in LakeFS, put in order now and then by every worker; what one has done another does not find."""

import logging
from collections.abc import Callable

from storage.database.base import Database
from storage.errors import Unavailable
from storage.records import Repo
from storage.versions.lakefs import operations
from storage.versions.lakefs.client import Denied, LakeFS
from storage.versions.lakefs.executor import Executor
from storage.versions.lakefs.names import SCRATCH, repository_id
from storage.versions.lakefs.repositories import LakeRepositories
from storage.versions.lakefs.writer import scratch_owner

log = logging.getLogger(__name__)
_REPOSITORIES = "SELECT repo_id FROM lakefs_repos UNION SELECT id FROM repos"  # gone here, or not there yet


class Recovery:
    def __init__(
        self,
        database: Database,
        lakefs: LakeFS,
        executor: Executor,
        repositories: LakeRepositories,
        find_repo: Callable[[str], Repo | None],
    ) -> None:
        self._database = database
        self._lakefs = lakefs
        self._executor = executor
        self._repositories = repositories
        self._find_repo = find_repo

    def run(self) -> None:
        """Raises Unavailable when LakeFS does not answer; the rest is left to the next time. One repository that is out of order does
        not keep the others waiting.
        """
        for operation, repo_id in operations.overdue(self._database):
            self._each(repo_id, lambda repo_id, operation=operation: self._recover(repo_id, operation))  # type: ignore[misc]
        for row in self._database.all(_REPOSITORIES):
            self._each(row["repo_id"], self._put_in_order)

    def _each(self, repo_id: str, work: Callable[[str], None]) -> None:
        try:
            work(repo_id)
        except (Denied, Unavailable) as error:
            self._lakefs.health()
            log.warning("LakeFS: repository %s was not put in order: %s", repository_id(repo_id), error)
        except Exception:
            log.exception("LakeFS: repository %s was not put in order", repository_id(repo_id))

    def _recover(self, repo_id: str, operation: str) -> None:
        repo = self._find_repo(repo_id)
        if repo is not None:
            self._executor.recover(repo, operation)

    def _put_in_order(self, repo_id: str) -> None:
        self._repositories.sync_metadata(repo_id)
        if operations.description(self._database, repo_id) is not None:
            self._drop_scratch(repo_id)

    def _drop_scratch(self, repo_id: str) -> None:
        """A private branch lives as long as the row of its operation, which is written before it and removed after its last use."""
        name = repository_id(repo_id)
        for found in self._lakefs.branches(name, SCRATCH, hidden=True):
            owner = scratch_owner(found.id)
            if not operations.is_open(self._database, owner):
                self._lakefs.delete_branch(name, found.id)

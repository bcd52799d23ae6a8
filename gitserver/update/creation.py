"""Repositories that begin with the first push to them: `git push` to an address where nothing is, by a caller who may create there.

Git asks several times before it pushes: until something is sent, all answers are those of an empty repository, and nothing is made.
"""

import logging

from accounts.access import require
from accounts.repositories import Repositories
from storage.errors import AlreadyExists, Unavailable
from storage.lru import FACT_BYTES, Recent, fact
from storage.records import Access, Principal, Repo, RepoName
from storage.versions.base import Refs, VersionStore

log = logging.getLogger(__name__)
UNBORN = Refs(b"refs/heads/main", ())  # what is shown of a repository that is not there yet
_KEPT = 1000


class PushCreation:
    def __init__(self, repos: Repositories, versions: VersionStore) -> None:
        self._repos = repos
        self._versions = versions
        self._made: Recent[str, bool] = Recent(_KEPT * FACT_BYTES, fact)

    def create(self, principal: Principal, name: RepoName) -> Repo:
        """A private repository; the one of that name where somebody was faster. Raises Forbidden, RepoNotFound."""
        try:
            repo = self._repos.create(principal, name, is_private=True)
        except AlreadyExists:
            return require(principal, self._repos.find(name), name, Access.WRITE)
        self._made.keep(repo.id, True)
        try:
            self._versions.sync_metadata(repo.id)
        except Unavailable as error:  # it is done later
            log.warning("repository %s: %s", name.full, error.message)
        return repo

    def news(self, repo: Repo, origin: str) -> str:
        """A line for who pushes first to a repository that was made so, also if large files made it; empty for others."""
        if not self._made.get(repo.id) or self._versions.refs(repo.id, fresh=False).refs:
            return ""
        return f"Created the private repository {repo.name.full}: {origin}/{repo.name.path}\n"

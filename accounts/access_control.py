"""The gate of every surface: who asks, and whether they may."""

from collections.abc import Mapping

from accounts.access import decide, may_create_in, missing_scope, require
from accounts.identity.authenticator import Authenticator
from accounts.repositories import Repositories
from storage.errors import Forbidden, Moved, Unauthenticated
from storage.records import Access, Principal, Repo, RepoName


class AccessControl:
    """A Gate (httpapi.endpoint) over the accounts and repositories of the database."""

    def __init__(self, authenticator: Authenticator, repositories: Repositories) -> None:
        self._authenticator = authenticator
        self._repositories = repositories

    def admit(self, headers: Mapping[str, str], cookies: Mapping[str, str], address: str) -> Principal:
        return self._authenticator.admit(headers, cookies, address)

    def authorize(self, principal: Principal, name: RepoName | None, needs: Access, *, creates: bool = False) -> Repo | None:
        """See Gate.authorize."""
        if name is None:
            _authorize_site(principal, needs)
            return None
        repo = self._repositories.find(name)
        moved = self._repositories.find_moved(name) if repo is None else None
        if moved is not None and decide(principal, moved) >= Access.READ:
            raise Moved(f"{name.full} is called {moved.name.full} now.", moved.name.full)
        if repo is None and creates and may_create_in(principal, name.namespace):
            return None
        return require(principal, repo, name, needs)


def _authorize_site(principal: Principal, needs: Access) -> None:
    if needs > Access.NONE and principal.is_anonymous:
        raise Unauthenticated("Sign in first: send an access token as 'Authorization: Bearer <token>'.")
    if principal.scope.access < needs:
        raise Forbidden(missing_scope(principal, needs))

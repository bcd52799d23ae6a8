"""The one place that answers "may they?". Git, LFS, HF, web and SSH all ask `decide`."""

from dataclasses import replace

from storage.errors import Forbidden, RepoNotFound, Unauthenticated
from storage.records import Access, Principal, Repo, RepoName, Scope


def decide(principal: Principal, repo: Repo) -> Access:
    """What `principal` may do with `repo`, already bounded by the scope of the credential."""
    if principal.is_anonymous:
        return Access.NONE if repo.is_private else Access.READ
    if principal.is_admin or principal.name.lower() == repo.name.namespace.lower():
        return min(Access.ADMIN, principal.scope.access)
    return Access.NONE if repo.is_private else Access.READ


def require(principal: Principal, repo: Repo | None, name: RepoName, needs: Access) -> Repo:
    """`repo` if `principal` may do `needs`. Missing and unreadable give the same answer, byte for byte (I8).

    Raises Unauthenticated for an anonymous caller, RepoNotFound for a signed-in stranger, Forbidden for a reader who wants more.
    """
    have = decide(principal, repo) if repo is not None else Access.NONE
    if repo is not None and have >= needs:
        return repo
    if principal.is_anonymous:
        raise Unauthenticated(f"Sign in to use {name.full}: it is private, does not exist, or needs a right that anonymous callers lack.")
    if have is Access.NONE:
        raise RepoNotFound(f"{name.kind.value.capitalize()} repository {name.full} not found.")
    if repo is not None and decide(replace(principal, scope=Scope.ADMIN), repo) >= needs:
        raise Forbidden(missing_scope(principal, needs))
    raise Forbidden(f"You may read {name.full}, but this needs the {needs.name.lower()} right. Ask its owner for it.")


def missing_scope(principal: Principal, needs: Access) -> str:
    """What to tell somebody whose right is held back by the credential alone."""
    held = principal.scope.value
    return f"This needs the scope {needs.name.lower()}, and your token has the scope {held}. Use a token with more scope, or your password."


# Which rows of `repos` a caller may read, as SQL; `readable_by` gives its parameters. It says what `decide` says.
READABLE_REPOS = "(repos.is_private = 0 OR :reader_all = 1 OR repos.namespace_key = :reader)"


def readable_by(principal: Principal) -> dict[str, str | int]:
    return {"reader_all": int(principal.is_admin), "reader": principal.name.lower()}


def may_create_in(principal: Principal, namespace: str) -> bool:
    """Whether repositories may be made or removed in `namespace`."""
    owns = principal.is_admin or principal.name.lower() == namespace.lower()
    return not principal.is_anonymous and owns and principal.scope.access >= Access.WRITE

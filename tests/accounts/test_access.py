"""The one decision, as a table."""

import pytest

from accounts.access import decide, may_create_in
from storage.records import ANONYMOUS, Access, Principal, Repo, RepoKind, RepoName, Scope


def principal(name: str, scope: Scope = Scope.WRITE, *, is_admin: bool = False) -> Principal:
    return Principal(1, name, "", is_admin, scope, False)


def repo(*, is_private: bool) -> Repo:
    return Repo("0" * 32, RepoName(RepoKind.MODEL, "Ann", "r"), is_private, 1, 0, 0)


@pytest.mark.parametrize(
    ("who", "public", "private"),
    [
        (ANONYMOUS, Access.READ, Access.NONE),
        (principal("ben"), Access.READ, Access.NONE),
        (principal("ann"), Access.WRITE, Access.WRITE),
        (principal("ann", Scope.READ), Access.READ, Access.READ),
        (principal("ann", Scope.ADMIN), Access.ADMIN, Access.ADMIN),
        (principal("root", Scope.ADMIN, is_admin=True), Access.ADMIN, Access.ADMIN),
        (principal("root", Scope.READ, is_admin=True), Access.READ, Access.READ),
    ],
    ids=["anonymous", "stranger", "owner", "owner read token", "owner admin token", "admin", "admin read token"],
)
def test_decide(who: Principal, public: Access, private: Access) -> None:
    assert decide(who, repo(is_private=False)) is public
    assert decide(who, repo(is_private=True)) is private


def test_who_may_create() -> None:
    assert may_create_in(principal("ann"), "ANN")
    assert may_create_in(principal("root", is_admin=True), "ann")
    assert not may_create_in(principal("ann", Scope.READ), "ann")
    assert not may_create_in(principal("ben"), "ann")
    assert not may_create_in(ANONYMOUS, "")

"""The journal of the LakeFS bridge: only the owner of an operation may end it, on both databases."""

from typing import Any

import pytest

from storage.records import ZERO_OID, RefUpdate, Repo, RepoKind, RepoName, Scope
from storage.versions.lakefs import operations
from storage.versions.lakefs.operations import Done, OperationLost, RefsRequest

A = bytes([1]) * 20
MAIN = b"refs/heads/main"


@pytest.fixture
def repo(services: Any) -> Repo:
    ann = services.users.create("ann", "ann@example.org", "long enough").principal(Scope.WRITE, from_session=False)
    made: Repo = services.repos.create(ann, RepoName(RepoKind.MODEL, "ann", "r"), is_private=False)
    return made


def test_who_lost_an_operation_cannot_end_it(services: Any, repo: Repo) -> None:
    write, asked = services.database.write, RefsRequest(1, "", False, {})
    first, _ = write(lambda tx: operations.begin(tx, repo, [RefUpdate(MAIN, ZERO_OID, A)], asked, lambda tx: None))
    done = [Done(first.steps[0], "c1", A)]
    assert write(lambda tx: operations.take_over(tx, first.id)) is None, "its lease is not over"

    write(lambda tx: operations.let_go(tx, first))
    second = write(lambda tx: operations.take_over(tx, first.id))
    for end in (lambda tx: operations.finish(tx, repo, first, done), lambda tx: operations.finish_lost(tx, repo, first, b"refs/lost/x")):
        with pytest.raises(OperationLost):
            write(end)
    assert services.versions.refs(repo.id).refs == ()

    write(lambda tx: operations.finish(tx, repo, second, [Done(second.steps[0], "c1", A)]))
    assert [(ref.name, ref.oid) for ref in services.versions.refs(repo.id).refs] == [(MAIN, A)]
    with pytest.raises(OperationLost):  # it is over
        write(lambda tx: operations.finish(tx, repo, first, done))

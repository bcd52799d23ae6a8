"""The VersionStore contract: refs move by compare-and-swap, together with the rows of their push."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from storage.records import ZERO_OID, Oid, RefUpdate, Repo, RepoKind, RepoName, Scope

A, B, C = (bytes([n]) * 20 for n in (1, 2, 3))
MAIN = b"refs/heads/main"


@pytest.fixture
def actor(services: Any) -> Any:
    return services.users.create("ann", "ann@example.org", "long enough").principal(Scope.WRITE, from_session=False)


@pytest.fixture
def repo(services: Any, actor: Any) -> Repo:
    made: Repo = services.repos.create(actor, RepoName(RepoKind.MODEL, "ann", "r"), is_private=False)
    return made


def move(services: Any, repo: Repo, actor: Any, *updates: tuple[bytes, Oid, Oid], atomic: bool = False, peeled: Any = None) -> list[str]:
    made = [RefUpdate(*update) for update in updates]
    results = services.versions.append(repo, made, actor=actor, peeled=peeled or {}, atomic=atomic, rows=lambda tx: None)
    return [result.reason for result in results]


def refs(services: Any, repo: Repo) -> dict[bytes, Oid]:
    return {ref.name: ref.oid for ref in services.versions.refs(repo.id).refs}


def test_create_move_delete(services: Any, repo: Repo, actor: Any) -> None:
    assert move(services, repo, actor, (MAIN, ZERO_OID, A)) == [""]
    assert move(services, repo, actor, (MAIN, A, B)) == [""]
    assert refs(services, repo) == {MAIN: B}
    assert move(services, repo, actor, (MAIN, B, ZERO_OID)) == [""]
    assert refs(services, repo) == {}


def test_a_stale_old_value_changes_nothing(services: Any, repo: Repo, actor: Any) -> None:
    move(services, repo, actor, (MAIN, ZERO_OID, A))
    reasons = move(services, repo, actor, (MAIN, B, C), (b"refs/heads/x", ZERO_OID, C))

    assert "stale" in reasons[0]
    assert reasons[1] == ""
    assert refs(services, repo) == {MAIN: A, b"refs/heads/x": C}


def test_atomic_is_all_or_nothing(services: Any, repo: Repo, actor: Any) -> None:
    move(services, repo, actor, (MAIN, ZERO_OID, A))
    reasons = move(services, repo, actor, (MAIN, B, C), (b"refs/heads/x", ZERO_OID, C), atomic=True)

    assert all(reasons)
    assert refs(services, repo) == {MAIN: A}


@pytest.mark.parametrize(("first", "second"), [(b"refs/heads/a", b"refs/heads/a/b"), (b"refs/heads/a/b", b"refs/heads/a")])
def test_names_that_cannot_be_beside_each_other(services: Any, repo: Repo, actor: Any, first: bytes, second: bytes) -> None:
    move(services, repo, actor, (first, ZERO_OID, A))

    assert "conflicts" in move(services, repo, actor, (second, ZERO_OID, B))[0]
    assert move(services, repo, actor, (second, ZERO_OID, B), (first, A, ZERO_OID)) == ["", ""]
    assert refs(services, repo) == {second: B}


def test_head_follows_the_first_branch_while_unborn(services: Any, repo: Repo, actor: Any) -> None:
    move(services, repo, actor, (b"refs/tags/t", ZERO_OID, A))
    assert services.versions.refs(repo.id).head == MAIN
    move(services, repo, actor, (b"refs/heads/trunk", ZERO_OID, A))
    move(services, repo, actor, (MAIN, ZERO_OID, A))

    assert services.versions.refs(repo.id).head == b"refs/heads/trunk"


def test_find_takes_the_first_name_that_exists(services: Any, repo: Repo, actor: Any) -> None:
    head = [b"HEAD"]
    assert services.versions.find(repo.id, head) is None
    move(services, repo, actor, (b"refs/heads/x", ZERO_OID, A), (b"refs/tags/x", ZERO_OID, B), (b"refs/tags/y", ZERO_OID, C))
    names = [b"refs/heads/x", b"refs/tags/x", b"refs/x"]

    assert services.versions.find(repo.id, head).name == b"refs/heads/x"
    assert services.versions.find(repo.id, names).oid == A
    assert services.versions.find(repo.id, [b"refs/x/y", *reversed(names)]).oid == B
    assert services.versions.find(repo.id, [b"refs/heads/y", b"refs/tags/y"]).oid == C
    assert services.versions.find(repo.id, [b"refs/heads/y"]) is None
    assert services.versions.find("0" * 32, names) is None
    services.repos.delete(repo)
    assert services.versions.find(repo.id, head) is None


def test_peeled_tags_and_rows_come_with_the_refs(services: Any, repo: Repo, actor: Any) -> None:
    seen: list[int] = []
    update = RefUpdate(b"refs/tags/t", ZERO_OID, A)
    services.versions.append(repo, [update], actor=actor, peeled={A: B}, atomic=False, rows=lambda tx: seen.append(1))
    services.versions.append(repo, [update], actor=actor, peeled={A: B}, atomic=False, rows=lambda tx: seen.append(2))

    assert services.versions.refs(repo.id).refs[0].peeled == B
    assert seen == [1]


def test_of_many_writers_one_wins_each_round(services: Any, repo: Repo, actor: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda n: move(services, repo, actor, (MAIN, ZERO_OID, bytes([n]) * 20)), range(1, 25)))

    assert sum(reasons == [""] for reasons in done) == 1
    log = services.database.read(lambda tx: tx.all("SELECT new FROM ref_log WHERE repo_id = :id", {"id": repo.id}))
    assert [bytes(row["new"]) for row in log] == list(refs(services, repo).values())

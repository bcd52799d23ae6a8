"""Whose turn it is to be repacked, on both databases."""

import time
from typing import Any

import pytest

from hub.services import Services
from hub.serving.housekeeping import run_maintenance
from storage.packs.generations import RepackSchedule, Upkeep
from storage.records import Repo, RepoKind, RepoName, Scope

DAY = 86400
TURNS = RepackSchedule(7 * DAY, 14 * DAY)


@pytest.fixture
def upkeep(services: Services) -> Upkeep:
    return services.packs.upkeep


@pytest.fixture
def repo(services: Services) -> Repo:
    """Ten days old, and changed since."""
    user = services.users.create("ann", "ann@example.org", "long enough")
    made = services.repos.create(user.principal(Scope.WRITE, from_session=False), RepoName(RepoKind.MODEL, "ann", "r"), is_private=False)
    put(services, created_at=ago(10))
    services.database.write(lambda tx: services.packs.upkeep.count_on(tx, made.id, 0))
    return made


def put(services: Services, **columns: int) -> None:
    for name, value in columns.items():
        services.database.write(lambda tx, name=name, value=value: tx.run(f"UPDATE repos SET {name} = :value", {"value": value}))  # type: ignore[misc]


def ago(days: float) -> int:
    return time.time_ns() // 1000 - int(days * DAY * 1_000_000)


def test_what_changed_is_due_after_a_while(services: Services, upkeep: Upkeep, repo: Repo) -> None:
    assert upkeep.due(TURNS, 10) == [repo.id]
    put(services, created_at=ago(6))
    assert upkeep.due(TURNS, 10) == []
    put(services, created_at=ago(10), repacked_at=ago(6))
    assert upkeep.due(TURNS, 10) == []
    put(services, repacked_at=ago(8))
    assert upkeep.due(TURNS, 10) == [repo.id]
    put(services, repacked_changes=upkeep.changes(repo.id))
    assert upkeep.due(TURNS, 10) == []


def test_what_was_set_aside_for_long_makes_a_repository_due(services: Services, upkeep: Upkeep, repo: Repo) -> None:
    sql = "INSERT INTO packs (repo_id, id, objects, size, created_at, dead_since) VALUES (:repo, 'x', 1, 1, 1, :dead)"
    services.database.write(lambda tx: tx.run(sql, {"repo": repo.id, "dead": ago(13)}))
    upkeep.repacked(repo.id, upkeep.changes(repo.id))
    put(services, repacked_at=ago(2))
    assert upkeep.due(TURNS, 10) == []
    services.database.write(lambda tx: tx.run("UPDATE packs SET dead_since = :dead", {"dead": ago(15)}))
    assert upkeep.due(TURNS, 10) == [repo.id]
    put(services, repacked_at=ago(0.5))
    assert upkeep.due(TURNS, 10) == []


def test_one_machine_gets_the_turn(services: Services, upkeep: Upkeep, repo: Repo) -> None:
    others = Upkeep(services.database)

    assert [upkeep.claim(repo.id, 600), upkeep.claim(repo.id, 600), others.claim(repo.id, 600)] == [True, False, False]
    assert upkeep.due(TURNS, 10) == []
    put(services, repacked_at=ago(601 / DAY))
    assert [others.claim(repo.id, 600), upkeep.claim(repo.id, 600)] == [True, False]


def test_the_longest_waiting_first_and_a_few_at_a_time(services: Services, upkeep: Upkeep, repo: Repo) -> None:
    actor = services.users.by_name("ann")
    assert actor is not None
    ids = [repo.id]
    for number in range(3):
        name = RepoName(RepoKind.MODEL, "ann", f"r{number}")
        ids.append(services.repos.create(actor.principal(Scope.WRITE, from_session=False), name, is_private=False).id)
        services.database.write(lambda tx: upkeep.count_on(tx, ids[-1], 0))
    put(services, created_at=ago(50))
    for days, repo_id in zip((20, 40, 30, 9), ids, strict=True):
        row = {"at": ago(days), "id": repo_id}
        services.database.write(lambda tx, row=row: tx.run("UPDATE repos SET repacked_at = :at WHERE id = :id", row))  # type: ignore[misc]

    assert upkeep.due(TURNS, 3) == [ids[1], ids[2], ids[0]]


def test_housekeeping_repacks(services: Services, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(services.background_repack.repacker, "repack", seen.append)
    run_maintenance(services)
    run_maintenance(services)
    services.background_repack.close()

    assert seen == [repo.id]

"""The Database contract."""

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeAlias

import pytest

from accounts.identity.passwords import Passwords
from accounts.identity.users import Users
from accounts.repositories import Repositories
from storage.database.base import Database, Tx
from storage.errors import AlreadyExists, HubError, Invalid, RepoNotFound, Unavailable
from storage.records import RepoKind, RepoName, Scope
from tests.two_users import QUICK

Open: TypeAlias = Callable[[], Database]


@pytest.fixture
def database(open_rows: Open) -> Database:
    made = open_rows()
    made.write(lambda tx: tx.run("CREATE TABLE t (n BIGINT, b BYTEA, x TEXT)"))
    return made


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    def work(tx: Tx) -> None:
        tx.run("INSERT INTO t (n) VALUES (1)")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        database.write(work)
    assert database.read(lambda tx: tx.all("SELECT n FROM t")) == []


def test_what_a_read_writes_is_not_kept(database: Database) -> None:
    with suppress(HubError):
        database.read(lambda tx: tx.run("INSERT INTO t (n) VALUES (1)"))

    assert database.read(lambda tx: tx.one("SELECT COUNT(*) AS c FROM t")) == {"c": 0}


def test_a_read_sees_one_moment(database: Database, open_rows: Open) -> None:
    other = open_rows()

    def work(tx: Tx) -> list[Any]:
        before = tx.one("SELECT COUNT(*) AS c FROM t")
        other.write(lambda tx: tx.run("INSERT INTO t (n) VALUES (1)"))
        return [before, tx.one("SELECT COUNT(*) AS c FROM t")]

    assert database.read(work) == [{"c": 0}, {"c": 0}]
    assert database.one("SELECT COUNT(*) AS c FROM t") == {"c": 1}


def test_one_row_sees_every_commit_before_it(database: Database, open_rows: Open) -> None:
    other = open_rows()
    seen = []
    for writer in (other, database, other):
        writer.write(lambda tx: tx.run("INSERT INTO t (n) SELECT COUNT(*) + 1 FROM t"))
        row = database.one("SELECT n FROM t ORDER BY n DESC")
        assert row is not None
        seen.append(row["n"])

    assert seen == [1, 2, 3]
    assert database.all("SELECT n FROM t WHERE n < :n ORDER BY n", {"n": 3}) == [{"n": 1}, {"n": 2}]
    assert database.one("SELECT n FROM t WHERE n = :n", {"n": 9}) is None


def test_threads_and_processes_do_not_lose_updates(database: Database, open_rows: Open) -> None:
    other = open_rows()
    database.write(lambda tx: tx.run("INSERT INTO t (n) VALUES (0)"))

    def add(number: int) -> None:
        def work(tx: Tx) -> None:
            row = tx.one("SELECT n FROM t")
            assert row is not None
            tx.run("UPDATE t SET n = :n", {"n": row["n"] + 1})

        (database if number % 2 else other).write(work)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(100)))
    assert database.read(lambda tx: tx.one("SELECT n FROM t")) == {"n": 100}


def test_a_rule_over_several_rows_holds_among_writers(database: Database, open_rows: Open) -> None:
    """Each adds a row if there are fewer than five: on snapshots alone there would be more."""
    writers = [database, open_rows()]

    def add(number: int) -> None:
        def work(tx: Tx) -> None:
            if len(tx.all("SELECT n FROM t")) < 5:
                tx.run("INSERT INTO t (n) VALUES (:n)", {"n": number})

        writers[number % 2].write(work)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert database.one("SELECT COUNT(*) AS c FROM t") == {"c": 5}


def test_values_come_back_as_they_went(database: Database) -> None:
    rows: list[dict[str, Any]] = [
        {"n": 1 << 62, "b": bytes(range(256)), "x": "é 中 'quoted' 100% :name \\ \""},
        {"n": -(1 << 63), "b": b"", "x": ""},
        {"n": None, "b": None, "x": None},
    ]
    database.write(lambda tx: tx.many("INSERT INTO t (n, b, x) VALUES (:n, :b, :x)", rows))
    database.write(lambda tx: tx.many("INSERT INTO t (n, b, x) VALUES (:n, :b, :x)", []))

    assert database.read(lambda tx: tx.all("SELECT n, b, x FROM t WHERE n IS NOT NULL ORDER BY n DESC")) == rows[:2]
    assert database.one("SELECT n, b, x FROM t WHERE n IS NULL") == rows[2]
    assert database.one("SELECT n FROM t WHERE b = :b", {"b": rows[0]["b"], "unused": 1}) == {"n": 1 << 62}


def test_colons_and_percent_signs_that_are_no_parameters(database: Database) -> None:
    sql = "SELECT ':x' AS a, '100%' AS b, 'it''s :x %s' AS c, 7 % 4 AS d, CAST(:x AS TEXT) AS \"e:x\" -- :x %"

    for params in ({"x": "1"}, {"x": ":x"}):
        assert database.one(sql, params) == {"a": ":x", "b": "100%", "c": "it's :x %s", "d": 3, "e:x": params["x"]}
    assert database.one("SELECT '5%' AS a") == {"a": "5%"}


def test_how_many_rows_were_changed(database: Database) -> None:
    def work(tx: Tx) -> list[int]:
        tx.many("INSERT INTO t (n) VALUES (:n)", [{"n": n} for n in range(3)])
        insert = "INSERT INTO instance (name, value) VALUES ('a', 'b') ON CONFLICT DO NOTHING"
        update = "UPDATE t SET x = :x WHERE n < :n"
        return [tx.run(insert), tx.run(insert), tx.run(update, {"x": "y", "n": 2}), tx.run("DELETE FROM t")]

    assert database.write(work) == [1, 0, 2, 3]


def test_text_is_sorted_and_compared_by_its_bytes(database: Database) -> None:
    names = ["a", "B", "_", "b", "A", "é", "~", "a-b", "ab"]
    sql = "INSERT INTO instance (name, value) VALUES (:name, '')"
    database.write(lambda tx: tx.many(sql, [{"name": name} for name in names]))
    rows = database.read(lambda tx: tx.all("SELECT name FROM instance ORDER BY name"))
    after = database.read(
        lambda tx: tx.all("SELECT name FROM instance WHERE name > :last ORDER BY name LIMIT :limit", {"last": "_", "limit": 2})
    )
    like = database.read(lambda tx: tx.all("SELECT name FROM instance WHERE name LIKE :like ESCAPE '!'", {"like": "!_%"}))

    assert [row["name"] for row in rows] == sorted(names, key=str.encode)
    assert [row["name"] for row in after] == ["a", "a-b"]
    assert [row["name"] for row in like] == ["_"]


def test_a_nul_in_text_is_kept_or_refused_plainly(database: Database) -> None:
    """PostgreSQL has no such text."""
    refusals = []
    try:
        assert database.one("SELECT CAST(:x AS TEXT) AS x", {"x": "a\0b"}) is not None
    except Invalid as error:
        refusals.append(error.message)

    assert all("NUL" in message for message in refusals)


def make_user(database: Database, name: str) -> Any:
    return Users(database, Passwords(**QUICK)).create(name, f"{secrets.token_hex(4)}@example.org", "long enough")


def at_once(work: Callable[[Database], object], databases: list[Database]) -> list[str]:
    """The errors of those that were refused."""

    def run(database: Database) -> str:
        try:
            work(database)
        except (AlreadyExists, RepoNotFound) as error:
            return error.message
        return ""

    with ThreadPoolExecutor(len(databases)) as pool:
        return [message for message in pool.map(run, databases) if message]


def test_a_name_is_given_once_to_many_who_ask_at_once(database: Database, open_rows: Open) -> None:
    databases = [database, *(open_rows() for _ in range(5))]
    refused = at_once(lambda rows: make_user(rows, "ann"), databases)

    assert len(refused) == 5
    assert all("already exists" in message for message in refused)
    owner = make_user(database, "ben").principal(Scope.WRITE, from_session=False)
    name = RepoName(RepoKind.MODEL, "ben", "r")
    refused = at_once(lambda rows: Repositories(rows).create(owner, name, is_private=False), databases)

    assert len(refused) == 5
    assert all("already created" in message for message in refused)


def test_a_repository_is_moved_once(database: Database, open_rows: Open) -> None:
    databases = [database, *(open_rows() for _ in range(5))]
    owner = make_user(database, "ben").principal(Scope.WRITE, from_session=False)
    repo = Repositories(database).create(owner, RepoName(RepoKind.MODEL, "ben", "old"), is_private=False)
    refused = at_once(lambda rows: Repositories(rows).move(owner, repo, RepoName(RepoKind.MODEL, "ben", secrets.token_hex(4))), databases)
    moved = Repositories(database).find_moved(repo.name)

    assert len(refused) == 5
    assert moved is not None
    assert moved.id == repo.id


def test_a_newer_schema_is_refused(database: Database, open_rows: Open) -> None:
    open_rows()
    database.write(lambda tx: tx.run("INSERT INTO schema_version (number, name) VALUES (9999, 'future')"))

    with pytest.raises(Unavailable, match="newer program"):
        open_rows()


def test_processes_that_start_at_once_make_one_schema(open_rows: Open) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: open_rows(), range(6)))
    rows = made[0].read(lambda tx: tx.all("SELECT number FROM schema_version ORDER BY number"))

    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows

"""What is PostgreSQL's alone: how SQL is translated, how text is sorted, and what becomes of connections."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from storage.database.base import Tx
from storage.database.postgres import PostgresDatabase, translate
from storage.errors import Unavailable
from tests.servers.postgres import PASSWORD, Postgres


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.create()


@pytest.fixture
def database(url: str) -> Iterator[PostgresDatabase]:
    made = PostgresDatabase(url, 2, 1, 5)
    made.migrate()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT :a, :a_b WHERE x=:c1", "SELECT %(a)s, %(a_b)s WHERE x=%(c1)s"),
        ("SELECT x::text, :a::bigint", "SELECT x::text, %(a)s::bigint"),
        ("SELECT ':a', 'it''s :b', '100%'", "SELECT ':a', 'it''s :b', '100%%'"),
        ('SELECT 5 % :a AS "x:y%"', 'SELECT 5 %% %(a)s AS "x:y%%"'),
        ("SELECT 1 -- :a 5%\n, :b /* :c\n% */", "SELECT 1 -- :a 5%%\n, %(b)s /* :c\n%% */"),
        ("SELECT a[1:2], :1", "SELECT a[1:2], :1"),
    ],
)
def test_parameters_are_translated_where_they_are_parameters(sql: str, expected: str) -> None:
    assert translate(sql) == expected.encode()


def test_every_text_column_is_compared_as_bytes(database: PostgresDatabase) -> None:
    sql = (
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' AND data_type = 'text'"
        " AND collation_name IS DISTINCT FROM 'C' AND table_name <> 'schema_version'"
    )
    every = "SELECT COUNT(*) AS c FROM information_schema.columns WHERE table_schema = 'public' AND collation_name = 'C'"
    found = database.one(every)

    assert database.read(lambda tx: tx.all(sql)) == []
    assert found is not None
    assert found["c"] > 20


def test_a_statement_that_takes_too_long_is_given_up(database: PostgresDatabase) -> None:
    with pytest.raises(Unavailable, match="statement timeout"):
        database.one("SELECT pg_sleep(30)")
    with pytest.raises(Unavailable, match="statement timeout"):
        database.write(lambda tx: tx.one("SELECT pg_sleep(30)"))
    assert database.one("SELECT 1 AS one") == {"one": 1}


def test_a_row_that_another_one_holds_is_not_waited_for_without_end(database: PostgresDatabase, url: str) -> None:
    database.write(lambda tx: tx.run("INSERT INTO instance (name, value) VALUES ('a', 'b')"))
    with psycopg.connect(url) as other:
        other.execute("UPDATE instance SET value = 'c'")
        with pytest.raises(Unavailable, match="does not answer"):
            database.write(lambda tx: tx.run("UPDATE instance SET value = 'd'"))
        other.rollback()
    assert database.write(lambda tx: tx.run("UPDATE instance SET value = 'd'")) == 1


def test_connections_are_few_and_waiting_for_one_ends(database: PostgresDatabase) -> None:
    held, release = threading.Barrier(3), threading.Event()

    def hold(tx: Tx) -> None:
        held.wait(10)
        release.wait(10)

    with ThreadPoolExecutor(2) as pool:
        holders = [pool.submit(database.read, hold) for _ in range(2)]
        held.wait(10)
        with pytest.raises(Unavailable, match=r"All connections to the PostgreSQL database .* in use"):
            database.one("SELECT 1 AS one")
        release.set()
        for holder in holders:
            holder.result()
    assert database.one("SELECT 1 AS one") == {"one": 1}


def test_connections_that_the_server_ended_are_not_used_again(database: PostgresDatabase, url: str) -> None:
    for _ in range(3):
        assert database.one("SELECT 1 AS one") == {"one": 1}
        with psycopg.connect(url, autocommit=True) as other:
            ended = other.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
        assert (True,) in ended  # the one before that we looked with may just be going, too


def test_an_error_leaves_a_connection_that_works(database: PostgresDatabase) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        database.write(lambda tx: tx.run("SELECT * FROM there_is_no_such_table"))
    with pytest.raises(psycopg.errors.UniqueViolation):  # no other transaction is to blame: it stays so however often it is tried
        database.write(lambda tx: tx.many("INSERT INTO instance (name, value) VALUES (:n, '')", [{"n": "a"}, {"n": "a"}]))
    assert database.one("SELECT COUNT(*) AS c FROM instance") == {"c": 0}


def test_a_role_that_may_not_make_tables_is_told_so(postgres: Postgres, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        owner.execute(f"CREATE ROLE guest{postgres.port} LOGIN PASSWORD '{PASSWORD}'".encode())
    guest = PostgresDatabase(url.replace("//hub:", f"//guest{postgres.port}:"), 1, 5, 5)
    with pytest.raises(Unavailable, match="Make it the owner"):
        guest.migrate()
    guest.close()


def test_a_database_that_is_not_unicode_is_refused(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as owner:
        owner.execute("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    latin = PostgresDatabase(postgres.url("latin"), 1, 5, 5)
    with pytest.raises(Unavailable, match="UTF8"):
        latin.migrate()
    latin.close()


def test_a_connection_to_a_server_that_no_longer_writes_is_given_up(database: PostgresDatabase, url: str) -> None:
    name = url.rsplit("/", 1)[1]
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on".encode())
        with pytest.raises(Unavailable, match="read-only"):
            database.write(lambda tx: tx.run("SET LOCAL transaction_read_only = on") + tx.run("DELETE FROM instance"))
        with pytest.raises(Unavailable, match="session is read-only"):
            database.one("SELECT 1 AS one")
        owner.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only".encode())
    assert database.write(lambda tx: tx.run("DELETE FROM instance")) == 0

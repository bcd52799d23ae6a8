"""The Database contract."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.database.base import Tx
from storage.database.sqlite import SQLiteDatabase
from storage.errors import Unavailable


@pytest.fixture
def database(tmp_path: Path) -> SQLiteDatabase:
    made = SQLiteDatabase(tmp_path / "x.sqlite3")
    made.migrate()
    made.write(lambda tx: tx.run("CREATE TABLE t (n BIGINT NOT NULL)"))
    return made


def test_a_failed_transaction_leaves_nothing(database: SQLiteDatabase) -> None:
    def work(tx: Tx) -> None:
        tx.run("INSERT INTO t (n) VALUES (1)")
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        database.write(work)
    assert database.read(lambda tx: tx.all("SELECT n FROM t")) == []
    database.close()


def test_what_a_read_writes_is_not_kept(database: SQLiteDatabase) -> None:
    database.read(lambda tx: tx.run("INSERT INTO t (n) VALUES (1)"))

    assert database.read(lambda tx: tx.one("SELECT COUNT(*) AS c FROM t")) == {"c": 0}
    database.close()


def test_one_row_sees_every_commit_before_it(database: SQLiteDatabase, tmp_path: Path) -> None:
    other = SQLiteDatabase(tmp_path / "x.sqlite3")
    seen = []
    for writer in (other, database, other):
        writer.write(lambda tx: tx.run("INSERT INTO t (n) SELECT COUNT(*) + 1 FROM t"))
        row = database.one("SELECT n FROM t ORDER BY n DESC")
        assert row is not None
        seen.append(row["n"])

    assert seen == [1, 2, 3]
    assert database.one("SELECT n FROM t WHERE n = :n", {"n": 9}) is None
    database.close()
    other.close()


def test_threads_and_processes_do_not_lose_updates(database: SQLiteDatabase, tmp_path: Path) -> None:
    other = SQLiteDatabase(tmp_path / "x.sqlite3")
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
    database.close()
    other.close()


def test_a_newer_schema_is_refused(database: SQLiteDatabase) -> None:
    database.migrate()
    database.write(lambda tx: tx.run("INSERT INTO schema_version (number, name) VALUES (9999, 'future')"))

    with pytest.raises(Unavailable, match="newer program"):
        database.migrate()
    database.close()

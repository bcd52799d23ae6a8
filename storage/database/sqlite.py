"""SQLite in WAL mode: the embedded database. One connection a thread, many processes on one file."""

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from storage.database.base import Params, Row, Tx
from storage.database.migrations import load_migrations, migrate
from storage.errors import Unavailable

T = TypeVar("T")

BUSY_SECONDS = 30.0


class SQLiteTx:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, sql: str, params: Params | None = None) -> list[Row]:
        with closing(self._connection.execute(sql, params or {})) as cursor:
            return [dict(row) for row in cursor]

    def one(self, sql: str, params: Params | None = None) -> Row | None:
        with closing(self._connection.execute(sql, params or {})) as cursor:
            row = cursor.fetchone()
            return dict(row) if row is not None else None

    def run(self, sql: str, params: Params | None = None) -> int:
        with closing(self._connection.execute(sql, params or {})) as cursor:
            return cursor.rowcount

    def many(self, sql: str, params: Sequence[Params]) -> None:
        with closing(self._connection.executemany(sql, params)):
            pass


class SQLiteDatabase:
    """Database on one file. Commits are durable when `write` returns: synchronous=FULL syncs the log each time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[sqlite3.Connection] = []

    def write(self, work: Callable[[Tx], T]) -> T:
        return self._transaction("BEGIN IMMEDIATE", work, keep=True)

    def read(self, work: Callable[[Tx], T]) -> T:
        return self._transaction("BEGIN", work, keep=False)

    def one(self, sql: str, params: Params | None = None) -> Row | None:
        return SQLiteTx(self._connection()).one(sql, params)

    def all(self, sql: str, params: Params | None = None) -> list[Row]:
        return SQLiteTx(self._connection()).all(sql, params)

    def close(self) -> None:
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
        self._local = threading.local()

    def migrate(self) -> None:
        """Bring the schema up to date; safe when several processes start at once. Raises Unavailable if it is newer than this code."""
        self.write(lambda tx: migrate(tx, load_migrations()))

    def _transaction(self, begin: str, work: Callable[[Tx], T], *, keep: bool) -> T:
        connection = self._connection()
        try:
            connection.execute(begin)
        except sqlite3.OperationalError as error:
            raise Unavailable(f"The database is busy ({error}). Try again in a moment.") from error
        try:
            result = work(SQLiteTx(connection))
            connection.execute("COMMIT" if keep else "ROLLBACK")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            _switch_to_wal(connection)
            for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-8000"):
                connection.execute(f"PRAGMA {pragma}")
            self._local.connection = connection
            with self._lock:
                self._connections.append(connection)
        return connection


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Once for the file. SQLite does not wait for this lock as it does for others, so processes that start at once take turns here."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if time.monotonic() > until:
                raise Unavailable(f"The database is busy ({error}). Try again in a moment.") from error
            time.sleep(0.01)

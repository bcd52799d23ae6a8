"""SQLite in WAL mode: the embedded database. One connection a thread, many processes on one file."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from storage.database.base import Params, Row, Tx
from storage.database.migrations import load_migrations, migrate, refuse_foreign
from storage.disk_space import DiskSpace
from storage.errors import Unavailable

T = TypeVar("T")

BUSY_SECONDS = 30.0
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
# What SQLite says where a file cannot grow: the log, its index in shared memory, or a file that is to be made.
_MAY_BE_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
_BROKEN = {
    sqlite3.SQLITE_NOTADB: "is no SQLite database. Move that file away, or give another data directory with KOHAKU_HUB_DATA or --data.",
    sqlite3.SQLITE_CORRUPT: "is damaged. Restore it from a backup.",
    sqlite3.SQLITE_READONLY: "cannot be written. Give it, and its folder, to the user that runs the hub.",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened. Give it, and its folder, to the user that runs the hub.",
    sqlite3.SQLITE_IOERR: "cannot be read or written. Look after its disk.",
}
_LEAST_BYTES = 1 << 20  # with less free, a file that cannot grow has met the end of its disk


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

    def __init__(self, path: Path, space: DiskSpace | None = None) -> None:
        self._path = path
        self._space = space or DiskSpace(path.parent)
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[sqlite3.Connection] = []

    def write(self, work: Callable[[Tx], T]) -> T:
        return self._transaction("BEGIN IMMEDIATE", work, keep=True)

    def read(self, work: Callable[[Tx], T]) -> T:
        return self._transaction("BEGIN", work, keep=False)

    def one(self, sql: str, params: Params | None = None) -> Row | None:
        with self._errors():
            return SQLiteTx(self._connection()).one(sql, params)

    def all(self, sql: str, params: Params | None = None) -> list[Row]:
        with self._errors():
            return SQLiteTx(self._connection()).all(sql, params)

    def close(self) -> None:
        with self._lock:
            for connection in self._connections:
                connection.close()
            self._connections.clear()
        self._local = threading.local()

    def migrate(self) -> None:
        """Bring the schema up to date; safe when several processes start at once. Raises Unavailable if it is newer than this code."""

        def work(tx: Tx) -> None:
            found = tx.all("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
            refuse_foreign([row["name"] for row in found])
            migrate(tx, load_migrations())

        self.write(work)

    def _transaction(self, begin: str, work: Callable[[Tx], T], *, keep: bool) -> T:
        with self._errors():
            connection = self._connection()
            connection.execute(begin)
            try:
                result = work(SQLiteTx(connection))
                connection.execute("COMMIT" if keep else "ROLLBACK")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors about the file as the hub's; those of a statement stay what they are."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _BUSY:
                raise Unavailable(f"The database is busy ({error}). Try again in a moment.") from error
            if code == sqlite3.SQLITE_FULL or (code in _MAY_BE_FULL and self._space.free() < _LEAST_BYTES):
                raise self._space.full() from error
            if code in _BROKEN:
                raise Unavailable(f"The database {self._path} {_BROKEN[code]} ({error})") from error
            raise

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                connection.row_factory = sqlite3.Row
                _switch_to_wal(connection)
                for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-8000"):
                    connection.execute(f"PRAGMA {pragma}")
            except BaseException:
                connection.close()
                raise
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
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)

"""PostgreSQL: the database of a cluster. A process keeps up to one connection a thread; nothing else in the code knows psycopg."""

import logging
import random
import re
import select
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import DeadlockDetected, ForeignKeyViolation, InsufficientPrivilege, SerializationFailure, UniqueViolation
from psycopg.errors import DiskFull as ServerDiskFull
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from storage.database.base import Params, Row, Tx
from storage.database.migrations import load_migrations, migrate, refuse_foreign
from storage.errors import DiskFull, Invalid, Unavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

_CONFLICTS = (SerializationFailure, DeadlockDetected, UniqueViolation, ForeignKeyViolation)
_LOST = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
_WRITE = "BEGIN ISOLATION LEVEL SERIALIZABLE"
_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_MIGRATE = "BEGIN ISOLATION LEVEL READ COMMITTED"
_TRIES = 24  # of one transaction against others
_LONGEST_PAUSE = 0.1
_CROWDED = "Too many others write the same rows of the database. Try again in a moment."
# Without those that belong to extensions.
_TABLES = (
    "SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')"
    " AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')"
)
_MIGRATION_SECONDS = 3600
_MIGRATION_LOCK = 0x6B6F68616B75  # any number that no other program takes: "kohaku"
_SPECIAL = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|::|:([A-Za-z_]\w*)|%", re.DOTALL)


class _Connection(psycopg.Connection[dict[str, Any]]):
    """No answer may take longer than `limit` seconds, also when the network has swallowed it."""

    limit = 30.0

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        return super().wait(gen, interval, timeout or self.limit)


class PostgresTx:
    """`begin` goes before the first statement: work that turns out to need none asks the server nothing."""

    def __init__(self, connection: _Connection, begin: str = "") -> None:
        self._connection = connection
        self._begin = begin

    def all(self, sql: str, params: Params | None = None) -> list[Row]:
        return list(self._execute(sql, params).fetchall())

    def one(self, sql: str, params: Params | None = None) -> Row | None:
        return self._execute(sql, params).fetchone()

    def run(self, sql: str, params: Params | None = None) -> int:
        return self._execute(sql, params).rowcount

    def many(self, sql: str, params: Sequence[Params]) -> None:
        if params:
            self._start()
            with self._connection.cursor() as cursor:
                cursor.executemany(translate(sql), params)

    def end(self, command: str) -> None:
        if not self._begin:
            self._connection.execute(command.encode())

    def _execute(self, sql: str, params: Params | None) -> psycopg.Cursor[dict[str, Any]]:
        self._start()
        return self._connection.execute(translate(sql), params or {})

    def _start(self) -> None:
        if self._begin:
            self._connection.execute(self._begin.encode())
            self._begin = ""


class PostgresDatabase:
    """Database on a server. A write is serializable: it sees and leaves what it would if it were alone, as on SQLite, where it is alone.
    When it met another one it is run again from its start: on serialization failures and deadlocks, and where a row that a check did
    not see yet turns up as a violated constraint.
    """

    def __init__(self, url: str, connections: int, seconds: int, connect_seconds: int) -> None:
        """`url` is postgresql://…. At most `seconds` for a statement, `connect_seconds` for reaching the server. Raises Unavailable for
        an address that is none.
        """
        self._pool = _Pool(url, connections, seconds, connect_seconds)
        self._seconds = seconds
        self._again = threading.Lock()

    def write(self, work: Callable[[Tx], T]) -> T:
        with suppress(*_CONFLICTS):
            return self._transaction(_WRITE, work, keep=True)
        # Those that met others go one by one, so that they do not meet each other for ever.
        if not self._again.acquire(timeout=self._seconds):
            raise Unavailable(_CROWDED)
        try:
            return self._write_again(work)
        finally:
            self._again.release()

    def read(self, work: Callable[[Tx], T]) -> T:
        return self._transaction(_READ, work, keep=False)

    def one(self, sql: str, params: Params | None = None) -> Row | None:
        with self._pool.connection() as connection:
            return PostgresTx(connection).one(sql, params)

    def all(self, sql: str, params: Params | None = None) -> list[Row]:
        with self._pool.connection() as connection:
            return PostgresTx(connection).all(sql, params)

    def close(self) -> None:
        self._pool.close()

    def migrate(self) -> None:
        """Bring the schema up to date; processes that start at once take turns. Raises Unavailable if it is newer than this code."""
        migrations = [replace(m, statements=tuple(map(_bytewise, m.statements))) for m in load_migrations()]

        def work(tx: Tx) -> None:
            tx.run(f"SET LOCAL statement_timeout = '{_MIGRATION_SECONDS}s'")
            tx.one("SELECT pg_advisory_xact_lock(:key)", {"key": _MIGRATION_LOCK})
            encoding = tx.one("SHOW server_encoding")
            if encoding != {"server_encoding": "UTF8"}:
                raise Unavailable(
                    f"The {self._pool.where} does not use UTF8. Make one with: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
                )
            refuse_foreign([row["name"] for row in tx.all(_TABLES)])
            migrate(tx, migrations)

        try:
            self._transaction(_MIGRATE, work, keep=True, seconds=_MIGRATION_SECONDS)
        except InsufficientPrivilege as error:
            reason = str(error).splitlines()[0]
            raise Unavailable(f"The role may not set up the {self._pool.where}: {reason}. Make it the owner of that database.") from error

    def _write_again(self, work: Callable[[Tx], T]) -> T:
        for number in range(_TRIES):
            time.sleep(random.uniform(0, min(0.001 * 2**number, _LONGEST_PAUSE)))
            with suppress(*_CONFLICTS):
                return self._transaction(_WRITE, work, keep=True)
        try:
            return self._transaction(_WRITE, work, keep=True)
        except (SerializationFailure, DeadlockDetected) as error:
            raise Unavailable(_CROWDED) from error

    def _transaction(self, begin: str, work: Callable[[Tx], T], *, keep: bool, seconds: int = 0) -> T:
        with self._pool.connection(seconds) as connection:
            tx = PostgresTx(connection, begin)
            result = work(tx)
            tx.end("COMMIT" if keep else "ROLLBACK")
            return result


class _Pool:
    """Connections that threads borrow; made when they are needed and kept. One that the server closed meanwhile is not lent out, so that
    a server that was started anew is used at once.
    """

    def __init__(self, url: str, connections: int, seconds: int, connect_seconds: int) -> None:
        self.where, self._conninfo = _parse(url, connect_seconds)
        self._seconds = seconds
        self._turns = threading.BoundedSemaphore(connections)
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []
        self._is_closed = False

    @contextmanager
    def connection(self, seconds: int = 0) -> Iterator[_Connection]:
        """One for the caller alone; an answer may take `seconds` where they are given. Raises Unavailable."""
        if not self._turns.acquire(timeout=self._seconds):
            raise Unavailable(f"All connections to the {self.where} are in use. Try again in a moment.")
        try:
            with self._errors():
                connection = self._take()
                connection.limit = (seconds or self._seconds) + 5.0  # the server, which has the same limit, is to speak first
                try:
                    yield connection
                except _CONFLICTS:
                    raise
                except _LOST:
                    connection.close()  # it may lead to a server that is no longer the one that writes
                    raise
                finally:
                    self._give(connection)
        finally:
            self._turns.release()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """psycopg's errors as the hub's; conflicts stay what they are."""
        try:
            yield
        except _CONFLICTS:
            raise
        except ServerDiskFull as error:
            raise DiskFull(f"The disk of the {self.where} is full. Ask the operator.") from error
        except _LOST as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            log.warning("%s: %s", self.where, reason)
            raise Unavailable(
                f"The {self.where} does not answer: {reason}. Try again in a moment; if it stays so, look after that server."
            ) from error
        except psycopg.DataError as error:
            raise Invalid(f"The database cannot hold this value: {str(error).splitlines()[0]}.") from error

    def _take(self) -> _Connection:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return self._connect()
            if _is_quiet(connection):
                return connection
            connection.close()

    def _give(self, connection: _Connection) -> None:
        """Back, without a transaction; closed when its state is not known."""
        if connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            with suppress(psycopg.Error):
                connection.execute("ROLLBACK")
        with self._lock:
            if connection.info.transaction_status == TransactionStatus.IDLE and not self._is_closed:
                self._idle.append(connection)
                return
        connection.close()

    def _connect(self) -> _Connection:
        # Nothing is prepared on the server: a plan that was kept fails when a newer worker has altered its table.
        connection = _Connection.connect(self._conninfo, autocommit=True, prepare_threshold=None, row_factory=dict_row)
        try:
            connection.limit = self._seconds + 5.0
            for name, seconds in (("statement_timeout", self._seconds), ("idle_in_transaction_session_timeout", 2 * self._seconds)):
                connection.execute(f"SET {name} = '{seconds}s'".encode())
        except BaseException:
            connection.close()
            raise
        return connection


@lru_cache(maxsize=1024)
def translate(sql: str) -> bytes:
    """`:name` as psycopg writes it, `%(name)s`; not in literals, quoted names, comments and casts."""
    return _SPECIAL.sub(_translated, sql).encode()


def _translated(found: re.Match[str]) -> str:
    return f"%({found[1]})s" if found[1] else found[0].replace("%", "%%")


def _bytewise(statement: str) -> str:
    """Text is sorted and compared as bytes whatever the database's own collation is, as SQLite does it."""
    return re.sub(r"\bTEXT\b", 'TEXT COLLATE "C"', statement)


def _is_quiet(connection: _Connection) -> bool:
    """Nothing waits to be read from an idle connection unless the server has said good-bye."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def _parse(url: str, connect_seconds: int) -> tuple[str, str]:
    """How to call the database, without the password, and where it is for psycopg."""
    try:
        given = conninfo_to_dict(url) if _is_plain(url) else {}
    except psycopg.ProgrammingError:
        given = {}
    if not given:
        raise Unavailable(
            "The address of the database cannot be understood. Write postgresql://USER:PASSWORD@HOST:PORT/NAME, and each of : / ? # @ %"
            " in the password as %3A %2F %3F %23 %40 %25."
        )
    name, host = given.get("dbname") or given.get("user") or "postgres", given.get("host") or given.get("hostaddr") or "localhost"
    defaults: dict[str, Any] = {
        "connect_timeout": connect_seconds,
        "application_name": "kohakuhub",
        "client_encoding": "UTF8",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "target_session_attrs": "read-write",  # of several hosts, and after a fail-over, the one that writes
    }
    return f'PostgreSQL database "{name}" at {host}:{given.get("port") or 5432}', make_conninfo("", **(defaults | given))


def _is_plain(url: str) -> bool:
    """A URL in which no unquoted character of the password can pass for a part of the host or the path, which are shown."""
    parts = urlsplit(url)
    rest = parts.path + parts.query + parts.fragment
    return parts.scheme in ("postgresql", "postgres") and parts.netloc.count("@") <= 1 and "@" not in rest

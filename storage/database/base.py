"""The port to the rows. SQL is written in full beside its table, with `:name` parameters, in what SQLite and PostgreSQL share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

Row: TypeAlias = Mapping[str, Any]
Params: TypeAlias = Mapping[str, Any]


T = TypeVar("T")


class Rows(Protocol):
    """Where one SELECT is asked: a transaction, or the database itself, which sees every commit before it then, without the cost of a
    transaction.
    """

    def all(self, sql: str, params: Params | None = None) -> list[Row]: ...

    def one(self, sql: str, params: Params | None = None) -> Row | None:
        """The first row, or None."""


class Tx(Rows, Protocol):
    """One transaction."""

    def run(self, sql: str, params: Params | None = None) -> int:
        """Execute and answer how many rows were changed."""

    def many(self, sql: str, params: Sequence[Params]) -> None: ...


class Database(Rows, Protocol):
    """A transaction is one plain function handed a Tx; it may be run again on a conflict, so nothing slow or outward inside.
    Raises Unavailable when the rows cannot be reached."""

    def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` as one durable read-write transaction, as if no other ran; commit when it returns, roll back when it raises.

        After Unavailable it may have been committed all the same: bytes that it was to name must stay.
        """

    def read(self, work: Callable[[Tx], T]) -> T:
        """Run `work` on one snapshot; what it writes is not kept, or refused."""

    def migrate(self) -> None:
        """Bring the schema up to date; safe when several processes start at once. Raises Unavailable if it is newer than this code."""

    def close(self) -> None: ...

"""The port to the rows. SQL is written in full beside its table, with `:name` parameters, in what SQLite and PostgreSQL share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

Row: TypeAlias = Mapping[str, Any]
Params: TypeAlias = Mapping[str, Any]


T = TypeVar("T")


class Tx(Protocol):
    """One transaction."""

    def all(self, sql: str, params: Params | None = None) -> list[Row]: ...

    def one(self, sql: str, params: Params | None = None) -> Row | None:
        """The first row, or None."""

    def run(self, sql: str, params: Params | None = None) -> int:
        """Execute and answer how many rows were changed."""

    def many(self, sql: str, params: Sequence[Params]) -> None: ...


class Database(Protocol):
    """A transaction is one plain function handed a Tx; it may be run again on a conflict, so nothing slow or outward inside."""

    def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` as one durable read-write transaction; commit when it returns, roll back when it raises."""

    def read(self, work: Callable[[Tx], T]) -> T:
        """Run `work` on one snapshot; nothing it writes is kept."""

    def one(self, sql: str, params: Params | None = None) -> Row | None:
        """The first row of one SELECT, or None: it sees every commit before it, without the cost of a transaction around it."""

    def close(self) -> None: ...

"""The rows of a hub on PostgreSQL, looked at from outside."""

import time
from functools import cache
from typing import Any

import psycopg

_SECONDS = 30


@cache
def _connection(url: str) -> "psycopg.Connection[tuple[Any, ...]]":
    """Kept to the end of the tests; threads may use it at once."""
    return psycopg.connect(url, autocommit=True)


class Rows:
    """The hub's database, looked at from outside."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = _connection(self.url).execute(sql, values)
        return cursor.fetchall() if cursor.description else []

    def repo_id(self, name: str) -> str:
        return str(self.run("SELECT id FROM repos WHERE name = %s", name.partition("/")[2])[0][0])

    def end_leases(self) -> None:
        """As 30 seconds would do whose owner is gone."""
        self.run("UPDATE operations SET lease = 0")

    def operations(self, name: str = "") -> int:
        if not name:
            return int(self.run("SELECT COUNT(*) FROM operations")[0][0])
        return int(self.run("SELECT COUNT(*) FROM operations WHERE repo_id = %s", self.repo_id(name))[0][0])

    def wait_for_the_end_of_operations(self) -> None:
        until = time.monotonic() + _SECONDS
        while self.operations():
            assert time.monotonic() < until, self.run("SELECT * FROM operation_refs")
            time.sleep(0.05)

"""How often credentials were taken back, so that no worker goes on to believe one that it remembers."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from storage.database.base import Database, Tx

T = TypeVar("T")


class Revocations:
    """One counter in the rows, for all workers. This worker sees its own changes at once, those of others after `seconds`."""

    def __init__(self, database: Database, seconds: float = 0.5) -> None:
        self._database = database
        self._seconds = seconds
        self._lock = threading.Lock()
        self._own_changes = 0
        self._number = 0
        self._known_until = 0.0

    def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work`, which takes a credential back, as one transaction with the count."""

        def counted(tx: Tx) -> T:
            tx.run("UPDATE revocations SET number = number + 1 WHERE id = 1")
            return work(tx)

        try:
            return self._database.write(counted)
        finally:  # after an error too: it may have been committed
            with self._lock:
                self._own_changes += 1
                self._known_until = 0.0

    def number(self) -> int:
        """What is remembered under another number than this one is not to be believed."""
        with self._lock:
            if time.monotonic() < self._known_until:
                return self._number
            own_changes, asked = self._own_changes, time.monotonic()
        row = self._database.one("SELECT number FROM revocations WHERE id = 1")
        number = int(row["number"]) if row else 0
        with self._lock:
            if own_changes == self._own_changes:
                self._number, self._known_until = number, asked + self._seconds
        return number

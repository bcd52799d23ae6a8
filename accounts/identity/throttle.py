"""Guesses of passwords and tokens, counted by account and by address in the rows, so that all workers share the count."""

import time

from storage.database.base import Database, Tx
from storage.errors import Throttled
from storage.limits import Limits


class Throttle:
    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits

    def check(self, account: str, address: str) -> None:
        """Raises Throttled when too many guesses failed lately; `account` may be empty (a token names none)."""
        limits = self._limits
        since = time.time_ns() // 1000 - limits.guess_window_seconds * 1_000_000
        subjects = [(f"address:{address}", limits.guesses_address)]
        if account:
            subjects.append((f"account:{account.lower()}", limits.guesses_account))

        def work(tx: Tx) -> bool:
            sql = "SELECT COUNT(*) AS number FROM guesses WHERE subject = :subject AND at > :since"
            rows = [(tx.one(sql, {"subject": subject, "since": since}), most) for subject, most in subjects]
            return any(row is not None and row["number"] >= most for row, most in rows)

        if self._database.read(work):
            wait = limits.guess_window_seconds
            raise Throttled(f"Too many wrong passwords or tokens. Try again in {wait // 60} minutes, with the right one.", wait)

    def note(self, account: str, address: str) -> None:
        """A wrong guess."""
        now = time.time_ns() // 1000
        subjects = [f"address:{address}"] + ([f"account:{account.lower()}"] if account else [])

        def work(tx: Tx) -> None:
            tx.run("DELETE FROM guesses WHERE at < :old", {"old": now - self._limits.guess_window_seconds * 1_000_000})
            tx.many("INSERT INTO guesses (subject, at) VALUES (:subject, :now)", [{"subject": s, "now": now} for s in subjects])

        self._database.write(work)

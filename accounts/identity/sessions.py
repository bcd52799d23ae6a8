"""Browser sessions: a random cookie, stored as SHA-256."""

import secrets
import time

from accounts.identity.tokens import token_hash
from accounts.identity.users import row_user
from storage.database.base import Database, Tx
from storage.records import Principal, Scope


class Sessions:
    def __init__(self, database: Database, seconds: int) -> None:
        self._database = database
        self.seconds = seconds

    def start(self, user_id: int) -> str:
        """A new session's cookie value."""
        cookie = secrets.token_urlsafe(32)
        now = time.time_ns() // 1000
        row = {"hash": token_hash(cookie), "user": user_id, "now": now, "expires": now + self.seconds * 1_000_000}

        def work(tx: Tx) -> None:
            tx.run("DELETE FROM sessions WHERE expires_at < :now", {"now": now})
            tx.run("INSERT INTO sessions (hash, user_id, created_at, expires_at) VALUES (:hash, :user, :now, :expires)", row)

        self._database.write(work)
        return cookie

    def find(self, cookie: str) -> Principal | None:
        sql = (
            "SELECT users.* FROM sessions JOIN users ON users.id = sessions.user_id"
            " WHERE sessions.hash = :hash AND sessions.expires_at > :now AND users.is_active = 1"
        )
        row = self._database.one(sql, {"hash": token_hash(cookie), "now": time.time_ns() // 1000})
        return row_user(row).principal(Scope.ADMIN, from_session=True) if row else None

    def end_all(self, user_id: int) -> None:
        self._database.write(lambda tx: tx.run("DELETE FROM sessions WHERE user_id = :user", {"user": user_id}))

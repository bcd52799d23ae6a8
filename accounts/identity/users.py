"""The people: rows of `users`."""

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from accounts.identity.names import check_account_name
from accounts.identity.passwords import Passwords
from accounts.identity.revocations import Revocations
from storage.database.base import Database, Row, Tx
from storage.errors import AlreadyExists, Invalid, NotFound
from storage.records import Principal, Scope

_EMAIL = re.compile(r"[^@\s\x00-\x1f]{1,64}@[^@\s\x00-\x1f]{1,190}")


@dataclass(frozen=True, slots=True)
class User:
    id: int
    name: str
    email: str
    is_admin: bool
    is_active: bool
    created_at: int

    def principal(self, scope: Scope, *, from_session: bool) -> Principal:
        return Principal(self.id, self.name, self.email, self.is_admin, scope, from_session)


class Users:
    def __init__(self, database: Database, passwords: Passwords, revocations: Revocations | None = None) -> None:
        self._database = database
        self._passwords = passwords
        self._revocations = revocations or Revocations(database)

    def create(self, name: str, email: str, password: str, *, is_admin: bool = False) -> User:
        """Raises BadName, Invalid (email, password) and AlreadyExists."""
        check_account_name(name)
        if not _EMAIL.fullmatch(email):
            raise Invalid(f"{email[:100]!r} is no email address.")
        user = User(secrets.randbits(48), name, email, is_admin, True, time.time_ns() // 1000)
        password_hash = self._passwords.hash(password)
        self._database.write(lambda tx: _insert(tx, user, password_hash))
        return user

    def set_password(self, name: str, password: str) -> None:
        """The old one and the sessions that it opened end at once. Raises NotFound, and Invalid for a password that is too short."""
        row = {"key": name.lower(), "hash": self._passwords.hash(password)}
        if not self._end_sessions("UPDATE users SET password_hash = :hash WHERE name_key = :key", row):
            raise NotFound(f"There is no user {name}.")

    def set_active(self, name: str, *, is_active: bool) -> None:
        """Whether the account may be used; one that may not is out at once, whatever its credential. Raises NotFound."""
        row = {"key": name.lower(), "active": int(is_active)}
        if not self._end_sessions("UPDATE users SET is_active = :active WHERE name_key = :key", row):
            raise NotFound(f"There is no user {name}.")

    def _end_sessions(self, change: str, row: Mapping[str, object]) -> int:
        """Make `change` to the user whose name is `key`; how many rows it changed."""

        def work(tx: Tx) -> int:
            tx.run("DELETE FROM sessions WHERE user_id IN (SELECT id FROM users WHERE name_key = :key)", {"key": row["key"]})
            return tx.run(change, row)

        return self._revocations.write(work)

    def restore(self, name: str) -> User:
        """An account of that name: the one that is there, or one without a password, until the operator sets one."""
        return self.by_name(name) or self.create(name, f"{name.lower()}@no-address.invalid", secrets.token_urlsafe(32))

    def by_name(self, name: str) -> User | None:
        sql = "SELECT * FROM users WHERE name_key = :key"
        row = self._database.one(sql, {"key": name.lower()})
        return row_user(row) if row else None

    def get(self, user_id: int) -> User | None:
        row = self._database.one("SELECT * FROM users WHERE id = :id", {"id": user_id})
        return row_user(row) if row else None

    def check_password(self, name: str, password: str) -> User | None:
        """The user if the password is right and the account is active. `name` may be the email. Slow on purpose."""
        sql = "SELECT * FROM users WHERE name_key = :key OR email_key = :key"
        row = self._database.one(sql, {"key": name.lower()})
        is_right = self._passwords.verify(password, row["password_hash"] if row else None)
        return row_user(row) if row and is_right and row["is_active"] else None


def row_user(row: Row) -> User:
    return User(row["id"], row["name"], row["email"], bool(row["is_admin"]), bool(row["is_active"]), row["created_at"])


def _insert(tx: Tx, user: User, password_hash: str) -> None:
    keys = {"name_key": user.name.lower(), "email_key": user.email.lower()}
    taken = tx.one("SELECT name_key FROM users WHERE name_key = :name_key OR email_key = :email_key", keys)
    if taken:
        what = f"The user name {user.name}" if taken["name_key"] == keys["name_key"] else "That email address"
        raise AlreadyExists(f"{what} already exists. Sign in, or choose another.")
    tx.run(
        "INSERT INTO users (id, name, name_key, email, email_key, password_hash, is_admin, is_active, created_at)"
        " VALUES (:id, :name, :name_key, :email, :email_key, :hash, :is_admin, 1, :now)",
        {
            "id": user.id,
            "name": user.name,
            "email": user.email,
            "hash": password_hash,
            "is_admin": int(user.is_admin),
            "now": user.created_at,
        }
        | keys,
    )

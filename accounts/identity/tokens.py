"""Access tokens: random, shown once, stored as SHA-256."""

import hashlib
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, replace

from accounts.identity.revocations import Revocations
from accounts.identity.users import row_user
from storage.database.base import Database
from storage.errors import DiskFull, Invalid, NotFound
from storage.records import Principal, Scope

_PREFIX = "hf_"
_USED_EVERY = 60_000_000  # µs between two notes of last_used
_MOST = 1000
_FORM = re.compile(re.escape(_PREFIX) + r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Token:
    """What may be shown of a token after it was made."""

    id: int
    name: str
    scope: Scope
    created_at: int
    expires_at: int | None
    last_used: int | None


@dataclass(frozen=True, slots=True)
class NewToken:
    id: int
    text: str


class Tokens:
    def __init__(self, database: Database, revocations: Revocations | None = None) -> None:
        self._database = database
        self._revocations = revocations or Revocations(database)

    def create(self, user_id: int, name: str, scope: Scope, expires_at: int | None = None) -> NewToken:
        """`expires_at` in UTC µs, None for never. Raises Invalid."""
        if not 1 <= len(name.strip()) <= 100:
            raise Invalid("A token needs a name of 1 to 100 characters, to know it by later.")
        now = time.time_ns() // 1000
        if expires_at is not None and expires_at <= now:
            raise Invalid("The token would have expired already; give a time to come.")
        new = NewToken(secrets.randbits(48), _PREFIX + secrets.token_hex(32))
        row = {"id": new.id, "user": user_id, "name": name.strip(), "hash": token_hash(new.text), "scope": scope.value}
        sql = (
            "INSERT INTO tokens (id, user_id, name, hash, scope, created_at, expires_at)"
            " VALUES (:id, :user, :name, :hash, :scope, :now, :expires)"
        )
        self._database.write(lambda tx: tx.run(sql, row | {"now": now, "expires": expires_at}))
        return new

    def find(self, text: str) -> Principal | None:
        """Who holds the token, if it lives and its user is active."""
        now = time.time_ns() // 1000
        sql = (
            "SELECT users.*, tokens.id AS token_id, tokens.name AS token_name, tokens.created_at AS token_created_at,"
            " tokens.scope, tokens.last_used, tokens.expires_at"
            " FROM tokens JOIN users ON users.id = tokens.user_id"
            " WHERE tokens.hash = :hash AND users.is_active = 1 AND (tokens.expires_at IS NULL OR tokens.expires_at > :now)"
        )
        row = self._database.one(sql, {"hash": token_hash(text), "now": now})
        if row is None:
            return None
        if (row["last_used"] or 0) < now - _USED_EVERY:
            used = {"now": now, "id": row["token_id"]}
            with suppress(DiskFull):  # readers are let in all the same
                self._database.write(lambda tx: tx.run("UPDATE tokens SET last_used = :now WHERE id = :id", used))
        principal = row_user(row).principal(Scope(row["scope"]), from_session=False)
        kept = {"token_name": row["token_name"], "token_created_at": row["token_created_at"], "token_expires_at": row["expires_at"]}
        return replace(principal, **kept)

    def list(self, user_id: int) -> list[Token]:
        sql = "SELECT * FROM tokens WHERE user_id = :user ORDER BY created_at DESC LIMIT :most"
        rows = self._database.all(sql, {"user": user_id, "most": _MOST})
        return [Token(r["id"], r["name"], Scope(r["scope"]), r["created_at"], r["expires_at"], r["last_used"]) for r in rows]

    def delete(self, user_id: int, token_id: int) -> None:
        """It ends at once. Raises NotFound, also for a token of somebody else."""
        row = {"id": token_id, "user": user_id}
        if not self._revocations.write(lambda tx: tx.run("DELETE FROM tokens WHERE id = :id AND user_id = :user", row)):
            raise NotFound(f"You have no token {token_id}.")


def is_token(text: str) -> bool:
    """Whether `text` has the form of a token of this hub."""
    return _FORM.fullmatch(text) is not None


def token_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

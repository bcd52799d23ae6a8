"""The public keys that stand for people over SSH: rows of `ssh_keys`, and the passing tokens that a key gives to git-lfs."""

import secrets
import time
from dataclasses import dataclass

from accounts.identity.revocations import Revocations
from accounts.identity.tokens import NewToken, Tokens
from accounts.identity.users import row_user
from accounts.keys.public_key import PublicKey
from storage.database.base import Database, Row, Tx
from storage.errors import AlreadyExists, Invalid, NotFound
from storage.records import Principal, Scope

_USED_EVERY = 60_000_000  # µs between two notes of last_used


@dataclass(frozen=True, slots=True)
class SshKey:
    id: int
    title: str
    kind: str
    fingerprint: str
    created_at: int
    last_used: int | None


@dataclass(frozen=True, slots=True)
class KeyHolder:
    """Who a key stands for. It reads and pushes; accounts are managed on the web."""

    key_id: int
    principal: Principal


class SshKeys:
    def __init__(self, database: Database, tokens: Tokens, most: int, revocations: Revocations | None = None) -> None:
        self._database = database
        self._revocations = revocations or Revocations(database)
        self._tokens = tokens
        self._most = most

    def add(self, user_id: int, text: str, title: str = "") -> SshKey:
        """Raises Invalid, and AlreadyExists for a key that an account has, this one or another."""
        key = PublicKey.parse(text)
        title = (title or key.comment or key.kind).strip()
        if not 1 <= len(title) <= 100 or not title.isprintable():
            raise Invalid("The title of a key has 1 to 100 characters, all on one line.")
        made = SshKey(secrets.randbits(48), title, key.kind, key.fingerprint, time.time_ns() // 1000, None)
        self._database.write(lambda tx: self._insert(tx, user_id, made, key.text))
        return made

    def list(self, user_id: int) -> list[SshKey]:
        sql = "SELECT * FROM ssh_keys WHERE user_id = :user ORDER BY created_at, id LIMIT :most"
        return [_key(row) for row in self._database.all(sql, {"user": user_id, "most": self._most})]

    def get(self, user_id: int, key_id: int) -> SshKey:
        """Raises NotFound, also for a key of somebody else."""
        row = self._database.one("SELECT * FROM ssh_keys WHERE id = :id AND user_id = :user", {"id": key_id, "user": user_id})
        if row is None:
            raise NotFound(f"You have no SSH key {key_id}.")
        return _key(row)

    def delete(self, user_id: int, key_id: int) -> None:
        """The tokens that it gave to git-lfs end too. Raises NotFound, also for a key of somebody else."""
        row = {"id": key_id, "user": user_id, "name": _token_name(key_id)}

        def work(tx: Tx) -> int:
            tx.run("DELETE FROM tokens WHERE user_id = :user AND name = :name", row)
            return tx.run("DELETE FROM ssh_keys WHERE id = :id AND user_id = :user", row)

        if not self._revocations.write(work):
            raise NotFound(f"You have no SSH key {key_id}.")

    def find(self, fingerprint: str) -> KeyHolder | None:
        """Whose key it is, if the account is active; nothing is noted, since it may not have been proven yet."""
        sql = (
            "SELECT users.*, ssh_keys.id AS key_id FROM ssh_keys JOIN users ON users.id = ssh_keys.user_id"
            " WHERE ssh_keys.fingerprint = :fingerprint AND users.is_active = 1"
        )
        row = self._database.one(sql, {"fingerprint": fingerprint})
        return KeyHolder(row["key_id"], row_user(row).principal(Scope.WRITE, from_session=False)) if row else None

    def note_use(self, key_id: int) -> None:
        now = time.time_ns() // 1000
        row = {"id": key_id, "now": now, "before": now - _USED_EVERY}
        if self._database.one("SELECT id FROM ssh_keys WHERE id = :id AND (last_used IS NULL OR last_used < :before)", row):
            self._database.write(lambda tx: tx.run("UPDATE ssh_keys SET last_used = :now WHERE id = :id", row))

    def passing_token(self, holder: KeyHolder, scope: Scope, seconds: int) -> NewToken:
        """An access token for the next `seconds`; those of this key that are over go."""
        now = time.time_ns() // 1000
        name = _token_name(holder.key_id)
        row = {"user": holder.principal.user_id, "name": name, "now": now}
        self._database.write(lambda tx: tx.run("DELETE FROM tokens WHERE user_id = :user AND name = :name AND expires_at < :now", row))
        return self._tokens.create(holder.principal.user_id, name, scope, now + seconds * 1_000_000)

    def _insert(self, tx: Tx, user_id: int, key: SshKey, text: str) -> None:
        row = {"id": key.id, "user": user_id, "title": key.title, "fingerprint": key.fingerprint, "text": text, "now": key.created_at}
        if tx.one("SELECT id FROM ssh_keys WHERE fingerprint = :fingerprint", row):
            raise AlreadyExists("This key is in use already, by you or by another account. Make another one with: ssh-keygen -t ed25519")
        count = tx.one("SELECT COUNT(*) AS number FROM ssh_keys WHERE user_id = :user", row)
        if count is not None and count["number"] >= self._most:
            raise Invalid(f"You have {self._most} SSH keys, which is the most. Delete one that you no longer use.")
        tx.run(
            "INSERT INTO ssh_keys (id, user_id, title, fingerprint, key_text, created_at)"
            " VALUES (:id, :user, :title, :fingerprint, :text, :now)",
            row,
        )


def _key(row: Row) -> SshKey:
    kind = row["key_text"].partition(" ")[0]
    return SshKey(row["id"], row["title"], kind, row["fingerprint"], row["created_at"], row["last_used"])


def _token_name(key_id: int) -> str:
    return f"git-lfs over SSH key {key_id}"

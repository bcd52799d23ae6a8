"""What LakeFS keeps of a repository besides its branches, as its metadata: enough to have the rows again when they are lost."""

import base64
import hashlib
import zlib
from collections.abc import Mapping

from storage.database.base import Tx
from storage.errors import Invalid
from storage.records import Oid, RepoKind, RepoName
from storage.versions.base import Ref, StoredRepository

_REFS = "hub.refs"
_MOST_BYTES = 256 << 20  # of the refs when they are unpacked


def describe(tx: Tx, repo_id: str) -> Mapping[str, str] | None:
    """As LakeFS is to have it; None when there is no such repository."""
    row = tx.one(
        "SELECT repos.*, users.name AS creator FROM repos JOIN users ON users.id = repos.creator_id WHERE repos.id = :id", {"id": repo_id}
    )
    if row is None:
        return None
    return {
        "hub.kind": row["kind"],
        "hub.namespace": row["namespace"],
        "hub.name": row["name"],
        "hub.private": str(row["is_private"]),
        "hub.creator": row["creator"],
        "hub.created": str(row["created_at"]),
        "hub.head": bytes(row["head"]).hex(),
        _REFS: _packed(tx, repo_id),
    }


def digest(told: Mapping[str, str]) -> Mapping[str, str]:
    """The same, short: to see whether LakeFS was told."""
    return {**told, _REFS: hashlib.sha256(told[_REFS].encode()).hexdigest()}


def parse(repo_id: str, told: Mapping[str, str]) -> StoredRepository:
    """Raises Invalid for what was not written by the hub."""
    try:
        lines = zlib.decompressobj().decompress(base64.b64decode(told[_REFS]), _MOST_BYTES).splitlines()
        return StoredRepository(
            repo_id,
            RepoName.parse(RepoKind(told["hub.kind"]), told["hub.namespace"], told["hub.name"]),
            told["hub.private"] == "1",
            told["hub.creator"],
            int(told["hub.created"]),
            bytes.fromhex(told["hub.head"]),
            tuple(map(_ref, lines)),
        )
    except (KeyError, ValueError, zlib.error) as error:
        raise Invalid(f"The metadata of a LakeFS repository are not the hub's: {error!r}.") from error


def _packed(tx: Tx, repo_id: str) -> str:
    """`oid peeled name` a line, as in git's packed-refs but on one line; the ids in hex, `-` for no peeled one."""
    sql = "SELECT name, oid, peeled FROM refs WHERE repo_id = :repo AND NOT (name > :first AND name < :last) ORDER BY name"
    rows = tx.all(sql, {"repo": repo_id, "first": b"refs/heads/", "last": b"refs/heads0"})
    lines = [b"%s %s %s\n" % (_hex(row["oid"]), _hex(row["peeled"]) if row["peeled"] else b"-", bytes(row["name"])) for row in rows]
    return base64.b64encode(zlib.compress(b"".join(lines))).decode()


def _ref(line: bytes) -> Ref:
    oid, peeled, name = line.split(b" ", 2)
    return Ref(name, bytes.fromhex(oid.decode()), bytes.fromhex(peeled.decode()) if peeled != b"-" else None)


def _hex(oid: Oid) -> bytes:
    return bytes(oid).hex().encode()

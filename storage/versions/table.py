"""The refs table as the version store of the embedded default."""

import time
from collections.abc import Callable, Sequence

from storage.database.base import Database, Row, Tx
from storage.errors import RepoNotFound
from storage.records import ZERO_OID, Oid, Principal, RefUpdate, Repo
from storage.versions.base import Ref, RefResult, Refs

_HEAD = (
    "SELECT refs.name, refs.oid, refs.peeled FROM repos JOIN refs ON refs.repo_id = repos.id AND refs.name = repos.head"
    " WHERE repos.id = :repo"
)
_FIND = (
    "SELECT name, oid, peeled FROM refs WHERE repo_id = :repo AND name IN (:first, :second, :third, :fourth)"
    " ORDER BY CASE name WHEN :first THEN 1 WHEN :second THEN 2 WHEN :third THEN 3 ELSE 4 END LIMIT 1"
)


class _Refused(Exception):
    """Rolls the transaction back and carries the results out of it."""

    def __init__(self, results: list[RefResult]) -> None:
        self.results = results


class TableVersionStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def refs(self, repo_id: str) -> Refs:
        def work(tx: Tx) -> Refs:
            head = tx.one("SELECT head FROM repos WHERE id = :id", {"id": repo_id})
            if head is None:
                raise RepoNotFound("The repository is gone.")
            rows = tx.all("SELECT name, oid, peeled FROM refs WHERE repo_id = :id ORDER BY name", {"id": repo_id})
            return Refs(bytes(head["head"]), tuple(map(_ref, rows)))

        return self._database.read(work)

    def find(self, repo_id: str, names: Sequence[bytes]) -> Ref | None:
        if names[0] == b"HEAD":
            row = self._database.one(_HEAD, {"repo": repo_id})
        else:
            first, second, third, fourth = (*names, *[names[0]] * (4 - len(names)))
            row = self._database.one(_FIND, {"repo": repo_id, "first": first, "second": second, "third": third, "fourth": fourth})
        return _ref(row) if row else None

    def append(
        self,
        repo: Repo,
        updates: Sequence[RefUpdate],
        *,
        actor: Principal,
        peeled: dict[Oid, Oid],
        atomic: bool,
        rows: Callable[[Tx], None],
        request: str = "",
    ) -> list[RefResult]:
        def work(tx: Tx) -> list[RefResult]:
            results = _apply(tx, repo, updates, peeled)
            made = [r for r in results if not r.reason]
            if not made or (atomic and len(made) < len(results)):
                raise _Refused(results)
            rows(tx)
            _journal(tx, repo, [r.update for r in made], actor, request)
            return results

        try:
            return self._database.write(work)
        except _Refused as refused:
            return [r if r.reason else RefResult(r.update, "atomic push failed: another ref was refused") for r in refused.results]

    def made_for(self, repo_id: str, ref: bytes, request: str, seconds: int) -> Oid | None:
        since = time.time_ns() // 1000 - seconds * 1_000_000
        row = self._database.one(
            "SELECT new FROM ref_log WHERE request = :request AND request <> '' AND repo_id = :repo AND name = :ref AND at > :since"
            " ORDER BY at DESC LIMIT 1",
            {"repo": repo_id, "ref": ref, "request": request, "since": since},
        )
        return bytes(row["new"]) if row else None


def _ref(row: Row) -> Ref:
    return Ref(bytes(row["name"]), bytes(row["oid"]), bytes(row["peeled"]) if row["peeled"] is not None else None)


def _apply(tx: Tx, repo: Repo, updates: Sequence[RefUpdate], peeled: dict[Oid, Oid]) -> list[RefResult]:
    if tx.run("UPDATE repos SET updated_at = :now WHERE id = :id", {"now": time.time_ns() // 1000, "id": repo.id}) == 0:
        raise RepoNotFound(f"Repository {repo.name.full} is gone.")
    current = {bytes(r["name"]): bytes(r["oid"]) for r in tx.all("SELECT name, oid FROM refs WHERE repo_id = :id", {"id": repo.id})}
    # Deletions first, so that replacing `a` by `a/b` in one push works.
    ordered = sorted(updates, key=lambda u: u.new != ZERO_OID)
    reasons: dict[int, str] = {}
    seen: set[bytes] = set()
    for update in ordered:
        reason = "multiple updates for this ref in one push" if update.ref in seen else _refusal(current, update)
        seen.add(update.ref)
        reasons[id(update)] = reason
        if not reason:
            _move(tx, repo, update, peeled)
            _note(current, update)
    _adopt_head(tx, repo, current)
    return [RefResult(update, reasons[id(update)]) for update in updates]


def _refusal(current: dict[bytes, Oid], update: RefUpdate) -> str:
    have = current.get(update.ref, ZERO_OID)
    if have != update.old:
        return _stale(have, update.old)
    if update.new == ZERO_OID:
        return "" if have != ZERO_OID else "the ref does not exist"
    parts = update.ref.split(b"/")
    above = {b"/".join(parts[:n]) for n in range(1, len(parts))}
    clash = next((name for name in current if name in above or name.startswith(update.ref + b"/")), None)
    return f"name conflicts with {clash.decode(errors='replace')}" if clash else ""


def _stale(have: Oid, believed: Oid) -> str:
    if believed == ZERO_OID:
        return "already exists"
    return "stale info: the ref has moved; fetch first" if have != ZERO_OID else "the ref does not exist"


def _note(current: dict[bytes, Oid], update: RefUpdate) -> None:
    if update.new == ZERO_OID:
        current.pop(update.ref, None)
    else:
        current[update.ref] = update.new


def _move(tx: Tx, repo: Repo, update: RefUpdate, peeled: dict[Oid, Oid]) -> None:
    row = {"repo": repo.id, "name": update.ref, "oid": update.new, "peeled": peeled.get(update.new)}
    if update.new == ZERO_OID:
        tx.run("DELETE FROM refs WHERE repo_id = :repo AND name = :name", row)
    else:
        tx.run(
            "INSERT INTO refs (repo_id, name, oid, peeled) VALUES (:repo, :name, :oid, :peeled)"
            " ON CONFLICT (repo_id, name) DO UPDATE SET oid = excluded.oid, peeled = excluded.peeled",
            row,
        )


def _adopt_head(tx: Tx, repo: Repo, current: dict[bytes, Oid]) -> None:
    """HEAD follows the first branch while its own target is unborn, so that a first push of `master` can be cloned."""
    head = tx.one("SELECT head FROM repos WHERE id = :id", {"id": repo.id})
    branches = sorted(name for name in current if name.startswith(b"refs/heads/"))
    if head is not None and bytes(head["head"]) not in current and branches:
        tx.run("UPDATE repos SET head = :head WHERE id = :id", {"head": branches[0], "id": repo.id})


def _journal(tx: Tx, repo: Repo, updates: Sequence[RefUpdate], actor: Principal, request: str) -> None:
    row = {"repo": repo.id, "user": actor.user_id, "at": time.time_ns() // 1000, "request": request}
    tx.many(
        "INSERT INTO ref_log (repo_id, name, old, new, user_id, at, request) VALUES (:repo, :name, :old, :new, :user, :at, :request)",
        [row | {"name": u.ref, "old": u.old, "new": u.new} for u in updates],
    )

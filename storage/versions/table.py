"""The refs table as the version store of the embedded default."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from storage.database.base import Database, Row, Tx
from storage.errors import Invalid, RepoNotFound
from storage.jobs.followers import wake_followers
from storage.records import ZERO_OID, Oid, Principal, RefUpdate, Repo
from storage.versions.base import Ref, RefResult, Refs, StoredRepository
from storage.versions.ref_names import Names

_REFS = (
    "SELECT repos.head, refs.name, refs.oid, refs.peeled FROM repos LEFT JOIN refs ON refs.repo_id = repos.id"
    " WHERE repos.id = :repo ORDER BY refs.name"
)
_HEAD = (
    "SELECT refs.name, refs.oid, refs.peeled FROM repos JOIN refs ON refs.repo_id = repos.id AND refs.name = repos.head"
    " WHERE repos.id = :repo"
)
_FIND = (
    "SELECT name, oid, peeled FROM refs WHERE repo_id = :repo AND name IN (:first, :second, :third, :fourth)"
    " ORDER BY CASE name WHEN :first THEN 1 WHEN :second THEN 2 WHEN :third THEN 3 ELSE 4 END LIMIT 1"
)
_PUT = (
    "INSERT INTO refs (repo_id, name, oid, peeled) VALUES (:repo, :name, :oid, :peeled)"
    " ON CONFLICT (repo_id, name) DO UPDATE SET oid = excluded.oid, peeled = excluded.peeled"
)
_MOVED = "SELECT name, old FROM ref_log WHERE repo_id = :repo AND at > :since ORDER BY at DESC LIMIT :most"
_MOST_MOVED = 10_000
_LOCK = "UPDATE repos SET updated_at = updated_at WHERE id = :id"  # others who move refs wait for this row


class Refused(Exception):
    """No ref is to be moved: rolls the transaction back and carries the results out of it."""

    def __init__(self, results: list[RefResult]) -> None:
        self.results = results


class TableVersionStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def refs(self, repo_id: str, *, fresh: bool = True) -> Refs:
        rows = self._database.all(_REFS, {"repo": repo_id})
        if not rows:
            raise RepoNotFound("The repository is gone.")
        return Refs(bytes(rows[0]["head"]), tuple(_ref(row) for row in rows if row["name"] is not None))

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
        store: Callable[[], None] = lambda: None,
        idempotency_key: str = "",
    ) -> list[RefResult]:
        store()

        def work(tx: Tx) -> list[RefResult]:
            results = judge_updates(tx, repo, updates)
            made = accepted(results, atomic=atomic)
            rows(tx)
            move_refs(tx, repo, made, peeled, actor.user_id, idempotency_key)
            return results

        try:
            return self._database.write(work)
        except Refused as refused:
            return refused.results

    def roots(self, repo_id: str) -> set[Oid]:
        return {bytes(row["oid"]) for row in self._database.all("SELECT oid FROM refs WHERE repo_id = :repo", {"repo": repo_id})}

    def sync_metadata(self, repo_id: str) -> None:
        """Rows are all there is."""

    def kept(self) -> Iterator[StoredRepository]:
        raise Invalid("This hub keeps its refs in the database alone: restore that from a backup. Only LakeFS can be rebuilt from.")

    def restore(self, repo: Repo, kept: StoredRepository, rows: Callable[[Tx], None]) -> None:
        raise Invalid("This hub keeps its refs in the database alone.")

    def prepare(self) -> None:
        """The schema is there: the database sees to that."""

    def recover(self) -> None:
        """An update is one transaction: nothing is left."""

    def ping(self) -> None:
        """The rows are asked for themselves."""

    def close(self) -> None: ...

    def moved(self, repo_id: str, seconds: int) -> Sequence[Ref]:
        since = time.time_ns() // 1000 - seconds * 1_000_000
        rows = self._database.all(_MOVED, {"repo": repo_id, "since": since, "most": _MOST_MOVED})
        return [Ref(bytes(row["name"]), bytes(row["old"])) for row in rows if bytes(row["old"]) != ZERO_OID]

    def made_for(self, repo_id: str, ref: bytes, idempotency_key: str, seconds: int) -> Oid | None:
        since = time.time_ns() // 1000 - seconds * 1_000_000
        row = self._database.one(
            "SELECT new FROM ref_log WHERE idempotency_key = :idempotency_key AND idempotency_key <> ''"
            " AND repo_id = :repo AND name = :ref AND at > :since ORDER BY at DESC LIMIT 1",
            {"repo": repo_id, "ref": ref, "idempotency_key": idempotency_key, "since": since},
        )
        return bytes(row["new"]) if row else None


def _ref(row: Row) -> Ref:
    return Ref(bytes(row["name"]), bytes(row["oid"]), bytes(row["peeled"]) if row["peeled"] is not None else None)


def judge_updates(tx: Tx, repo: Repo, updates: Sequence[RefUpdate], coming: Iterable[bytes] = ()) -> list[RefResult]:
    """What each may do, in the order of `updates`; nothing is moved. `coming` are names that others are creating right now.

    Raises RepoNotFound.
    """
    if tx.run(_LOCK, {"id": repo.id}) == 0:
        raise RepoNotFound(f"Repository {repo.name.full} is gone.")
    current = {bytes(r["name"]): bytes(r["oid"]) for r in tx.all("SELECT name, oid FROM refs WHERE repo_id = :id", {"id": repo.id})}
    names = Names({**dict.fromkeys(coming, ZERO_OID), **current})
    reasons: dict[int, str] = {}
    seen: set[bytes] = set()
    for update in deletions_first(updates):
        reason = "multiple updates for this ref in one push" if update.ref in seen else _refusal(names, update)
        seen.add(update.ref)
        reasons[id(update)] = reason
        if not reason:
            names.note(update)
    return [RefResult(update, reasons[id(update)]) for update in updates]


def accepted(results: list[RefResult], *, atomic: bool) -> list[RefUpdate]:
    """The updates to be made. Raises Refused when there is none, or when one of an atomic push was refused."""
    made = [result.update for result in results if not result.reason]
    if atomic and len(made) < len(results):
        results = [r if r.reason else RefResult(r.update, "atomic push failed: another ref was refused") for r in results]
        made = []
    if not made:
        raise Refused(results)
    return made


def move_refs(tx: Tx, repo: Repo, updates: Sequence[RefUpdate], peeled: Mapping[Oid, Oid], user_id: int, idempotency_key: str) -> None:
    """What was judged before in the same transaction, or is nobody else's to move; with the journal and HEAD."""
    _move(tx, repo, updates, peeled)
    _adopt_head(tx, repo)
    _date(tx, repo, updates)
    _journal(tx, repo, updates, user_id, idempotency_key)
    wake_followers(tx, repo.id)


def put_refs(tx: Tx, repo_id: str, refs: Iterable[Ref], head: bytes) -> None:
    """Refs as they were once, without a journal; others stay."""
    rows = [{"repo": repo_id, "name": ref.name, "oid": ref.oid, "peeled": ref.peeled} for ref in refs]
    tx.many(_PUT, rows)
    tx.run("UPDATE repos SET head = :head WHERE id = :repo", {"repo": repo_id, "head": head})


def is_newest(repo_id: str, update: RefUpdate, tx: Tx) -> bool:
    """Whether the ref was moved by this very update, and not since."""
    row = {"repo": repo_id, "ref": update.ref}
    last = tx.one("SELECT old, new FROM ref_log WHERE repo_id = :repo AND name = :ref ORDER BY at DESC LIMIT 1", row)
    return last is not None and (bytes(last["old"]), bytes(last["new"])) == (update.old, update.new)


def deletions_first(updates: Sequence[RefUpdate]) -> list[RefUpdate]:
    """So that replacing `a` by `a/b` in one push works."""
    return sorted(updates, key=lambda update: update.new != ZERO_OID)


def _refusal(names: Names, update: RefUpdate) -> str:
    have = names.get(update.ref)
    if have != update.old:
        return _stale(have, update.old)
    if update.new == ZERO_OID:
        return "" if have != ZERO_OID else "the ref does not exist"
    other = names.clash(update.ref)
    return f"name conflicts with {other.decode(errors='replace')}" if other else ""


def _stale(have: Oid, believed: Oid) -> str:
    if believed == ZERO_OID:
        return "already exists"
    return "stale info: the ref has moved; fetch first" if have != ZERO_OID else "the ref does not exist"


def _move(tx: Tx, repo: Repo, updates: Sequence[RefUpdate], peeled: Mapping[Oid, Oid]) -> None:
    rows = [{"repo": repo.id, "name": u.ref, "oid": u.new, "peeled": peeled.get(u.new)} for u in updates]
    gone = [{"repo": row["repo"], "name": row["name"]} for row in rows if row["oid"] == ZERO_OID]
    tx.many("DELETE FROM refs WHERE repo_id = :repo AND name = :name", gone)
    tx.many(_PUT, [row for row in rows if row["oid"] != ZERO_OID])


def _adopt_head(tx: Tx, repo: Repo) -> None:
    """HEAD follows `master`, else the first branch, while its own target is unborn: a first push of another name can be cloned."""
    row = {"repo": repo.id, "heads": b"refs/heads/", "end": b"refs/heads0", "likely": b"refs/heads/master"}
    head = tx.one(
        "SELECT refs.name FROM repos LEFT JOIN refs ON refs.repo_id = repos.id AND refs.name = repos.head WHERE repos.id = :repo", row
    )
    first = tx.one(
        "SELECT name FROM refs WHERE repo_id = :repo AND name > :heads AND name < :end ORDER BY name <> :likely, name LIMIT 1", row
    )
    if head is not None and head["name"] is None and first is not None:
        tx.run("UPDATE repos SET head = :head WHERE id = :repo", row | {"head": bytes(first["name"])})


def _date(tx: Tx, repo: Repo, updates: Sequence[RefUpdate]) -> None:
    """A repository was changed when its default branch moved."""
    row = tx.one("SELECT head FROM repos WHERE id = :id", {"id": repo.id})
    if row is not None and bytes(row["head"]) in {update.ref for update in updates}:
        now = time.time_ns() // 1000
        tx.run("UPDATE repos SET updated_at = :now WHERE id = :id", {"now": now, "id": repo.id})


def _journal(tx: Tx, repo: Repo, updates: Sequence[RefUpdate], user_id: int, idempotency_key: str) -> None:
    row = {"repo": repo.id, "user": user_id, "at": time.time_ns() // 1000, "idempotency_key": idempotency_key}
    tx.many(
        "INSERT INTO ref_log (repo_id, name, old, new, user_id, at, idempotency_key)"
        " VALUES (:repo, :name, :old, :new, :user, :at, :idempotency_key)",
        [row | {"name": u.ref, "old": u.old, "new": u.new} for u in updates],
    )

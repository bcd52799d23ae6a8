"""The rows of the bridge: updates under way, and what the hub knows of LakeFS. Every function is a part of somebody's transaction."""

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from storage.database.base import Row, Rows, Tx
from storage.records import ZERO_OID, Oid, RefUpdate, Repo
from storage.versions.base import RefResult
from storage.versions.lakefs.names import branch_id
from storage.versions.table import accepted, judge_updates, move_refs

LEASE_SECONDS = 30
_HEADS = b"refs/heads/"


@dataclass(frozen=True, slots=True)
class Step:
    """One ref of an operation. `base` is the commit of LakeFS's `branch` before, empty where it had none; tags have no branch."""

    update: RefUpdate
    peeled: Oid | None
    branch: str
    base: str
    place: int

    @property
    def is_deletion(self) -> bool:
        return self.update.new == ZERO_OID


@dataclass(frozen=True, slots=True)
class Operation:
    """Refs that are being moved. Only its `owner` may write it down as done."""

    id: str
    repo_id: str
    owner: str
    is_atomic: bool
    user_id: int
    idempotency_key: str
    steps: tuple[Step, ...]

    @property
    def on_branches(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.branch)


@dataclass(frozen=True, slots=True)
class Done:
    """`step` stands in LakeFS as `commit` (empty: there is no branch), which is `oid` in git."""

    step: Step
    commit: str
    oid: Oid


@dataclass(frozen=True, slots=True)
class RefsRequest:
    """Who moves refs, and how."""

    user_id: int
    idempotency_key: str
    is_atomic: bool
    peeled: Mapping[Oid, Oid]


class Busy(Exception):
    """Somebody else moves one of the refs; `is_over` when his lease has ended."""

    def __init__(self, operation: str, *, is_over: bool) -> None:
        super().__init__(operation)
        self.operation = operation
        self.is_over = is_over


class OperationLost(Exception):
    """The operation is not ours any more: it took longer than its lease, and somebody else ended it."""


def begin(
    tx: Tx, repo: Repo, updates: Sequence[RefUpdate], asked: RefsRequest, rows: Callable[[Tx], None]
) -> tuple[Operation, list[RefResult]]:
    """Judge the updates and take the refs. Raises Busy, table.Refused, RepoNotFound."""
    taken = tx.all(
        "SELECT operation_refs.ref, operation_refs.operation, operations.lease FROM operation_refs JOIN operations"
        " ON operations.id = operation_refs.operation WHERE operation_refs.repo_id = :repo",
        {"repo": repo.id},
    )
    wanted = {update.ref for update in updates}
    for row in taken:
        if bytes(row["ref"]) in wanted:
            raise Busy(row["operation"], is_over=row["lease"] < _now())
    results = judge_updates(tx, repo, updates, [bytes(row["ref"]) for row in taken])
    made = accepted(results, atomic=asked.is_atomic)
    known = _known_branches(tx, repo.id)
    steps = tuple(_step(update, asked.peeled, known, place) for place, update in enumerate(made))
    operation = Operation(uuid.uuid4().hex, repo.id, uuid.uuid4().hex, asked.is_atomic, asked.user_id, asked.idempotency_key, steps)
    _insert(tx, operation)
    rows(tx)
    return operation, results


def seize(tx: Tx, repo_id: str, ref: bytes, branch: str, base: str) -> Operation | None:
    """Take a ref in order to bring it up to LakeFS; None when somebody has it. Raises Busy when his lease is over."""
    held = tx.one(
        "SELECT operations.id, operations.lease FROM operation_refs JOIN operations ON operations.id = operation_refs.operation"
        " WHERE operation_refs.repo_id = :repo AND operation_refs.ref = :ref",
        {"repo": repo_id, "ref": ref},
    )
    if held is not None:
        if held["lease"] < _now():
            raise Busy(held["id"], is_over=True)
        return None
    row = tx.one("SELECT oid FROM refs WHERE repo_id = :repo AND name = :ref", {"repo": repo_id, "ref": ref})
    old = bytes(row["oid"]) if row else ZERO_OID
    step = Step(RefUpdate(ref, old, old), None, branch, base, 0)
    operation = Operation(uuid.uuid4().hex, repo_id, uuid.uuid4().hex, False, 0, "", (step,))
    _insert(tx, operation)
    return operation


def take_over(tx: Tx, operation_id: str) -> Operation | None:
    """An operation whose lease is over becomes ours; None when it is not, or is gone."""
    row = {"id": operation_id, "owner": uuid.uuid4().hex, "lease": _lease(), "now": _now()}
    if not tx.run("UPDATE operations SET owner = :owner, lease = :lease WHERE id = :id AND lease < :now", row):
        return None
    return _load(tx, operation_id)


def renew(tx: Tx, operation: Operation) -> None:
    row = {"id": operation.id, "owner": operation.owner, "lease": _lease()}
    tx.run("UPDATE operations SET lease = :lease WHERE id = :id AND owner = :owner", row)


def let_go(tx: Tx, operation: Operation) -> None:
    """Whoever comes next ends it: LakeFS could not be asked how far it went."""
    tx.run("UPDATE operations SET lease = 0 WHERE id = :id AND owner = :owner", {"id": operation.id, "owner": operation.owner})


def own(tx: Tx, operation: Operation) -> None:
    """Raises OperationLost. It also makes two transactions about one operation conflict."""
    if not tx.run("UPDATE operations SET lease = lease WHERE id = :id AND owner = :owner", {"id": operation.id, "owner": operation.owner}):
        raise OperationLost(operation.id)


def finish(tx: Tx, repo: Repo, operation: Operation, done: Sequence[Done]) -> None:
    """The refs of `done` move, and the operation is over. Raises OperationLost."""
    own(tx, operation)
    moves = [RefUpdate(one.step.update.ref, one.step.update.old, one.oid) for one in done if one.oid != one.step.update.old]
    if moves:
        peeled = {one.oid: one.step.peeled for one in done if one.step.peeled is not None}
        move_refs(tx, repo, moves, peeled, operation.user_id, operation.idempotency_key)
    for one in done:
        if one.step.branch:
            note_branch(tx, repo.id, one.step.branch, one.step.update.ref, one.commit)
            if one.commit and not one.step.is_deletion:
                note_commit(tx, repo.id, one.commit, one.oid)
    tx.run("DELETE FROM operations WHERE id = :id", {"id": operation.id})


def finish_lost(tx: Tx, repo: Repo, operation: Operation, lost: bytes) -> None:
    """The ref of a branch that LakeFS has no more is called `lost` from now on; empty: it is there after all. Raises OperationLost."""
    own(tx, operation)
    step = operation.steps[0]
    if lost:
        note_branch(tx, repo.id, step.branch, step.update.ref, "")
    if lost and step.update.old != ZERO_OID:
        moves = [RefUpdate(step.update.ref, step.update.old, ZERO_OID), RefUpdate(lost, ZERO_OID, step.update.old)]
        move_refs(tx, repo, moves, {}, 0, "")
    tx.run("DELETE FROM operations WHERE id = :id", {"id": operation.id})


def miss_branch(tx: Tx, repo_id: str, branch: str, since: int | None) -> None:
    row = {"repo": repo_id, "id": branch, "since": since}
    tx.run("UPDATE lakefs_refs SET missing_since = :since WHERE repo_id = :repo AND is_tag = 0 AND id = :id", row)


def note_branch(tx: Tx, repo_id: str, branch: str, ref: bytes, commit: str, *, is_tag: bool = False) -> None:
    """Where a branch or a tag stands in LakeFS; empty: it is gone."""
    row = {"repo": repo_id, "tag": int(is_tag), "id": branch, "ref": ref, "commit": commit}
    if not commit:
        tx.run("DELETE FROM lakefs_refs WHERE repo_id = :repo AND is_tag = :tag AND id = :id", row)
        return
    tx.run(
        "INSERT INTO lakefs_refs (repo_id, is_tag, id, ref, commit_id) VALUES (:repo, :tag, :id, :ref, :commit)"
        " ON CONFLICT (repo_id, is_tag, id) DO UPDATE SET ref = excluded.ref, commit_id = excluded.commit_id, missing_since = NULL",
        row,
    )


def note_commit(tx: Tx, repo_id: str, commit: str, oid: Oid) -> None:
    tx.run(
        "INSERT INTO lakefs_commits (repo_id, commit_id, oid) VALUES (:repo, :commit, :oid) ON CONFLICT DO NOTHING",
        {"repo": repo_id, "commit": commit, "oid": oid},
    )


def oid_of(rows: Rows, repo_id: str, commit: str) -> Oid | None:
    """What a LakeFS commit is in git, as far as it is known."""
    row = rows.one("SELECT oid FROM lakefs_commits WHERE repo_id = :repo AND commit_id = :commit", {"repo": repo_id, "commit": commit})
    return bytes(row["oid"]) if row else None


def commit_of(tx: Tx, repo_id: str, oid: Oid) -> str | None:
    """A LakeFS commit that shows the files of `oid`."""
    row = tx.one("SELECT commit_id FROM lakefs_commits WHERE repo_id = :repo AND oid = :oid LIMIT 1", {"repo": repo_id, "oid": oid})
    return str(row["commit_id"]) if row else None


def named(tx: Tx, repo_id: str) -> set[Oid]:
    """What LakeFS's commits are in git, and what the updates under way go from and to."""
    found = {bytes(row["oid"]) for row in tx.all("SELECT oid FROM lakefs_commits WHERE repo_id = :repo", {"repo": repo_id})}
    for row in tx.all("SELECT old, new, peeled FROM operation_refs WHERE repo_id = :repo", {"repo": repo_id}):
        found |= {bytes(oid) for oid in (row["old"], row["new"], row["peeled"]) if oid is not None}
    return found - {ZERO_OID}


def known_refs(rows: Rows, repo_id: str, *, is_tag: bool) -> dict[str, Row]:
    """LakeFS's id to its row: ref, commit_id, missing_since."""
    sql = "SELECT id, ref, commit_id, missing_since FROM lakefs_refs WHERE repo_id = :repo AND is_tag = :tag"
    return {row["id"]: row for row in rows.all(sql, {"repo": repo_id, "tag": int(is_tag)})}


def overdue(rows: Rows, repo_id: str = "") -> list[tuple[str, str]]:
    """Operations whose lease is over, each with its repository; of one repository, or of all."""
    sql = "SELECT id, repo_id FROM operations WHERE lease < :now AND (:repo = '' OR repo_id = :repo)"
    return [(row["id"], row["repo_id"]) for row in rows.all(sql, {"now": _now(), "repo": repo_id})]


def is_open(rows: Rows, operation_id: str) -> bool:
    return rows.one("SELECT id FROM operations WHERE id = :id", {"id": operation_id}) is not None


def is_described(rows: Rows, repo_id: str) -> bool:
    """Whether LakeFS has the repository."""
    return rows.one("SELECT repo_id FROM lakefs_repos WHERE repo_id = :repo", {"repo": repo_id}) is not None


def description(rows: Rows, repo_id: str) -> Mapping[str, str] | None:
    """The digest of what LakeFS was last told of the repository; None when it has it not."""
    row = rows.one("SELECT description FROM lakefs_repos WHERE repo_id = :repo", {"repo": repo_id})
    return dict(json.loads(row["description"])) if row else None


def note_description(tx: Tx, repo_id: str, told: Mapping[str, str]) -> None:
    tx.run(
        "INSERT INTO lakefs_repos (repo_id, description) VALUES (:repo, :text)"
        " ON CONFLICT (repo_id) DO UPDATE SET description = excluded.description",
        {"repo": repo_id, "text": json.dumps(dict(told), sort_keys=True)},
    )


def forget_repository(tx: Tx, repo_id: str) -> None:
    tx.run("DELETE FROM lakefs_repos WHERE repo_id = :repo", {"repo": repo_id})


def _known_branches(tx: Tx, repo_id: str) -> dict[bytes, tuple[str, str]]:
    sql = "SELECT ref, id, commit_id FROM lakefs_refs WHERE repo_id = :repo AND is_tag = 0"
    return {bytes(row["ref"]): (row["id"], row["commit_id"]) for row in tx.all(sql, {"repo": repo_id})}


def _step(update: RefUpdate, peeled: Mapping[Oid, Oid], known: Mapping[bytes, tuple[str, str]], place: int) -> Step:
    if not update.ref.startswith(_HEADS):
        return Step(update, peeled.get(update.new), "", "", place)
    branch, base = known.get(update.ref) or (branch_id(update.ref), "")
    return Step(update, None, branch, base, place)


def _insert(tx: Tx, operation: Operation) -> None:
    tx.run(
        "INSERT INTO operations (id, repo_id, owner, lease, is_atomic, user_id, idempotency_key)"
        " VALUES (:id, :repo, :owner, :lease, :atomic, :user, :idempotency_key)",
        {
            "id": operation.id,
            "repo": operation.repo_id,
            "owner": operation.owner,
            "lease": _lease(),
            "atomic": int(operation.is_atomic),
            "user": operation.user_id,
            "idempotency_key": operation.idempotency_key,
        },
    )
    tx.many(
        "INSERT INTO operation_refs (repo_id, ref, operation, place, old, new, peeled, branch, base)"
        " VALUES (:repo, :ref, :operation, :place, :old, :new, :peeled, :branch, :base)",
        [
            {
                "repo": operation.repo_id,
                "ref": step.update.ref,
                "operation": operation.id,
                "place": step.place,
                "old": step.update.old,
                "new": step.update.new,
                "peeled": step.peeled,
                "branch": step.branch,
                "base": step.base,
            }
            for step in operation.steps
        ],
    )


def _load(tx: Tx, operation_id: str) -> Operation:
    row = tx.one("SELECT * FROM operations WHERE id = :id", {"id": operation_id})
    assert row is not None
    steps = tx.all("SELECT * FROM operation_refs WHERE operation = :id ORDER BY place", {"id": operation_id})
    return Operation(
        row["id"],
        row["repo_id"],
        row["owner"],
        bool(row["is_atomic"]),
        row["user_id"],
        row["idempotency_key"],
        tuple(map(_loaded_step, steps)),
    )


def _loaded_step(row: Row) -> Step:
    update = RefUpdate(bytes(row["ref"]), bytes(row["old"]), bytes(row["new"]))
    peeled = bytes(row["peeled"]) if row["peeled"] is not None else None
    return Step(update, peeled, row["branch"], row["base"], row["place"])


def _now() -> int:
    return time.time_ns() // 1000


def _lease() -> int:
    return _now() + LEASE_SECONDS * 1_000_000

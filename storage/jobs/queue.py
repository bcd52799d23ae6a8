"""The durable queue: rows of `jobs`. Any worker on any machine takes what is due; a lease that is over makes a job free again.

A job may run twice at once when its first runner is slow and does not know it: what a job does must bear that.
"""

import time
import uuid
from collections.abc import Collection

from storage.database.base import Database, Row, Tx
from storage.jobs.base import Fenced, JobKey, JobState, JobStatus, Lease
from storage.limits import Limits

_MOST_TEXT = 2000
_DUE = "SELECT * FROM jobs WHERE state IN ('waiting', 'running') AND due_at <= :now ORDER BY due_at, kind, subject LIMIT 20"  # of all kinds
_OURS = "kind = :kind AND subject = :subject AND owner = :owner AND state = 'running'"
_TAKE = (
    "UPDATE jobs SET state = 'running', owner = :owner, due_at = :until, tries = tries + 1, is_asked = 0, begun_at = :now,"
    " progress = '', done = 0, total = 0 WHERE kind = :kind AND subject = :subject AND state = :state AND owner = :before"
)
_END = (
    "UPDATE jobs SET state = :state, owner = '', due_at = :due, tries = :tries, is_asked = 0, message = :message, ended_at = :now"
    f" WHERE {_OURS}"
)


class Jobs:
    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._limits = limits

    def take(self, kinds: Collection[str]) -> Lease | None:
        """The job that is due longest of those `kinds`, now ours; None when there is none."""
        rows = self._database.all(_DUE, {"now": _now()})
        return next((lease for row in rows if row["kind"] in kinds and (lease := self._seize(row))), None)

    def take_one(self, key: JobKey) -> Lease | None:
        """This job, whenever it is due; None while somebody else runs it, or when it is not waiting."""
        row = self._database.one("SELECT * FROM jobs WHERE kind = :kind AND subject = :subject", _named(key))
        if row is None or row["state"] not in ("waiting", "running") or (row["state"] == "running" and row["due_at"] > _now()):
            return None
        return self._seize(row)

    def renew(self, lease: Lease) -> None:
        """Raises Fenced."""
        row = _held(lease) | {"until": self._until()}
        self._change(f"UPDATE jobs SET due_at = :until WHERE {_OURS}", row)

    def progress(self, lease: Lease, text: str, done: int = 0, total: int = 0) -> None:
        """How far it is. Raises Fenced."""
        row = _held(lease) | {"text": text[:_MOST_TEXT], "done": done, "total": total, "until": self._until()}
        self._change(f"UPDATE jobs SET progress = :text, done = :done, total = :total, due_at = :until WHERE {_OURS}", row)

    def finish(self, lease: Lease) -> None:
        """It went well. Raises Fenced."""
        self._end(lease, "")

    def fail(self, lease: Lease, message: str, *, is_final: bool) -> None:
        """Back to the queue after a while, longer each time; not when it `is_final` or was tried too often. Raises Fenced."""
        self._end(lease, message[:_MOST_TEXT] or "It failed.", is_final=is_final or lease.tries >= self._limits.job_tries)

    def give_back(self, lease: Lease) -> None:
        """As if it had not been taken; somebody else may take it at once. Raises Fenced."""
        row = _held(lease) | {"now": _now()}
        self._change(f"UPDATE jobs SET state = 'waiting', owner = '', tries = tries - 1, due_at = :now WHERE {_OURS}", row)

    def status(self, key: JobKey) -> JobStatus | None:
        row = self._database.one("SELECT * FROM jobs WHERE kind = :kind AND subject = :subject", _named(key))
        return _status(row) if row else None

    def _seize(self, row: Row) -> Lease | None:
        """None when somebody was faster. A job that nobody lived to end too often is not tried again."""
        key = JobKey(row["kind"], row["subject"])
        lease = Lease(key, row["repo_id"], uuid.uuid4().hex, row["tries"] + 1)
        taking = _held(lease) | {"state": row["state"], "before": row["owner"], "now": _now(), "until": self._until()}
        if not self._database.write(lambda tx: tx.run(_TAKE, taking)):
            return None
        if lease.tries > self._limits.job_tries:
            self.fail(lease, f"It was begun {row['tries']} times, and cut short each time.", is_final=True)
            return None
        return lease

    def _end(self, lease: Lease, message: str, *, is_final: bool = False) -> None:
        def work(tx: Tx) -> int:
            row = tx.one(f"SELECT * FROM jobs WHERE {_OURS}", _held(lease))
            if row is None:
                return 0
            state, wait = self._next(row, lease, message, is_final=is_final)
            tries = lease.tries if message and not is_final else 0
            now = _now()
            ended = {"state": state.value, "due": now + wait * 1_000_000, "tries": tries, "message": message, "now": now}
            return tx.run(_END, _held(lease) | ended)

        if not self._database.write(work):
            raise Fenced

    def _next(self, row: Row, lease: Lease, message: str, *, is_final: bool) -> tuple[JobState, int]:
        """(what it is from now on, in how many seconds it may begin)."""
        if row["is_asked"]:
            return JobState.WAITING, 0
        if message and not is_final:
            return JobState.WAITING, self._limits.job_back_off_seconds << (lease.tries - 1)
        if row["every"]:
            return JobState.WAITING, row["every"]
        return (JobState.FAILED if message else JobState.DONE), 0

    def _change(self, sql: str, row: dict[str, str | int]) -> None:
        if not self._database.write(lambda tx: tx.run(sql, row)):
            raise Fenced

    def _until(self) -> int:
        return _now() + self._limits.job_lease_seconds * 1_000_000


def ask(tx: Tx, key: JobKey, repo_id: str, every: int = 0) -> None:
    """In the caller's transaction: the job runs as soon as somebody is free, and once more after that when it is running right now."""
    tx.run(
        "INSERT INTO jobs (kind, subject, repo_id, state, due_at, every, owner, tries, is_asked, progress, done, total, message)"
        " VALUES (:kind, :subject, :repo, 'waiting', :now, :every, '', 0, 0, '', 0, 0, '') ON CONFLICT (kind, subject) DO UPDATE SET"
        " every = excluded.every, due_at = CASE WHEN jobs.state = 'running' THEN jobs.due_at ELSE excluded.due_at END,"
        " is_asked = CASE WHEN jobs.state = 'running' THEN 1 ELSE 0 END,"
        " tries = CASE WHEN jobs.state = 'running' THEN jobs.tries ELSE 0 END,"
        " state = CASE WHEN jobs.state = 'running' THEN jobs.state ELSE 'waiting' END",
        _named(key) | {"repo": repo_id, "every": every, "now": _now()},
    )


def wake(tx: Tx, key: JobKey) -> None:
    """In the caller's transaction: the same for a job that is there."""
    tx.run(
        "UPDATE jobs SET due_at = CASE WHEN state = 'running' THEN due_at ELSE :now END,"
        " is_asked = CASE WHEN state = 'running' THEN 1 ELSE 0 END, tries = CASE WHEN state = 'running' THEN tries ELSE 0 END,"
        " state = CASE WHEN state = 'running' THEN state ELSE 'waiting' END WHERE kind = :kind AND subject = :subject",
        _named(key) | {"now": _now()},
    )


def drop(tx: Tx, key: JobKey) -> None:
    """In the caller's transaction: whoever runs it is fenced."""
    tx.run("DELETE FROM jobs WHERE kind = :kind AND subject = :subject", _named(key))


def _named(key: JobKey) -> dict[str, str | int]:
    return {"kind": key.kind, "subject": key.subject}


def _held(lease: Lease) -> dict[str, str | int]:
    return _named(lease.key) | {"owner": lease.owner}


def _status(row: Row) -> JobStatus:
    names = ("due_at", "every", "tries", "progress", "done", "total", "message", "begun_at", "ended_at")
    return JobStatus(JobState(row["state"]), **{name: row[name] for name in names})


def _now() -> int:
    return time.time_ns() // 1000

"""Locked files: rows of `lfs_locks`. A lock holds its path in the whole repository, on every ref, for one user."""

import time
from dataclasses import dataclass

from accounts.access import may_create_in
from storage.database.base import Database, Row, Rows, Tx
from storage.errors import Conflict, Forbidden, NotFound, RepoNotFound, TooLarge, Unavailable
from storage.limits import Limits
from storage.records import Principal, Repo

_SELECT = (
    "SELECT lfs_locks.id, lfs_locks.path, lfs_locks.user_id, lfs_locks.created_at, users.name FROM lfs_locks"
    " JOIN users ON users.id = lfs_locks.user_id WHERE lfs_locks.repo_id = :repo"
)
_LAST_ID = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class FileLock:
    """`owner` is the name of the user who holds it."""

    id: int
    path: bytes
    user_id: int
    owner: str
    created_at: int


@dataclass(frozen=True, slots=True)
class LockQuery:
    """Which locks a page shows: `path` empty and `id` 0 stand for all; `before` is the id that the last page ended with."""

    limit: int
    path: bytes = b""
    id: int = 0
    before: int = 0


@dataclass(frozen=True, slots=True)
class LockPage:
    """Newest first; `next` is the `before` of the page that follows, 0 where none does."""

    locks: tuple[FileLock, ...]
    next: int = 0


class PathLocked(Conflict):
    """The path is locked already; `lock` says by whom."""

    def __init__(self, lock: FileLock) -> None:
        super().__init__(f"{shown(lock.path)} is locked by {lock.owner} already. List the locks with: git lfs locks")
        self.lock = lock


class FileLocks:
    def __init__(self, database: Database, limits: Limits) -> None:
        self._database = database
        self._most = limits.lfs_locks

    def create(self, repo: Repo, principal: Principal, path: bytes) -> FileLock:
        """Raises PathLocked, also where the caller holds the lock; TooLarge at the limit; RepoNotFound when the repository is gone."""

        def work(tx: Tx) -> FileLock:
            if (held := _by_path(tx, repo.id, path)) is not None:
                raise PathLocked(held)
            if tx.one("SELECT id FROM repos WHERE id = :repo", {"repo": repo.id}) is None:
                raise RepoNotFound(f"Repository {repo.name.full} is gone.")
            count = tx.one("SELECT COUNT(*) AS number FROM lfs_locks WHERE repo_id = :repo", {"repo": repo.id})
            if count is not None and count["number"] >= self._most:
                raise TooLarge(f"{repo.name.full} has {self._most} locks, which is the most. Unlock files that nobody works on.")
            now = time.time_ns() // 1000
            made = FileLock(max(now, _newest(tx, repo.id) + 1), path, principal.user_id, principal.name, now)
            tx.run(
                "INSERT INTO lfs_locks (repo_id, id, path, user_id, created_at) VALUES (:repo, :id, :path, :user, :now)",
                {"repo": repo.id, "id": made.id, "path": path, "user": made.user_id, "now": now},
            )
            return made

        return self._database.write(work)

    def page(self, repo_id: str, query: LockQuery) -> LockPage:
        sql = (
            f"{_SELECT} AND lfs_locks.id < :before AND (:id = 0 OR lfs_locks.id = :id) AND (:all = 1 OR lfs_locks.path = :path)"
            " ORDER BY lfs_locks.id DESC LIMIT :limit"
        )
        row = {"repo": repo_id, "before": query.before or _LAST_ID, "id": query.id, "path": query.path, "limit": query.limit + 1}
        found = [_lock(one) for one in self._database.all(sql, row | {"all": int(not query.path)})]
        locks = tuple(found[: query.limit])
        return LockPage(locks, locks[-1].id if len(found) > query.limit else 0)

    def release(self, repo: Repo, principal: Principal, lock_id: int, *, force: bool) -> FileLock:
        """The lock that is gone now. Another's goes by `force`, for the repository's owner and administrators.

        Raises NotFound, Forbidden.
        """

        def work(tx: Tx) -> FileLock:
            row = tx.one(f"{_SELECT} AND lfs_locks.id = :id", {"repo": repo.id, "id": lock_id})
            if row is None:
                raise NotFound(f"{repo.name.full} has no lock {lock_id}: it was unlocked meanwhile. List the locks with: git lfs locks")
            lock = _lock(row)
            if lock.user_id != principal.user_id:
                _check_force(repo, principal, lock, force=force)
            tx.run("DELETE FROM lfs_locks WHERE repo_id = :repo AND id = :id", {"repo": repo.id, "id": lock_id})
            return lock

        return self._database.write(work)

    def of_others(self, repo_id: str, user_id: int) -> tuple[FileLock, ...]:
        """What `user_id` must leave alone, newest first."""
        sql = f"{_SELECT} AND lfs_locks.user_id <> :user ORDER BY lfs_locks.id DESC"
        return tuple(map(_lock, self._database.all(sql, {"repo": repo_id, "user": user_id})))


def check_none_since(tx: Tx, repo_id: str, user_id: int, known: tuple[FileLock, ...]) -> None:
    """Raises Unavailable when another user has locked a file since `of_others` gave `known`."""
    row = {"repo": repo_id, "user": user_id, "newest": known[0].id if known else 0}
    if tx.one("SELECT id FROM lfs_locks WHERE repo_id = :repo AND user_id <> :user AND id > :newest LIMIT 1", row):
        raise Unavailable("A file of this repository was locked at this moment. Try again.")


def shown(path: bytes) -> str:
    """A path for a message, on one line."""
    text = path[:300].decode(errors="replace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _check_force(repo: Repo, principal: Principal, lock: FileLock, *, force: bool) -> None:
    may_force = may_create_in(principal, repo.name.namespace)
    if force and may_force:
        return
    way = "Use --force to unlock it all the same." if may_force else f"{repo.name.namespace} and administrators may unlock it by --force."
    raise Forbidden(f"{shown(lock.path)} is locked by {lock.owner}. Ask {lock.owner} to unlock it. {way}")


def _by_path(rows: Rows, repo_id: str, path: bytes) -> FileLock | None:
    row = rows.one(f"{_SELECT} AND lfs_locks.path = :path", {"repo": repo_id, "path": path})
    return _lock(row) if row is not None else None


def _newest(rows: Rows, repo_id: str) -> int:
    row = rows.one("SELECT COALESCE(MAX(id), 0) AS id FROM lfs_locks WHERE repo_id = :repo", {"repo": repo_id})
    return int(row["id"]) if row is not None else 0


def _lock(row: Row) -> FileLock:
    return FileLock(row["id"], bytes(row["path"]), row["user_id"], row["name"], row["created_at"])

"""The repositories that exist: rows of `repos`."""

import time
import uuid
from collections.abc import Iterator, Sequence

from accounts.access import READABLE_REPOS, may_create_in, readable_by
from accounts.identity.names import check_new_repository
from storage.database.base import Database, Row, Tx
from storage.errors import AlreadyExists, Forbidden, RepoNotFound
from storage.records import Principal, Repo, RepoKind, RepoName

_PAGE = 500


class Repositories:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, principal: Principal, name: RepoName, *, is_private: bool) -> Repo:
        """A new, unborn repository. Raises Forbidden (not the caller's namespace), BadName and AlreadyExists."""
        if not may_create_in(principal, name.namespace):
            raise Forbidden(f"You may not create repositories in {name.namespace}. Use your own namespace, and a token that may write.")
        check_new_repository(name)
        now = time.time_ns() // 1000
        repo = Repo(uuid.uuid4().hex, name, is_private, principal.user_id, now, now)
        self._database.write(lambda tx: _insert(tx, repo))
        return repo

    def restore(self, tx: Tx, repo: Repo) -> None:
        """A repository as it was once, with its id. Raises AlreadyExists when another one has its name."""
        _insert(tx, repo)

    def find(self, name: RepoName) -> Repo | None:
        """By name, without regard to case."""
        sql = "SELECT * FROM repos WHERE kind = :kind AND name_key = :key"
        row = self._database.one(sql, {"kind": name.kind.value, "key": name.key})
        return _repo(row) if row else None

    def find_moved(self, name: RepoName) -> Repo | None:
        """The repository that had this name before it was moved."""
        sql = (
            "SELECT repos.* FROM repo_moves JOIN repos ON repos.id = repo_moves.repo_id"
            " WHERE repo_moves.kind = :kind AND repo_moves.name_key = :key"
        )
        row = self._database.one(sql, {"kind": name.kind.value, "key": name.key})
        return _repo(row) if row else None

    def move(self, principal: Principal, repo: Repo, new: RepoName) -> None:
        """Rename, or hand to another namespace of the caller's; the old name leads to it until another repository takes it.

        Raises Forbidden, BadName, AlreadyExists, RepoNotFound.
        """
        for namespace in (repo.name.namespace, new.namespace):
            if not may_create_in(principal, namespace):
                raise Forbidden(f"You may not move repositories out of or into {namespace}. Both namespaces must be yours.")
        check_new_repository(new)
        self._database.write(lambda tx: _move(tx, repo, new))

    def get(self, repo_id: str) -> Repo | None:
        row = self._database.one("SELECT * FROM repos WHERE id = :id", {"id": repo_id})
        return _repo(row) if row else None

    def delete(self, repo: Repo) -> None:
        """Its rows; packs and cached objects are the caller's. Raises RepoNotFound when somebody was faster."""
        if not self._database.write(lambda tx: tx.run("DELETE FROM repos WHERE id = :id", {"id": repo.id})):
            raise RepoNotFound(f"Repository {repo.name.full} is gone.")

    def update(self, repo: Repo, *, is_private: bool) -> None:
        row = {"id": repo.id, "private": int(is_private)}
        if not self._database.write(lambda tx: tx.run("UPDATE repos SET is_private = :private WHERE id = :id", row)):
            raise RepoNotFound(f"Repository {repo.name.full} is gone.")

    def set_head(self, repo: Repo, head: bytes) -> None:
        """Which branch is the default one. Raises RepoNotFound."""
        if not self._database.write(lambda tx: tx.run("UPDATE repos SET head = :head WHERE id = :id", {"id": repo.id, "head": head})):
            raise RepoNotFound(f"Repository {repo.name.full} is gone.")

    def readable(
        self,
        principal: Principal,
        kind: RepoKind,
        *,
        author: str = "",
        words: Sequence[str] = (),
        limit: int = 100,
        before: tuple[int, str] | None = None,
    ) -> list[Repo]:
        """Those that `principal` may read and whose full name holds each of `words`, newest change first, after the
        (updated_at, id) `before` of an earlier page.
        """
        likes = {f"word{number}": f"%{_escaped(word.lower())}%" for number, word in enumerate(words)}
        searched = "".join(f" AND name_key LIKE :{name} ESCAPE '!'" for name in likes)
        sql = (
            f"SELECT * FROM repos WHERE kind = :kind AND {READABLE_REPOS}"
            f" AND (:author = '' OR namespace_key = :author){searched}"
            " AND (updated_at < :at OR (updated_at = :at AND id < :id)) ORDER BY updated_at DESC, id DESC LIMIT :limit"
        )
        at, last = before or (1 << 62, "")
        found: dict[str, str | int] = {
            "kind": kind.value,
            "author": author.lower(),
            "at": at,
            "id": last,
            "limit": limit,
        }
        found |= readable_by(principal) | likes
        return [_repo(row) for row in self._database.all(sql, found)]

    def all(self) -> Iterator[Repo]:
        """Every repository, for maintenance, in pages by id."""
        sql, last = "SELECT * FROM repos WHERE id > :last ORDER BY id LIMIT :limit", ""
        while rows := self._page(sql, last):
            yield from map(_repo, rows)
            last = rows[-1]["id"]

    def _page(self, sql: str, last: str) -> Sequence[Row]:
        return self._database.all(sql, {"last": last, "limit": _PAGE})


def _insert(tx: Tx, repo: Repo) -> None:
    row = {"kind": repo.name.kind.value, "key": repo.name.key}
    if tx.one("SELECT id FROM repos WHERE kind = :kind AND name_key = :key", row):
        raise AlreadyExists(
            f"You already created this {repo.name.kind.value} repo: {repo.name.full} exists. Push to it, or choose another name."
        )
    tx.run("DELETE FROM repo_moves WHERE kind = :kind AND name_key = :key", row)
    tx.run(
        "INSERT INTO repos (id, kind, namespace, name, name_key, namespace_key, is_private, creator_id, head, created_at, updated_at)"
        " VALUES (:id, :kind, :namespace, :name, :key, :namespace_key, :private, :creator, :head, :now, :now)",
        row
        | {
            "id": repo.id,
            "namespace": repo.name.namespace,
            "name": repo.name.name,
            "namespace_key": repo.name.namespace.lower(),
            "private": int(repo.is_private),
            "creator": repo.creator_id,
            "head": repo.head,
            "now": repo.created_at,
        },
    )


def _move(tx: Tx, repo: Repo, new: RepoName) -> None:
    row = {"id": repo.id, "kind": new.kind.value, "key": new.key, "old": repo.name.key}
    taken = tx.one("SELECT id FROM repos WHERE kind = :kind AND name_key = :key", row)
    if taken is not None and taken["id"] != repo.id:
        raise AlreadyExists(f"A {new.kind.value} repository called {new.full} already exists. Choose another name.")
    tx.run("DELETE FROM repo_moves WHERE kind = :kind AND name_key = :key", row)
    names = {"namespace": new.namespace, "name": new.name, "namespace_key": new.namespace.lower()}
    sql = (
        "UPDATE repos SET namespace = :namespace, name = :name, name_key = :key, namespace_key = :namespace_key"
        " WHERE id = :id AND name_key = :old"
    )
    if not tx.run(sql, row | names):
        raise RepoNotFound(f"Repository {repo.name.full} is gone.")
    if new.key != repo.name.key:
        tx.run("INSERT INTO repo_moves (kind, name_key, repo_id) VALUES (:kind, :old, :id)", row)


def _repo(row: Row) -> Repo:
    name = RepoName(RepoKind(row["kind"]), row["namespace"], row["name"])
    return Repo(row["id"], name, bool(row["is_private"]), row["creator_id"], row["created_at"], row["updated_at"], bytes(row["head"]))


def _escaped(text: str) -> str:
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")

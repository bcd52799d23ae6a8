"""The rows of `mirrors`: where a repository comes from, in whose name, and with which credentials (sealed)."""

import json
import time
import uuid
from dataclasses import dataclass

from storage.database.base import Database, Row, Tx
from storage.encryption import SecretBox
from storage.errors import AlreadyExists, Conflict, RepoNotFound
from storage.jobs import queue
from storage.jobs.base import JobKey
from storage.jobs.followers import PUSH
from storage.outbound.url import Url, UrlCredentials, parse
from storage.records import Principal, Repo

PULL = "pull"  # as PUSH: a direction, and the kind of its jobs
_MOST_TARGETS = 20  # of one repository
_PULLS = "SELECT * FROM mirrors WHERE repo_id = :repo AND direction = 'pull'"
_TARGETS = "SELECT * FROM mirrors WHERE repo_id = :repo AND direction = 'push' ORDER BY created_at, id"


@dataclass(frozen=True, slots=True)
class Mirror:
    """`is_kept`: the repository follows its source from now on; else it is an import, done once. `secret` is sealed."""

    id: str
    repo_id: str
    direction: str
    url: Url
    user_id: int
    is_kept: bool
    secret: str

    @property
    def key(self) -> JobKey:
        return JobKey(self.direction, self.id)


class Mirrors:
    def __init__(self, database: Database, seal: SecretBox) -> None:
        self._database = database
        self._seal = seal

    def begin(self, repo: Repo, principal: Principal, url: Url, login: UrlCredentials | None, *, every: int) -> Mirror:
        """Note where `repo` comes from and ask for the first look; `every` seconds another one, 0: only this one. Begun again with the
        same URL it goes on with the new interval and credentials.

        Raises Conflict where history is that did not come from there, RepoNotFound.
        """
        mirror_id = uuid.uuid4().hex

        def work(tx: Tx) -> Mirror:
            have = tx.one(_PULLS, {"repo": repo.id})
            _check_free(tx, repo, have, url)
            mirror = Mirror(have["id"] if have else mirror_id, repo.id, PULL, url, principal.user_id, every > 0, "")
            _put(tx, mirror, self._sealed(mirror, login))
            queue.ask(tx, mirror.key, repo.id, every)
            return mirror

        return self._database.write(work)

    def add_target(self, repo: Repo, principal: Principal, url: Url, login: UrlCredentials | None) -> Mirror:
        """From now on `repo` is pushed to `url` after each update, and once now. Raises AlreadyExists, Conflict, RepoNotFound."""
        mirror = Mirror(uuid.uuid4().hex, repo.id, PUSH, url, principal.user_id, True, "")

        def work(tx: Tx) -> None:
            if tx.one("SELECT id FROM repos WHERE id = :repo", {"repo": repo.id}) is None:
                raise RepoNotFound(f"Repository {repo.name.full} is gone.")
            have = tx.all(_TARGETS, {"repo": repo.id})
            if any(row["url"] == str(url) for row in have):
                raise AlreadyExists(f"{repo.name.full} is pushed to {url.shown} already. Remove that mirror first.")
            if len(have) >= _MOST_TARGETS:
                raise Conflict(f"{repo.name.full} is pushed to {len(have)} places already; {_MOST_TARGETS} are allowed.")
            _put(tx, mirror, self._sealed(mirror, login))
            queue.ask(tx, mirror.key, repo.id)

        self._database.write(work)
        return mirror

    def targets(self, repo_id: str) -> list[Mirror]:
        return [_mirror(row) for row in self._database.all(_TARGETS, {"repo": repo_id})]

    def _sealed(self, mirror: Mirror, login: UrlCredentials | None) -> str:
        return self._seal.close(json.dumps([login.user, login.password]), mirror.id) if login else ""

    def source(self, repo_id: str) -> Mirror | None:
        row = self._database.one(_PULLS, {"repo": repo_id})
        return _mirror(row) if row else None

    def get(self, mirror_id: str) -> Mirror | None:
        row = self._database.one("SELECT * FROM mirrors WHERE id = :id", {"id": mirror_id})
        return _mirror(row) if row else None

    def login(self, mirror: Mirror) -> UrlCredentials | None:
        """Raises Unavailable when the credentials cannot be read any more."""
        return UrlCredentials(*json.loads(self._seal.open(mirror.secret, mirror.id))) if mirror.secret else None

    def forget_login(self, mirror: Mirror) -> None:
        """An import that is done needs it no more."""
        self._database.write(lambda tx: tx.run("UPDATE mirrors SET secret = '' WHERE id = :id", {"id": mirror.id}))

    def end(self, mirror: Mirror) -> None:
        """What came so far stays, and the repository takes pushes."""

        def work(tx: Tx) -> None:
            queue.drop(tx, mirror.key)
            tx.run("DELETE FROM mirrors WHERE id = :id", {"id": mirror.id})

        self._database.write(work)

    def forbids(self, repo: Repo) -> str:
        """Why nothing may be pushed; empty when it may."""
        source = self.source(repo.id)
        if source is None or not source.is_kept:
            return ""
        return "this repository is a mirror and follows its source; push there, or end the mirror first"


def _check_free(tx: Tx, repo: Repo, have: Row | None, url: Url) -> None:
    if tx.one("SELECT id FROM repos WHERE id = :repo", {"repo": repo.id}) is None:
        raise RepoNotFound(f"Repository {repo.name.full} is gone.")
    if have is not None and have["url"] != str(url) and have["is_kept"]:
        raise Conflict(f"{repo.name.full} follows {parse(have['url'])[0].shown}. End that mirror first.")
    if have is not None and have["url"] == str(url) and (have["is_kept"] or not _is_done(tx, have)):
        return
    if tx.one("SELECT name FROM refs WHERE repo_id = :repo LIMIT 1", {"repo": repo.id}) is not None:
        raise Conflict(f"{repo.name.full} has branches or tags already, and an import would replace them. Import into a new repository.")


def _is_done(tx: Tx, have: Row) -> bool:
    job = tx.one("SELECT state FROM jobs WHERE kind = :kind AND subject = :subject", {"kind": PULL, "subject": have["id"]})
    return job is not None and job["state"] == "done"


def _put(tx: Tx, mirror: Mirror, secret: str) -> None:
    tx.run(
        "INSERT INTO mirrors (id, repo_id, direction, url, secret, user_id, is_kept, created_at)"
        " VALUES (:id, :repo, :direction, :url, :secret, :user, :kept, :now)"
        " ON CONFLICT (id) DO UPDATE SET"
        " url = excluded.url, secret = excluded.secret, user_id = excluded.user_id, is_kept = excluded.is_kept",
        {
            "id": mirror.id,
            "repo": mirror.repo_id,
            "direction": mirror.direction,
            "url": str(mirror.url),
            "secret": secret,
            "user": mirror.user_id,
            "kept": int(mirror.is_kept),
            "now": time.time_ns() // 1000,
        },
    )


def _mirror(row: Row) -> Mirror:
    return Mirror(row["id"], row["repo_id"], row["direction"], parse(row["url"])[0], row["user_id"], bool(row["is_kept"]), row["secret"])

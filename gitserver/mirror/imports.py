"""Imports: what somebody asks for is read and checked, and `kohakuhub admin import` does one in the foreground."""

import logging
import threading
from dataclasses import dataclass

from accounts.access import require
from accounts.identity.users import Users
from accounts.repositories import Repositories
from gitserver.mirror.mirrors import Mirror, Mirrors
from gitserver.mirror.pull import Puller
from storage.errors import Conflict, Invalid, NotFound, Unavailable
from storage.jobs.base import Fenced, JobState
from storage.jobs.queue import Jobs
from storage.jobs.runner import Run, execute
from storage.limits import Limits
from storage.outbound.address import resolve
from storage.outbound.url import Url, UrlCredentials, parse
from storage.records import Access, Principal, Repo, RepoName, Scope
from storage.versions.base import VersionStore

log = logging.getLogger(__name__)
_MOST_SECONDS = 366 * 86400


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What the operator asks for; `every` 0 is an import, `password` empty means none."""

    url: str
    name: RepoName
    user: str
    password: str
    is_private: bool
    every: int


class ForegroundImport:
    def __init__(
        self, users: Users, repos: Repositories, versions: VersionStore, mirrors: Mirrors, jobs: Jobs, puller: Puller, limits: Limits
    ) -> None:
        self._users = users
        self._repos = repos
        self._versions = versions
        self._mirrors = mirrors
        self._jobs = jobs
        self._puller = puller
        self._limits = limits

    def run(self, request: ImportRequest, *, allow_private: bool) -> None:
        """Import, with a line of progress now and then. Raises HubErrors that say why it cannot be done."""
        url, login = read_source(request.url, request.user, request.password)
        every = checked_interval(request.every, self._limits) if request.every else 0
        owner = self._users.by_name(request.name.namespace)
        if owner is None:
            raise NotFound(f"There is no user {request.name.namespace}. Make one first, or choose another namespace.")
        resolve(url.host, url.port, allow_private=allow_private)  # before anything is made
        principal = owner.principal(Scope.WRITE, from_session=False)
        repo = find_or_create(self._repos, self._versions, principal, request.name, is_private=request.is_private)
        mirror = self._mirrors.begin(repo, principal, url, login, every=every)
        lease = self._jobs.take_one(mirror.key)
        if lease is None:
            raise Conflict(
                f"A worker of the running hub does this import already; GET /api/…/{request.name.full}/import says how far it is."
            )
        run = Run(self._jobs, lease, threading.Event(), print)
        try:
            reason = execute(self._jobs, run, self._puller.pull, self._limits.job_lease_seconds / 3)
        except Fenced as error:
            raise Unavailable("The import was ended or taken over meanwhile.") from error
        if reason:
            raise Invalid(f"{reason} {self._what_next(mirror, request.name)}".strip())

    def _what_next(self, mirror: Mirror, name: RepoName) -> str:
        """After a failure: whether the running hub goes on by itself."""
        status = self._jobs.status(mirror.key)
        if status is None or status.state is not JobState.WAITING:
            return ""
        path = f"/api/{name.kind.plural}/{name.full}/import"
        return f"A running hub tries again by itself; GET {path} says how far it is, DELETE {path} ends it. {name.path} stays as it is."


def read_source(url: object, user: object, password: object) -> tuple[Url, UrlCredentials | None]:
    """Credentials beside the URL win over those in it. Raises Invalid, which repeats none of them."""
    if not isinstance(url, str):
        raise Invalid("An import needs the url of a git repository.")
    parsed, login = parse(url)
    if "?" in parsed.target:
        raise Invalid("The URL of a git repository has no query.")
    given = ("" if user is None else user, "" if password is None else password)
    if not all(isinstance(text, str) and len(text) <= 4096 and text.isprintable() for text in given):
        raise Invalid("username and password must be short texts without control characters.")
    if password or user:
        login = UrlCredentials(str(user or ""), str(password or ""))
    if login is not None and ":" in login.user:
        raise Invalid("A user name holds no colon.")
    return Url(parsed.scheme, parsed.host, parsed.port, parsed.target.rstrip("/")), login


def checked_interval(seconds: object, limits: Limits) -> int:
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not limits.mirror_seconds <= seconds <= _MOST_SECONDS:
        raise Invalid(f"interval_seconds must be a number from {limits.mirror_seconds} to {_MOST_SECONDS}.")
    return seconds


def find_or_create(repos: Repositories, versions: VersionStore, principal: Principal, name: RepoName, *, is_private: bool) -> Repo:
    """Raises what `require` and `create` raise."""
    repo = repos.find(name)
    if repo is not None:
        return require(principal, repo, name, Access.WRITE)
    repo = repos.create(principal, name, is_private=is_private)
    try:
        versions.sync_metadata(repo.id)
    except Unavailable as error:  # the row has it: the rest is done later
        log.warning("repository %s: %s", repo.name.full, error.message)
    return repo

"""Imports and mirrors, assembled: the queue, what the jobs do, and `kohakuhub admin import` in the foreground."""

import threading
from dataclasses import dataclass
from functools import partial

from gitserver.mirror.mirrors import PULL, Mirror
from gitserver.mirror.pull import Here, Puller
from gitserver.mirror.push import PushMirror
from gitserver.mirror.target_views import TargetViews
from gitserver.mirror.views import MirrorViews, checked_interval, find_or_create, read_source
from gitserver.receive.severities import Strictness
from gitserver.update.pusher import Pusher
from gitserver.update.ref_updater import RefUpdater
from gitserver.update.ref_writer import RefWriter
from httpapi.endpoint import Endpoint
from hub.services import Services
from lfs.objects.large_files import LargeFiles
from storage.errors import Conflict, Invalid, NotFound, Unavailable
from storage.jobs.base import Fenced, JobState
from storage.jobs.followers import PUSH
from storage.jobs.queue import Jobs
from storage.jobs.runner import JobRunner, Run, execute
from storage.outbound.address import resolve
from storage.outbound.client import Outbound
from storage.records import RepoName, Scope

_THREADS = 2  # so that a long import does not hold up the small looks of mirrors


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What the operator asks for; `every` 0 is an import, `password` empty means none."""

    url: str
    name: RepoName
    user: str
    password: str
    is_private: bool
    every: int


class Mirroring:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._limits = limits = services.limits
        self._jobs = Jobs(services.database, limits)
        outbound = Outbound(limits, partial(resolve, allow_private=services.settings.import_private))
        here = _here(services)
        self._puller = Puller(here, services.mirrors, outbound, limits)
        self._pusher = PushMirror(here, services.mirrors, outbound, limits)

    def endpoints(self) -> list[Endpoint]:
        it = self._services
        allow = it.settings.import_private
        return [
            *MirrorViews(it.mirrors, self._jobs, it.repos, it.versions, self._limits, allow_private=allow).endpoints(),
            *TargetViews(it.mirrors, self._jobs, self._limits, allow_private=allow).endpoints(),
        ]

    def runner(self) -> JobRunner:
        return JobRunner(self._jobs, {PULL: self._puller.pull, PUSH: self._pusher.push}, self._limits.job_lease_seconds, _THREADS)

    def run_now(self, wish: ImportRequest) -> None:
        """Import, with a line of progress now and then. Raises HubErrors that say why it cannot be done."""
        url, login = read_source(wish.url, wish.user, wish.password)
        every = checked_interval(wish.every, self._limits) if wish.every else 0
        owner = self._services.users.by_name(wish.name.namespace)
        if owner is None:
            raise NotFound(f"There is no user {wish.name.namespace}. Make one first, or choose another namespace.")
        resolve(url.host, url.port, allow_private=self._services.settings.import_private)  # before anything is made
        principal = owner.principal(Scope.WRITE, from_session=False)
        repo = find_or_create(self._services.repos, self._services.versions, principal, wish.name, is_private=wish.is_private)
        mirror = self._services.mirrors.begin(repo, principal, url, login, every=every)
        lease = self._jobs.take_one(mirror.key)
        if lease is None:
            raise Conflict(f"A worker of the running hub does this import already; GET /api/…/{wish.name.full}/import says how far it is.")
        run = Run(self._jobs, lease, threading.Event(), print)
        try:
            reason = execute(self._jobs, run, self._puller.pull, self._limits.job_lease_seconds / 3)
        except Fenced as error:
            raise Unavailable("The import was ended or taken over meanwhile.") from error
        if reason:
            raise Invalid(f"{reason} {self._what_next(mirror, wish.name)}".strip())

    def _what_next(self, mirror: Mirror, name: RepoName) -> str:
        """After a failure: whether the running hub goes on by itself."""
        status = self._jobs.status(mirror.key)
        if status is None or status.state is not JobState.WAITING:
            return ""
        path = f"/api/{name.kind.plural}/{name.full}/import"
        return f"A running hub tries again by itself; GET {path} says how far it is, DELETE {path} ends it. {name.path} stays as it is."


def _here(services: Services) -> Here:
    """The services as a mirror uses them: its pushes are forbidden to nobody, by no branch rule, and old odd objects are taken."""
    it, strictness = services, Strictness(services.settings.strictness.severities.of_imports)
    updater = RefUpdater(it.objects, it.packs, it.background_repack, it.versions, None, it.receive_runner, it.limits)
    pusher, writer = Pusher(updater, it.possession, strictness), RefWriter(updater, strictness)
    large = LargeFiles(it.database, it.blobs, it.possession)
    return Here(it.users, it.repos, it.objects, it.packs, it.versions, pusher, writer, it.possession, large, it.blobs)

"""All kinds of background jobs, in one table: packages offer what they can do, the hub decides where it runs."""

from functools import partial

from gitserver.mirror.imports import ForegroundImport
from gitserver.mirror.mirrors import PULL
from gitserver.mirror.pull import Here, Puller
from gitserver.mirror.push import PushMirror
from gitserver.receive.severities import Strictness
from gitserver.update.pusher import Pusher
from gitserver.update.ref_updater import RefUpdater
from gitserver.update.ref_writer import RefWriter
from hub.services import Services
from lfs.objects.large_files import LargeFiles
from storage.jobs.followers import PUSH
from storage.jobs.runner import JobRunner
from storage.outbound.address import resolve
from storage.outbound.client import Outbound

_THREADS = 2  # so that a long import does not hold up the small looks of mirrors


class BackgroundJobs:
    """Made once in each process that runs jobs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        outbound = Outbound(services.limits, partial(resolve, allow_private=services.settings.import_private))
        here = _here(services)
        self._puller = Puller(here, services.mirrors, outbound, services.limits)
        self._push_mirror = PushMirror(here, services.mirrors, outbound, services.limits)

    def runner(self) -> JobRunner:
        kinds = {PULL: self._puller.pull, PUSH: self._push_mirror.push}
        return JobRunner(self._services.jobs, kinds, self._services.limits.job_lease_seconds, _THREADS)

    def foreground_import(self) -> ForegroundImport:
        it = self._services
        return ForegroundImport(it.users, it.repos, it.versions, it.mirrors, it.jobs, self._puller, it.limits)


def _here(services: Services) -> Here:
    """The services as a mirror uses them: its pushes are forbidden to nobody, by no branch rule, and old odd objects are taken."""
    it, strictness = services, Strictness(services.settings.strictness.severities.of_imports)
    updater = RefUpdater(it.objects, it.packs, it.background_repack, it.versions, None, it.receive_runner, it.limits)
    pusher, writer = Pusher(updater, it.possession, strictness), RefWriter(updater, strictness)
    large = LargeFiles(it.database, it.blobs, it.possession)
    return Here(it.users, it.repos, it.objects, it.packs, it.versions, pusher, writer, it.possession, large, it.blobs)

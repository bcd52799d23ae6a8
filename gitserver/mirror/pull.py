"""A repository is brought to where its source is: the job `pull`. Cut short at any moment it goes on from what has come so far.

Large files that came are the repository's at once and not fetched again. A pack that came whole is kept in the folder of what is on its
way in until it is part of the repository; a pack that did not is fetched again, with haves of what is here.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from accounts.access import decide
from accounts.identity.users import Users
from accounts.repositories import Repositories
from gitserver.mirror.large import LargeSource
from gitserver.mirror.mirrors import Mirror, Mirrors
from gitserver.mirror.plan import Plan, make_plan, missing, newest
from gitserver.mirror.source import Listing, MirrorSource
from gitserver.objects.store import ObjectStores
from gitserver.receive.commands import PushRequest
from gitserver.update.pusher import Pusher
from gitserver.update.ref_writer import RefWriter
from lfs.objects.large_files import LargeFiles
from lfs.objects.possession import Possession
from storage.blobs.base import BlobStore
from storage.errors import BadPack, Conflict, Forbidden, RepoNotFound, Unavailable
from storage.jobs.runner import Run
from storage.limits import Limits
from storage.outbound.client import Outbound, deadline
from storage.packs import PackStore
from storage.records import Access, BlobRef, Oid, Principal, Repo, Scope
from storage.versions.base import RefResult, Refs, VersionStore

_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Here:
    """Where the hub keeps what is fetched. `pusher` and `writer` take updates of mirrors, and old odd objects."""

    users: Users
    repos: Repositories
    objects: ObjectStores
    packs: PackStore
    versions: VersionStore
    pusher: Pusher
    writer: RefWriter
    possession: Possession
    large: LargeFiles
    blobs: BlobStore


class Puller:
    def __init__(self, here: Here, mirrors: Mirrors, outbound: Outbound, limits: Limits) -> None:
        self._here = here
        self._mirrors = mirrors
        self._outbound = outbound
        self._limits = limits

    def pull(self, run: Run) -> None:
        """The work of one job. Raises HubErrors that say why it cannot be done, and whatever `run` raises to stop it."""
        mirror = self._mirrors.get(run.lease.key.subject)
        if mirror is None:
            return  # ended meanwhile
        repo, principal = self._actor(mirror)
        check = deadline(self._limits.import_seconds, run.check)
        source = MirrorSource(self._outbound, mirror.url, self._mirrors.login(mirror), self._limits, check)
        run.progress(f"Asking {mirror.url.shown}")
        source.open()
        there = source.list()
        before = self._here.versions.refs(repo.id)
        plan = make_plan(before, there)
        large = LargeSource(self._outbound, source, self._here.blobs, self._here.possession, self._limits, check)

        def bring(blobs: list[BlobRef]) -> None:
            large.bring(repo.id, self._here.large.claim(principal, repo, blobs), run.progress)

        folder = self._here.packs.quarantine()
        try:
            pack = _Fetch(self._here, self._limits, repo, folder).run(source, there, before, run)
            self._update(repo, principal, plan, pack, bring, run)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if not mirror.is_kept:
            self._mirrors.forget_login(mirror)
        changed = len(plan.updates) + len(plan.late)
        run.progress(f"Done: {len(there.refs)} refs, {changed} changed, {there.skipped} of other kinds left out")

    def _actor(self, mirror: Mirror) -> tuple[Repo, Principal]:
        """The rights of who set the mirror up are asked anew each time."""
        repo = self._here.repos.get(mirror.repo_id)
        if repo is None:
            raise RepoNotFound("The repository is gone.")
        user = self._here.users.get(mirror.user_id)
        principal = user.principal(Scope.WRITE, from_session=False) if user is not None and user.is_active else None
        if principal is None or decide(principal, repo) < Access.WRITE:
            raise Forbidden(f"Who set this mirror up may not write to {repo.name.full} any more. Somebody who may sets it up again.")
        return repo, principal

    def _update(
        self, repo: Repo, principal: Principal, plan: Plan, pack: "_Pack", bring: Callable[[list[BlobRef]], None], run: Run
    ) -> None:
        """Large files, pack, refs, in that order; then HEAD, and last what HEAD has left."""
        results: list[RefResult] = []
        if plan.updates:
            request = PushRequest(plan.updates)
            pushed = self._here.pusher.receive(repo, principal, request, pack.path, lambda text: run.progress(_line(text)), bring)
            if pushed.unpack:
                pack.forget()
                raise BadPack(f"The source's objects are not taken: {pushed.unpack}")
            results += pushed.refs
        if plan.head != self._here.versions.refs(repo.id).head:
            self._here.repos.set_head(repo, plan.head)
            with suppress(Unavailable):  # the row has it; what stands outside is brought in line later
                self._here.versions.sync_metadata(repo.id)
        if plan.late:
            results += self._here.writer.move(repo, principal, plan.late)
        _check_results(results)
        pack.forget()


@dataclass(frozen=True, slots=True)
class _Pack:
    """What was fetched, or None when nothing was needed; `kept` is a second name of the same file, for the next try."""

    path: Path | None
    kept: Path | None = None

    def forget(self) -> None:
        if self.kept is not None:
            self.kept.unlink(missing_ok=True)


class _Fetch:
    def __init__(self, here: Here, limits: Limits, repo: Repo, folder: Path) -> None:
        self._objects = here.objects.of(repo.id)
        self._limits = limits
        self._repo = repo
        self._folder = folder

    def run(self, source: MirrorSource, there: Listing, before: Refs, run: Run) -> _Pack:
        self._objects.refresh()
        wants = missing(self._objects, there)
        if not wants:
            return _Pack(None)
        kept = self._folder.parent / f"import-{self._digest(wants)}.pack"
        path = self._folder / "fetched.pack"
        with suppress(FileNotFoundError):
            os.link(kept, path)
            return _Pack(path, kept)
        part = self._folder / "fetched.part"
        with part.open("wb") as file:
            haves = newest(self._objects, before, self._limits.import_haves)
            source.fetch(wants, haves, file, lambda text: run.progress(f"Source: {text}"))
        part.rename(path)
        with suppress(FileExistsError):
            os.link(path, kept)
        return _Pack(path, kept)

    def _digest(self, wants: Sequence[Oid]) -> str:
        return hashlib.sha256(self._repo.id.encode() + b"".join(wants)).hexdigest()


def _check_results(results: Sequence[RefResult]) -> None:
    refused = [result for result in results if result.reason]
    if refused:
        shown = "; ".join(f"{result.update.ref.decode(errors='replace')}: {result.reason}" for result in refused[:_MOST_SHOWN])
        raise Conflict(f"{len(refused)} refs of the source are not taken: {shown}")


def _line(text: str) -> str:
    return " ".join(text.split())

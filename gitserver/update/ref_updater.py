"""Refs move together with the pack that they need, whole or not at all (I4).

Order of writes: pack and index into the store, synced; then one transaction with the pack's row, the refs and the journal.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from gitserver.maintenance.background import BackgroundRepack
from gitserver.objects.connectivity import is_closed
from gitserver.objects.store import Objects, ObjectStores
from gitserver.receive.commands import PushRequest
from gitserver.receive.ingest import Ingested, IngestOptions
from gitserver.receive.severities import Strictness
from gitserver.update.branch_rules import BranchRule, BranchRules
from gitserver.update.locked_paths import LockedPaths
from gitserver.update.ref_policy import RefPolicy
from gitserver.workers.receive_runner import ReceiveRunner
from lfs.locks.locks import FileLock, FileLocks, check_none_since
from storage.database.base import Tx
from storage.errors import Conflict, Dropped, Unavailable
from storage.limits import Limits
from storage.packs import GivenPacks, PackStore
from storage.packs.packfile import open_pack
from storage.records import Oid, PackInfo, Principal, RefUpdate, Repo
from storage.versions.base import RefResult, VersionStore


def nobody_forbids(repo: Repo) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """Refs to move, and the pack that came with them: None where none came, or where it was added already."""

    request: PushRequest
    ingested: Ingested | None = None
    pack: Path | None = None
    idempotency_key: str = ""

    @property
    def is_new(self) -> bool:
        return self.ingested is not None and self.ingested.info.objects > 0

    @property
    def info(self) -> PackInfo:
        assert self.ingested is not None
        return self.ingested.info

    @property
    def files(self) -> tuple[str, str]:
        assert self.pack is not None
        return str(self.pack), str(self.pack.with_suffix(".idx"))


class RefUpdater:
    """`forbids` says why a repository takes no updates at all, empty when it does. `rules` and `locks` are None for a mirror, which does
    what its source did.
    """

    def __init__(
        self,
        objects: ObjectStores,
        packs: PackStore,
        background_repack: BackgroundRepack,
        versions: VersionStore,
        rules: BranchRules | None,
        receive_runner: ReceiveRunner,
        limits: Limits,
        *,
        forbids: Callable[[Repo], str] = nobody_forbids,
        locks: FileLocks | None = None,
    ) -> None:
        self._objects = objects
        self.packs = packs
        self._background_repack = background_repack
        self._versions = versions
        self._rules = rules
        self._receive_runner = receive_runner
        self._limits = limits
        self._forbids = forbids
        self._locks = locks

    def look(self, repo: Repo) -> int:
        """Look at what is stored; the `drops` that tell later whether something of it went."""
        drops = self.packs.upkeep.drops(repo.id)
        self._objects.of(repo.id).refresh()
        return drops

    def options(self, repo: Repo, updates: Sequence[RefUpdate], strictness: Strictness, bases: tuple[Oid, ...] = ()) -> IngestOptions:
        """How the pack of `updates` is checked. `bases` are the stored trees that its trees were made from, where that is known."""
        return IngestOptions(strictness, bool(self._rules_of(repo)), tuple({update.new for update in updates}), bases)

    def ingest(
        self, repo: Repo, pack: Path, updates: Sequence[RefUpdate], options: IngestOptions, progress: Callable[[str], None]
    ) -> Ingested:
        """Raises BadPack, TooLarge and Unavailable."""
        return self._receive_runner.run(self._objects.of(repo.id), pack, updates, options, progress)

    def update(self, repo: Repo, principal: Principal, asked: UpdateRequest, drops: int) -> list[RefResult]:
        """`drops` as it was before anybody looked at what is stored; when it has changed, there is one more look, at the pack that was
        added meanwhile without a row. Raises Dropped when something went that was counted on, or went again.
        """
        if forbidden := self._forbids(repo):
            return [RefResult(update, forbidden) for update in asked.request.updates]
        try:
            return self._try(repo, principal, asked, drops)
        except Dropped:
            drops = self.look(repo)
            if asked.is_new and not is_closed(self.packs.open(repo.id, asked.info), self._objects.of(repo.id).packs()):
                raise
            return self._try(repo, principal, replace(asked, pack=None), drops)

    def _try(self, repo: Repo, principal: Principal, asked: UpdateRequest, drops: int) -> list[RefResult]:
        request, objects = asked.request, self._objects.of(repo.id)
        refs, locks = self._versions.refs(repo.id, fresh=False), self._locks_of_others(repo, principal)
        locked = LockedPaths(self._with_new(repo, asked), refs, locks) if locks else None
        policy = RefPolicy(objects, asked.ingested, refs, self._rules_of(repo), self._limits, locked)
        reasons = {update: policy.refusal(update) for update in request.updates}
        good = [update for update, reason in reasons.items() if not reason and not policy.is_done(update)]
        if request.has(b"atomic") and any(reasons.values()):
            return [RefResult(update, reasons[update] or "atomic push failed") for update in request.updates]
        made: dict[RefUpdate, RefResult] = {}
        if good:

            def store() -> None:
                if asked.is_new and asked.pack is not None:
                    self.packs.add(repo.id, asked.info, asked.pack, asked.pack.with_suffix(".idx"))

            def rows(tx: Tx) -> None:
                self.packs.upkeep.count_on(tx, repo.id, drops)
                if self._locks is not None:
                    check_none_since(tx, repo.id, principal.user_id, locks)
                if asked.is_new:
                    self.packs.record(tx, repo.id, asked.info)

            results = self._versions.append(
                repo,
                good,
                actor=principal,
                peeled=policy.peeled,
                atomic=request.has(b"atomic"),
                store=store,
                rows=rows,
                idempotency_key=asked.idempotency_key,
            )
            made = {result.update: result for result in results}
            # The refs have moved, whatever happens to S3 or the disk now; the next reader looks again.
            with suppress(Unavailable), self.packs.space.guard():
                objects.refresh()
                self._background_repack.enqueue(repo.id)
        return [made.get(update) or RefResult(update, reasons[update]) for update in request.updates]

    def _rules_of(self, repo: Repo) -> Sequence[BranchRule]:
        """None where the pusher has none: a mirror does what its source did."""
        return self._rules.of(repo.id) if self._rules is not None else ()

    def _locks_of_others(self, repo: Repo, principal: Principal) -> tuple[FileLock, ...]:
        """None where the pusher knows of no locks: a mirror does what its source did."""
        return self._locks.of_others(repo.id, principal.user_id) if self._locks is not None else ()

    def _with_new(self, repo: Repo, asked: UpdateRequest) -> Objects:
        """What is stored, and the pack that is not part of the repository yet."""
        stored = self._objects.of(repo.id)
        if not asked.is_new:
            return stored
        pack = open_pack(asked.info, *asked.files) if asked.pack else self.packs.open(repo.id, asked.info)
        return Objects(repo.id, GivenPacks([pack, *stored.packs()]))


def check_made(results: Sequence[RefResult]) -> None:
    """For callers that move one ref: raises Conflict when it was refused."""
    for result in results:
        if result.reason:
            raise Conflict(f"{result.update.ref.decode(errors='replace')}: {result.reason}.")

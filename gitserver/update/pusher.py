"""The push use case: what a client sent becomes visible whole, or not at all (I4).

Order of writes: pack and index into the store, synced; then one transaction with the pack's row, the refs and the journal.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dulwich.refs import Ref, check_ref_format

from gitserver.fetch.graph import DEEPEST_TAG, peel
from gitserver.maintenance.background import BackgroundRepack
from gitserver.objects.connectivity import is_closed
from gitserver.objects.pack_writer import PackWriter
from gitserver.objects.store import Kind, Objects, ObjectStores
from gitserver.receive.commands import PushRequest
from gitserver.receive.ingest import Ingested, IngestOptions
from gitserver.receive.severities import USUAL, LargeBlobs, Strictness
from gitserver.update.branch_rules import Arriving, BranchRule, BranchRules, refusal
from gitserver.update.locked_paths import LockedPaths
from gitserver.update.namespaces import NO_NAME, refusal_of
from gitserver.workers.receive_runner import ReceiveRunner
from lfs.locks.locks import FileLock, FileLocks, check_none_since
from lfs.objects.possession import Possession
from storage.database.base import Tx
from storage.errors import BadPack, Conflict, Dropped, ObjectNotFound, TooLarge, TooManyTags, Unavailable
from storage.limits import Limits
from storage.packs import GivenPacks, PackStore
from storage.packs.packfile import open_pack
from storage.records import ZERO_OID, BlobRef, Oid, PackInfo, Principal, RefUpdate, Repo
from storage.versions.base import RefResult, Refs, VersionStore

_MOST_SHOWN = 20
_ATOMIC = frozenset({b"atomic"})
IS_DEFAULT = "deletion of the current branch prohibited"  # git's words


@dataclass(frozen=True, slots=True)
class PushResult:
    """`unpack` is empty when the pack was good, else what is wrong with it."""

    unpack: str
    refs: list[RefResult]


def nobody_forbids(repo: Repo) -> str:
    return ""


class Pusher:
    """`forbids` says why a repository takes no updates at all, empty when it does; `strictness` is how pushes are judged."""

    def __init__(
        self,
        objects: ObjectStores,
        packs: PackStore,
        background_repack: BackgroundRepack,
        versions: VersionStore,
        possession: Possession,
        rules: BranchRules | None,
        receive_runner: ReceiveRunner,
        limits: Limits,
        strictness: Strictness = USUAL,
        *,
        forbids: Callable[[Repo], str] = nobody_forbids,
        locks: FileLocks | None = None,
    ) -> None:
        self._objects = objects
        self._packs = packs
        self._background_repack = background_repack
        self._versions = versions
        self._possession = possession
        self._rules = rules
        self._receive_runner = receive_runner
        self._limits = limits
        self._forbids = forbids
        self._strictness = strictness
        self._locks = locks

    def receive(
        self,
        repo: Repo,
        principal: Principal,
        request: PushRequest,
        pack: Path | None,
        progress: Callable[[str], None],
        bring: Callable[[list[BlobRef]], None] | None = None,
    ) -> PushResult:
        """A client's push; `pack` is a file of the caller's, which is moved away or left to be dropped. `bring` is asked for the LFS
        objects that it needs and the repository lacks, before any ref moves.
        """
        drops = self._look(repo)
        try:
            ingested = self._ingest(repo, pack, request.updates, progress, self._strictness) if pack is not None else None
        except (BadPack, TooLarge) as error:
            progress(f"{error.message}\n")
            return PushResult(error.message, [RefResult(update, "unpacker error") for update in request.updates])
        if ingested is not None and (reason := self._told(ingested, progress)):
            return PushResult("", [RefResult(update, reason) for update in request.updates])
        if bring is not None and ingested is not None:
            bring(self._possession.missing(repo.id, ingested.pointers))
        missing = self._missing_large(repo, ingested, progress)
        if missing:
            return PushResult("", [RefResult(update, missing) for update in request.updates])
        return PushResult("", self._update(repo, principal, _Asked(request, ingested, pack), drops))

    def store(
        self, repo: Repo, principal: Principal, fill: Callable[[PackWriter], Sequence[RefUpdate]], *, request: str = ""
    ) -> list[RefResult]:
        """Objects made by the hub itself: `fill` writes them and tells which refs move onto them. Raises BadPack if they are wrong.

        `fill` may be asked once more: where it counted on objects that were removed meanwhile.
        """
        try:
            return self._store(repo, principal, fill, request)
        except Dropped:
            return self._store(repo, principal, fill, request)

    def move(self, repo: Repo, principal: Principal, updates: Sequence[RefUpdate]) -> list[RefResult]:
        """Refs onto objects that are here already."""
        return self._update(repo, principal, _Asked(PushRequest(tuple(updates), _ATOMIC)), self._look(repo))

    def _store(self, repo: Repo, principal: Principal, fill: Callable[[PackWriter], Sequence[RefUpdate]], made_for: str) -> list[RefResult]:
        drops = self._look(repo)
        folder = self._packs.quarantine()
        try:
            pack = folder / "made.pack"
            writer = PackWriter(pack)
            try:
                updates = fill(writer)
            finally:
                writer.close()
            try:
                lenient = replace(self._strictness, large=LargeBlobs.IGNORE)
                ingested = self._ingest(repo, pack, updates, lambda text: None, lenient, tuple(writer.bases))
            except BadPack as error:
                self._packs.upkeep.check(repo.id, drops, error)
                raise
            return self._update(repo, principal, _Asked(PushRequest(tuple(updates), _ATOMIC), ingested, pack, made_for), drops)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _ingest(
        self,
        repo: Repo,
        pack: Path,
        updates: Sequence[RefUpdate],
        progress: Callable[[str], None],
        strictness: Strictness,
        bases: tuple[Oid, ...] = (),
    ) -> Ingested:
        terms = IngestOptions(strictness, bool(self._rules_of(repo)), tuple({update.new for update in updates}), bases)
        return self._receive_runner.run(self._objects.of(repo.id), pack, updates, terms, progress)

    def _told(self, ingested: Ingested, progress: Callable[[str], None]) -> str:
        """Show what was found in the pack; why it cannot be taken, or empty."""
        is_refused = self._strictness.large is LargeBlobs.REFUSE and bool(ingested.misplaced)
        for line in ingested.warnings:
            progress(f"warning: {line}\n")
        for line in ingested.misplaced:
            progress(f"{line}\n" if is_refused else f"warning: {line}\n")
        return "files belong in Git LFS" if is_refused else ""

    def _rules_of(self, repo: Repo) -> Sequence[BranchRule]:
        """None where the pusher has none: a mirror does what its source did."""
        return self._rules.of(repo.id) if self._rules is not None else ()

    def _locks_of_others(self, repo: Repo, principal: Principal) -> tuple[FileLock, ...]:
        """None where the pusher knows of no locks: a mirror does what its source did."""
        return self._locks.of_others(repo.id, principal.user_id) if self._locks is not None else ()

    def _with_new(self, repo: Repo, asked: "_Asked") -> Objects:
        """What is stored, and the pack that is not part of the repository yet."""
        stored = self._objects.of(repo.id)
        if not asked.is_new:
            return stored
        pack = open_pack(asked.info, *asked.files) if asked.pack else self._packs.open(repo.id, asked.info)
        return Objects(repo.id, GivenPacks([pack, *stored.packs()]))

    def _missing_large(self, repo: Repo, ingested: Ingested | None, progress: Callable[[str], None]) -> str:
        """Why the push cannot be taken, after the list went to the client; empty when every LFS object is here."""
        missing = self._possession.missing(repo.id, ingested.pointers) if ingested else []
        if not missing:
            return ""
        progress(f"{len(missing)} LFS objects are missing in this repository:\n")
        for blob in missing[:_MOST_SHOWN]:
            progress(f"  {blob.sha256} ({blob.size} bytes)\n")
        if len(missing) > _MOST_SHOWN:
            progress(f"  and {len(missing) - _MOST_SHOWN} more\n")
        progress("Upload them with 'git lfs push --all <remote>', then push again.\n")
        return "missing LFS objects"

    def _update(self, repo: Repo, principal: Principal, asked: "_Asked", drops: int) -> list[RefResult]:
        """`drops` as it was before anybody looked at what is stored; when it has changed, there is one more look, at the pack that was
        added meanwhile without a row. Raises Dropped when something went that was counted on, or went again.
        """
        if forbidden := self._forbids(repo):
            return [RefResult(update, forbidden) for update in asked.request.updates]
        try:
            return self._try(repo, principal, asked, drops)
        except Dropped:
            drops = self._look(repo)
            if asked.is_new and not is_closed(self._packs.open(repo.id, asked.info), self._objects.of(repo.id).packs()):
                raise
            return self._try(repo, principal, replace(asked, pack=None), drops)

    def _look(self, repo: Repo) -> int:
        """Look at what is stored; the `drops` that tell later whether something of it went."""
        drops = self._packs.upkeep.drops(repo.id)
        self._objects.of(repo.id).refresh()
        return drops

    def _try(self, repo: Repo, principal: Principal, asked: "_Asked", drops: int) -> list[RefResult]:
        request, objects = asked.request, self._objects.of(repo.id)
        refs, locks = self._versions.refs(repo.id, fresh=False), self._locks_of_others(repo, principal)
        locked = LockedPaths(self._with_new(repo, asked), refs, locks) if locks else None
        judge = _Judge(objects, asked.ingested, refs, self._rules_of(repo), self._limits, locked)
        reasons = {update: judge.refusal(update) for update in request.updates}
        good = [update for update, reason in reasons.items() if not reason and not judge.is_done(update)]
        if request.has(b"atomic") and any(reasons.values()):
            return [RefResult(update, reasons[update] or "atomic push failed") for update in request.updates]
        made: dict[RefUpdate, RefResult] = {}
        if good:

            def store() -> None:
                if asked.is_new and asked.pack is not None:
                    self._packs.add(repo.id, asked.info, asked.pack, asked.pack.with_suffix(".idx"))

            def rows(tx: Tx) -> None:
                self._packs.upkeep.count_on(tx, repo.id, drops)
                if self._locks is not None:
                    check_none_since(tx, repo.id, principal.user_id, locks)
                if asked.is_new:
                    self._packs.record(tx, repo.id, asked.info)

            results = self._versions.append(
                repo,
                good,
                actor=principal,
                peeled=judge.peeled,
                atomic=request.has(b"atomic"),
                store=store,
                rows=rows,
                request=asked.made_for,
            )
            made = {result.update: result for result in results}
            # The refs have moved, whatever happens to S3 or the disk now; the next reader looks again.
            with suppress(Unavailable), self._packs.space.guard():
                objects.refresh()
                self._background_repack.enqueue(repo.id)
        return [made.get(update) or RefResult(update, reasons[update]) for update in request.updates]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Refs to move, and the pack that came with them: None where none came, or where it was added already."""

    request: PushRequest
    ingested: Ingested | None = None
    pack: Path | None = None
    made_for: str = ""

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


class _Judge:
    """Decides on each command before anything is written; gathers what annotated tags lead to."""

    def __init__(
        self,
        objects: Objects,
        ingested: Ingested | None,
        refs: Refs,
        rules: Sequence[BranchRule],
        limits: Limits,
        locked: LockedPaths | None,
    ) -> None:
        self._objects = objects
        self._locked = locked
        self._kinds = ingested.kinds if ingested else {}
        self._tags = ingested.tags if ingested else {}
        self._refs = refs
        self._rules = rules
        self._commits = Arriving(objects, ingested.commits if ingested else {})
        self._limits = limits
        self._seen: set[bytes] = set()
        self.peeled: dict[Oid, Oid] = {}

    def refusal(self, update: RefUpdate) -> str:
        """Why the ref may not move so, in git's words; empty when it may."""
        if update.ref in self._seen:
            return "multiple updates for this ref in one push"
        self._seen.add(update.ref)
        if len(update.ref) > self._limits.ref_name_bytes:
            return f"{NO_NAME}: longer than {self._limits.ref_name_bytes} bytes, choose a shorter one"
        if not check_ref_format(Ref(update.ref)):
            return NO_NAME
        if reason := refusal_of(update):
            return reason
        if update.new == ZERO_OID:
            is_head = update.ref == self._refs.head and self._refs.get(update.ref) is not None
            return IS_DEFAULT if is_head else refusal(self._rules, update, self._commits, self._refs)
        return self._target(update) or self._breach(update) or self._locks(update)

    def is_done(self, update: RefUpdate) -> bool:
        """The deletion of a ref that is not there, by a client who knows: as with C git nothing happens, and well."""
        return update.old == update.new == ZERO_OID and self._refs.get(update.ref) is None

    def _breach(self, update: RefUpdate) -> str:
        """Of a rule; an old value that is not here is refused by the version store."""
        try:
            return refusal(self._rules, update, self._commits, self._refs) if self._rules else ""
        except ObjectNotFound:
            return "missing necessary objects"

    def _locks(self, update: RefUpdate) -> str:
        """Of others, on files that the update changes."""
        target = self.peeled.get(update.new, update.new)
        if self._locked is None or self._kind(target) is not Kind.COMMIT:
            return ""
        try:
            return self._locked.refusal(update, target)
        except ObjectNotFound:
            return "missing necessary objects"

    def _target(self, update: RefUpdate) -> str:
        try:
            leads_to = self._peel(update.new)
        except TooManyTags:
            return f"the tag leads through more than {DEEPEST_TAG} tags: tag what they lead to instead"
        except ObjectNotFound:
            return "missing necessary objects"
        if update.ref.startswith(b"refs/heads/") and self._kind(update.new) is not Kind.COMMIT:
            return "a branch can only point to a commit"
        if leads_to != update.new:
            self.peeled[update.new] = leads_to
        return ""

    def _peel(self, oid: Oid) -> Oid:
        depth = 0
        while (kind := self._kinds.get(oid)) is Kind.TAG:
            oid = self._tags[oid]
            depth += 1
        tags, end, _ = peel(self._objects, oid) if kind is None else ([], oid, kind)
        if depth + len(tags) > DEEPEST_TAG:
            raise TooManyTags(f"A pushed tag leads through more than {DEEPEST_TAG} tags.")
        return end

    def _kind(self, oid: Oid) -> Kind:
        return self._kinds.get(oid) or self._objects.header(oid)[0]


def how_to_change_default(repo: Repo) -> str:
    """For those who may not delete the default branch."""
    route = f"PUT /api/{repo.name.kind.plural}/{repo.name.full}/settings"
    return f'Choose another default branch first: {route} with {{"defaultBranch": "NAME"}}. Then delete this one.'


def check_made(results: Sequence[RefResult]) -> None:
    """For callers that move one ref: raises Conflict when it was refused."""
    for result in results:
        if result.reason:
            raise Conflict(f"{result.update.ref.decode(errors='replace')}: {result.reason}.")

"""The push use case: what a client sent becomes visible whole, or not at all (I4)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitserver.receive.commands import PushRequest
from gitserver.receive.ingest import Ingested
from gitserver.receive.severities import USUAL, LargeBlobs, Strictness
from gitserver.update.ref_updater import RefUpdater, UpdateRequest
from lfs.objects.possession import Possession
from storage.errors import BadPack, TooLarge
from storage.records import BlobRef, Principal, RefUpdate, Repo
from storage.versions.base import RefResult

_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class PushResult:
    """`unpack` is empty when the pack was good, else what is wrong with it."""

    unpack: str
    refs: list[RefResult]


class Pusher:
    """`strictness` is how pushes are judged."""

    def __init__(self, updater: RefUpdater, possession: Possession, strictness: Strictness = USUAL) -> None:
        self._updater = updater
        self._possession = possession
        self._strictness = strictness

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
        drops = self._updater.look(repo)
        try:
            ingested = self._ingest(repo, pack, request.updates, progress) if pack is not None else None
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
        return PushResult("", self._updater.update(repo, principal, UpdateRequest(request, ingested, pack), drops))

    def _ingest(self, repo: Repo, pack: Path, updates: Sequence[RefUpdate], progress: Callable[[str], None]) -> Ingested:
        return self._updater.ingest(repo, pack, updates, self._updater.options(repo, updates, self._strictness), progress)

    def _told(self, ingested: Ingested, progress: Callable[[str], None]) -> str:
        """Show what was found in the pack; why it cannot be taken, or empty."""
        is_refused = self._strictness.large is LargeBlobs.REFUSE and bool(ingested.misplaced)
        for line in ingested.warnings:
            progress(f"warning: {line}\n")
        for line in ingested.misplaced:
            progress(f"{line}\n" if is_refused else f"warning: {line}\n")
        return "files belong in Git LFS" if is_refused else ""

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

"""Refs that the hub itself moves: onto objects that it made, or that are stored already."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace

from gitserver.objects.pack_writer import PackWriter
from gitserver.receive.commands import PushRequest
from gitserver.receive.severities import USUAL, LargeBlobs, Strictness
from gitserver.update.ref_updater import RefUpdater, UpdateRequest
from storage.errors import BadPack, Dropped
from storage.records import Principal, RefUpdate, Repo
from storage.versions.base import RefResult

_ATOMIC = frozenset({b"atomic"})


class RefWriter:
    def __init__(self, updater: RefUpdater, strictness: Strictness = USUAL) -> None:
        self._updater = updater
        self._strictness = strictness

    def store(
        self, repo: Repo, principal: Principal, fill: Callable[[PackWriter], Sequence[RefUpdate]], *, idempotency_key: str = ""
    ) -> list[RefResult]:
        """Objects made by the hub itself: `fill` writes them and tells which refs move onto them. Raises BadPack if they are wrong.

        `fill` may be asked once more: where it counted on objects that were removed meanwhile.
        """
        try:
            return self._store(repo, principal, fill, idempotency_key)
        except Dropped:
            return self._store(repo, principal, fill, idempotency_key)

    def move(self, repo: Repo, principal: Principal, updates: Sequence[RefUpdate]) -> list[RefResult]:
        """Refs onto objects that are here already."""
        return self._updater.update(repo, principal, UpdateRequest(PushRequest(tuple(updates), _ATOMIC)), self._updater.look(repo))

    def _store(
        self, repo: Repo, principal: Principal, fill: Callable[[PackWriter], Sequence[RefUpdate]], idempotency_key: str
    ) -> list[RefResult]:
        drops = self._updater.look(repo)
        folder = self._updater.packs.quarantine()
        try:
            pack = folder / "made.pack"
            writer = PackWriter(pack)
            try:
                updates = fill(writer)
            finally:
                writer.close()
            try:
                lenient = replace(self._strictness, large=LargeBlobs.IGNORE)
                options = self._updater.options(repo, updates, lenient, tuple(writer.bases))
                ingested = self._updater.ingest(repo, pack, updates, options, lambda text: None)
            except BadPack as error:
                self._updater.packs.upkeep.check(repo.id, drops, error)
                raise
            return self._updater.update(
                repo, principal, UpdateRequest(PushRequest(tuple(updates), _ATOMIC), ingested, pack, idempotency_key), drops
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)

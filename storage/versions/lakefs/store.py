"""LakeFS as version store. The refs table is its index: readers ask the table, writers move LakeFS first and then the table (I2 to I6)."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from storage.blobs.base import BlobStore
from storage.blobs.s3 import key_of
from storage.database.base import Database, Tx
from storage.errors import Unavailable
from storage.limits import Limits
from storage.records import Oid, Principal, RefUpdate, Repo
from storage.versions.base import Ref, RefResult, Refs, StoredRepository
from storage.versions.git_side import Contents
from storage.versions.lakefs import operations
from storage.versions.lakefs.client import Denied, LakeFS
from storage.versions.lakefs.executor import DEFAULT_BRANCH, Executor
from storage.versions.lakefs.lease import Leases
from storage.versions.lakefs.operations import Busy, Operation, RefsRequest
from storage.versions.lakefs.reconcile import Reconciler
from storage.versions.lakefs.recovery import Recovery
from storage.versions.lakefs.repositories import LakeRepositories
from storage.versions.lakefs.sync import LakeSync
from storage.versions.lakefs.tags import Tags
from storage.versions.lakefs.writer import Writer
from storage.versions.table import Refused, TableVersionStore, is_newest, put_refs

log = logging.getLogger(__name__)
_VERSIONS = ("1.84.", "1.85.", "1.86.")
_NEWS_SECONDS = 0.0
_FILES_SECONDS = 1.0  # files are read often
_OWN = "lakefs"  # the prefix of what is LakeFS's
_FIRST_WAIT, _LAST_WAIT = 0.01, 0.25


@dataclass(frozen=True, slots=True)
class Parts:
    """What the store is made of. `place` is the bucket as LakeFS writes it, `s3://name`, with the pool and LakeFS's own data in it; `drop`
    removes all keys there that begin so.
    """

    database: Database
    table: TableVersionStore
    lakefs: LakeFS
    contents: Contents
    blobs: BlobStore
    find_repo: Callable[[str], Repo | None]
    place: str
    drop: Callable[[str], None]
    limits: Limits


def open_store(parts: Parts) -> "LakeFSVersionStore":
    database, lakefs, contents = parts.database, parts.lakefs, parts.contents

    def address(sha256: str) -> str:
        return f"{parts.place}/{key_of(sha256)}"

    leases = Leases(database)
    reconciler = Reconciler(database, lakefs, contents, leases, address)
    writer = Writer(lakefs, contents, parts.blobs, address, DEFAULT_BRANCH)
    executor = Executor(database, lakefs, contents, writer, reconciler, leases)
    tags = Tags(database, lakefs, contents, reconciler)
    sync = LakeSync(database, lakefs, reconciler, executor, tags, parts.find_repo, parts.limits)
    repositories = LakeRepositories(database, lakefs, f"{parts.place}/{_OWN}", lambda name: parts.drop(f"{_OWN}/{name}/"))
    recovery = Recovery(database, lakefs, executor, repositories, parts.find_repo)

    def close() -> None:
        sync.close()
        writer.close()
        leases.close()
        lakefs.close()

    return LakeFSVersionStore(parts, executor, sync, repositories, tags, recovery, close)


class LakeFSVersionStore:
    def __init__(
        self,
        parts: Parts,
        executor: Executor,
        sync: LakeSync,
        repositories: LakeRepositories,
        tags: Tags,
        recovery: Recovery,
        close: Callable[[], None],
    ) -> None:
        self._database = parts.database
        self._table = parts.table
        self._lakefs = parts.lakefs
        self._limits = parts.limits
        self._executor = executor
        self._sync = sync
        self._repositories = repositories
        self._tags = tags
        self._recovery = recovery
        self._close = close

    def refs(self, repo_id: str, *, fresh: bool = True) -> Refs:
        if fresh:
            self._sync.look(repo_id, _NEWS_SECONDS)
        return self._table.refs(repo_id)

    def find(self, repo_id: str, names: Sequence[bytes]) -> Ref | None:
        self._sync.look(repo_id, _FILES_SECONDS)
        return self._table.find(repo_id, names)

    def moved(self, repo_id: str, seconds: int) -> Sequence[Ref]:
        return self._table.moved(repo_id, seconds)

    def made_for(self, repo_id: str, ref: bytes, idempotency_key: str, seconds: int) -> Oid | None:
        return self._table.made_for(repo_id, ref, idempotency_key, seconds)

    def roots(self, repo_id: str) -> set[Oid]:
        """Also what LakeFS's commits are in git: its history only grows, and what was pushed away can be asked for there for ever."""
        return self._table.roots(repo_id) | self._database.read(lambda tx: operations.named(tx, repo_id))

    def sync_metadata(self, repo_id: str) -> None:
        try:
            self._repositories.sync_metadata(repo_id)
        except Denied as error:
            raise Unavailable(f"LakeFS refused to settle a repository: {error}. The operator looks into LakeFS.") from error

    def kept(self) -> Iterator[StoredRepository]:
        return self._repositories.kept()

    def restore(self, repo: Repo, kept: StoredRepository, rows: Callable[[Tx], None]) -> None:
        """Other refs as LakeFS was told of them, with the rows, lest it be told that there are none; then its branches."""

        def work(tx: Tx) -> None:
            rows(tx)
            put_refs(tx, repo.id, kept.refs, kept.head)
            self._repositories.adopt(tx, repo.id)

        self._database.write(work)
        try:
            self._sync.bring_up(repo)
            self._sync.recall(repo)
        except Denied as error:
            raise Unavailable(f"LakeFS refused what a rebuild needs: {error}. The operator looks into LakeFS.") from error
        self._database.write(lambda tx: put_refs(tx, repo.id, (), kept.head))  # HEAD went to the first branch that came

    def prepare(self) -> None:
        self._lakefs.set_up()
        version = self._lakefs.version()
        if not version.startswith(_VERSIONS):
            log.warning("LakeFS is version %s; the hub is made for %s", version or "unknown", ", ".join(_VERSIONS))

    def recover(self) -> None:
        """End what was cut short, and remove what it left behind. Raises Unavailable."""
        self._recovery.run()

    def append(
        self,
        repo: Repo,
        updates: Sequence[RefUpdate],
        *,
        actor: Principal,
        peeled: dict[Oid, Oid],
        atomic: bool,
        rows: Callable[[Tx], None],
        store: Callable[[], None] = lambda: None,
        idempotency_key: str = "",
    ) -> list[RefResult]:
        """As in the port. LakeFS is asked where the branches stand while `store` is at work. `rows` are written before LakeFS changes
        anything, so that an operation that was cut short can be ended by anybody.
        """
        heads = [update.ref for update in updates if update.ref.startswith(b"refs/heads/")]
        try:
            with ThreadPoolExecutor(1, "store") as beside:
                stored = beside.submit(store)
                try:
                    self._check(repo, heads)
                finally:
                    stored.result()
            operation, results = self._begin(repo, updates, RefsRequest(actor.user_id, idempotency_key, atomic, peeled), rows)
        except Refused as refused:
            return self._arrived(repo, refused.results, atomic=atomic)
        except Denied as error:
            raise Unavailable(f"LakeFS refused what an update needs: {error}. The operator looks into LakeFS.") from error
        outcome = self._executor.carry_out(repo, operation)
        results = self._arrived(repo, results, atomic=False)
        made = {one.step.update: one.oid for one in outcome.done}
        reasons = {step.update: reason for step, reason in outcome.reasons.items()}
        self._sync.afterwards(lambda: self._tidy(repo, operation))
        return [r if r.reason else RefResult(r.update, reasons.get(r.update, ""), _merged(r.update, made.get(r.update))) for r in results]

    def ping(self) -> None:
        self._lakefs.health()

    def close(self) -> None:
        self._close()

    def _check(self, repo: Repo, heads: Sequence[bytes]) -> None:
        self._repositories.ensure(repo)
        if heads:
            self._sync.check(repo, heads)

    def _begin(
        self, repo: Repo, updates: Sequence[RefUpdate], asked: RefsRequest, rows: Callable[[Tx], None]
    ) -> tuple[Operation, list[RefResult]]:
        until = time.monotonic() + self._limits.ref_wait_seconds
        pause = _FIRST_WAIT
        while True:
            try:
                return self._database.write(lambda tx: operations.begin(tx, repo, updates, asked, rows))
            except Busy as busy:
                if busy.is_over:
                    self._executor.recover(repo, busy.operation)
                elif time.monotonic() > until:
                    raise Unavailable("Others are updating this ref, and it takes long. Try again in a moment.") from busy
                else:
                    time.sleep(pause)
                    pause = min(pause * 1.5, _LAST_WAIT)

    def _arrived(self, repo: Repo, results: list[RefResult], *, atomic: bool) -> list[RefResult]:
        """What was refused only because it was made before: a client tries again whose first try was cut short after it stood."""
        arrived = [RefResult(r.update) if r.reason and self._database.read(partial(is_newest, repo.id, r.update)) else r for r in results]
        return results if atomic and any(r.reason for r in arrived) else arrived

    def _tidy(self, repo: Repo, operation: Operation) -> None:
        """What nobody waits for."""
        self._executor.drop_scratch(repo, operation)
        self._tags.project(repo)
        self._repositories.sync_metadata(repo.id)


def _merged(update: RefUpdate, oid: Oid | None) -> Oid | None:
    return oid if oid != update.new else None

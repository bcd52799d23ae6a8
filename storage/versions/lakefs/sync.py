"""What was done directly in LakeFS is looked for when somebody reads. Nobody waits long for it.

A reader gets what the rows say as soon as the look is over or its time is up; a long one (large files are read) goes on in the background.
While LakeFS is down nobody looks.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from storage.database.base import Database, Row, Tx
from storage.errors import Unavailable
from storage.limits import Limits
from storage.lru import FACT_BYTES, Recent, fact
from storage.records import Repo
from storage.versions.lakefs import operations
from storage.versions.lakefs.client import Denied, LakeFS
from storage.versions.lakefs.executor import DEFAULT_BRANCH, Executor
from storage.versions.lakefs.names import SCRATCH, branch_id, repository_id
from storage.versions.lakefs.operations import Busy
from storage.versions.lakefs.reconcile import Reconciler
from storage.versions.lakefs.tags import Tags

log = logging.getLogger(__name__)
_PAUSE_SECONDS = 5.0
_MISSING_SECONDS = 60
_THREADS = 8
_KEPT = 10_000
_ASKED_ONE_BY_ONE = 4


@dataclass(frozen=True, slots=True)
class _Look:
    started: float
    future: "Future[None]"


class LakeSync:
    def __init__(
        self,
        database: Database,
        lakefs: LakeFS,
        reconciler: Reconciler,
        executor: Executor,
        tags: Tags,
        find_repo: Callable[[str], Repo | None],
        limits: Limits,
    ) -> None:
        self._database = database
        self._lakefs = lakefs
        self._reconciler = reconciler
        self._executor = executor
        self._tags = tags
        self._find_repo = find_repo
        self._limits = limits
        self._looked: Recent[str, float] = Recent(_KEPT * FACT_BYTES, fact)
        self._running: dict[str, _Look] = {}
        self._paused_until = 0.0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, "lakefs-look")

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def look(self, repo_id: str, seconds: float) -> None:
        """Bring the refs up to LakeFS, as far as that is quick, unless somebody did within `seconds`. Raises nothing for LakeFS."""
        now = time.monotonic()
        until = now + self._limits.lakefs_look_seconds
        while (look := self._look_since(repo_id, now - seconds)) is not None:
            try:
                look.future.result(max(min(until, look.started + self._limits.lakefs_look_seconds) - time.monotonic(), 0))
            except TimeoutError:
                log.info("LakeFS: commits of repository %s are still being taken in", repo_id)
                return

    def check(self, repo: Repo, refs: Sequence[bytes]) -> None:
        """Before branches are written: see that LakeFS has them where the rows say, and bring up those that it has not.

        Raises Unavailable.
        """
        if len(refs) > _ASKED_ONE_BY_ONE:
            return self.bring_up(repo)
        known = operations.known_refs(self._database, repo.id, is_tag=False)
        ids = {bytes(row["ref"]): branch for branch, row in known.items()}
        for ref in refs:
            branch = ids.get(ref) or branch_id(ref)
            head = self._lakefs.branch(repository_id(repo.id), branch)
            if head is not None and (branch not in known or known[branch]["commit_id"] != head):
                self._follow(repo, branch, ref)

    def bring_up(self, repo: Repo) -> None:
        """All branches and tags of a repository, and what was cut short. Raises Unavailable, Denied."""

        def rows(tx: Tx) -> tuple[bool, list[tuple[str, str]], dict[str, Row]]:
            return operations.is_described(tx, repo.id), operations.overdue(tx, repo.id), operations.known_refs(tx, repo.id, is_tag=False)

        is_there, overdue, known = self._database.read(rows)
        if not is_there:
            return
        for operation, _ in overdue:
            self._executor.recover(repo, operation)
        name = repository_id(repo.id)
        heads = {head.id: head.commit for head in self._lakefs.branches(name) if not head.id.startswith(SCRATCH)}
        broken: list[Unavailable] = []
        for branch, commit in heads.items():
            row = known.get(branch)
            if row is None or row["commit_id"] != commit:
                try:
                    self._follow(repo, branch, bytes(row["ref"]) if row else self._reconciler.ref_for(repo, branch, commit))
                except Unavailable as error:
                    self._lakefs.health()
                    broken.append(error)  # the other branches do not wait for this one
            elif row["missing_since"] is not None:
                self._database.write(lambda tx, branch=branch: operations.miss_branch(tx, repo.id, branch, None))  # type: ignore[misc]
        for branch in known.keys() - heads.keys() - {DEFAULT_BRANCH}:
            self._miss(repo, branch, known[branch])
        self._tags.take_in(repo, self._lakefs.tags(name))
        if broken:
            raise broken[0]

    def recall(self, repo: Repo) -> None:
        """After a rebuild: what the histories of all branches name in git. Raises Unavailable, Denied."""
        name = repository_id(repo.id)
        for head in self._lakefs.branches(name):
            self._reconciler.recall(repo, head.commit)

    def afterwards(self, work: Callable[[], None]) -> None:
        """What nobody waits for; a failure is logged, and the next one makes up for it."""
        self._threads.submit(self._logged, work)

    def _look_since(self, repo_id: str, moment: float) -> _Look | None:
        """The look to wait for, one that runs or a new one; None when one began since `moment`, or while LakeFS is left alone.

        Readers who come together wait for the one that runs, then share the next: of one repository there is one at a time.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._paused_until or (self._looked.get(repo_id) or -1.0) >= moment:
                return None
            look = self._running.get(repo_id)
            if look is None:
                look = self._running[repo_id] = _Look(now, self._threads.submit(self._work, repo_id))
            return look

    def _work(self, repo_id: str) -> None:
        try:
            repo = self._find_repo(repo_id)
            if repo is not None:
                self.bring_up(repo)
        except Unavailable as error:
            log.warning("%s Reads go on with what is known.", error.message)
            self._pause()
        except Exception:
            log.exception("LakeFS's commits in repository %s were not taken in", repo_id)
        finally:
            with self._lock:
                self._looked.keep(repo_id, self._running.pop(repo_id).started)

    def _pause(self) -> None:
        """Leave LakeFS alone for a while if it is down; it may also be one repository that is out of order."""
        try:
            self._lakefs.health()
        except (Unavailable, Denied):
            with self._lock:
                self._paused_until = time.monotonic() + _PAUSE_SECONDS

    def _follow(self, repo: Repo, branch: str, ref: bytes) -> None:
        try:
            self._reconciler.bring_up(repo, branch, ref)
        except Busy as busy:
            self._executor.recover(repo, busy.operation)

    def _miss(self, repo: Repo, branch: str, row: Row) -> None:
        """A branch that LakeFS has not: believed the second time, a minute later."""
        now = time.time_ns() // 1000
        since = row["missing_since"]
        if since is None:
            self._database.write(lambda tx: operations.miss_branch(tx, repo.id, branch, now))
        elif now - since > _MISSING_SECONDS * 1_000_000:
            try:
                self._reconciler.lose(repo, branch, bytes(row["ref"]))
            except Busy as busy:
                self._executor.recover(repo, busy.operation)

    def _logged(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (Unavailable, Denied) as error:
            log.warning("LakeFS: tidying up is left to the next update: %s", error)
        except Exception:
            log.exception("tidying up in LakeFS failed")

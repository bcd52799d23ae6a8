"""One step of an operation in LakeFS: a private branch at the head, what changed linked into it, a commit, and a merge (I2, I6).

The calls are 6 + p for p changed paths. Each is safe to repeat under another operation; none stages on a branch that people see.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from dataclasses import dataclass, replace

from storage.blobs.base import BlobStore
from storage.errors import TooLarge, Unavailable
from storage.lru import FACT_BYTES, Recent, fact
from storage.records import ZERO_OID, BlobRef, Oid, RefUpdate, Repo
from storage.versions.git_side import Changes, Contents, StagedFile
from storage.versions.lakefs.client import Denied, LakeFS
from storage.versions.lakefs.names import SCRATCH, repository_id
from storage.versions.lakefs.operations import Operation, Step
from storage.versions.lakefs.records import BASE, OID, OPERATION, TREE, LakeCommit, Link

log = logging.getLogger(__name__)
_IN_FLIGHT = 16  # more made it slower on two cores
_DELETES = 1000
_LARGE = 2 << 20  # of these one at a time is in memory
_MESSAGE_BYTES = 8192
_KEPT = 50_000
_UNLOCK_TRIES, _UNLOCK_SECONDS = 40, 0.5
_MERGE_TRIES = 3


class Overtaken(Exception):
    """Somebody changed the same paths in LakeFS, or too many paths change. `reason` is for the client."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Start:
    """Where a step begins: a LakeFS commit, and what it is in git (None: empty)."""

    commit: str
    oid: Oid | None


class Writer:
    """`address` gives the pool's address of an object as LakeFS writes it."""

    def __init__(self, lakefs: LakeFS, contents: Contents, blobs: BlobStore, address: Callable[[str], str], protected: str) -> None:
        self._lakefs = lakefs
        self._contents = contents
        self._blobs = blobs
        self._address = address
        self._protected = protected
        self._pooled: Recent[str, bool] = Recent(_KEPT * FACT_BYTES, fact)
        self._threads = ThreadPoolExecutor(_IN_FLIGHT, "lakefs")
        self._branching = ThreadPoolExecutor(_IN_FLIGHT, "lakefs-branch")
        self._large = threading.Lock()

    def close(self) -> None:
        for threads in (self._branching, self._threads):
            threads.shutdown(wait=True, cancel_futures=True)

    def update(self, repo: Repo, operation: Operation, step: Step, start: Start) -> LakeCommit:
        """Bring the step's branch, which stands at `start`, to its new commit. Raises Overtaken, Denied, Unavailable."""
        name = repository_id(repo.id)
        scratch = scratch_branch(operation, step)
        message, metadata = self._told(repo, operation, step, start)
        metadata["hub.unprojected"] = str(self._stage(repo, scratch, start, step.update.new))
        self._lakefs.commit(name, scratch, message, {"hub.tx": operation.id})
        made = self._merge(name, scratch, step.branch, message, metadata)
        return self._lakefs.get_commit(name, made)

    def create(self, repo: Repo, operation: Operation, step: Step, start: Start) -> LakeCommit:
        """A new branch; at `start` itself where that shows the same commit, else with one commit more."""
        name = repository_id(repo.id)
        if start.oid == step.update.new:
            self._appear(name, step.branch, start.commit)
            return self._lakefs.get_commit(name, start.commit)
        scratch = scratch_branch(operation, step)
        message, metadata = self._told(repo, operation, step, start)
        metadata["hub.unprojected"] = str(self._stage(repo, scratch, start, step.update.new))
        made = self._lakefs.commit(name, scratch, message, metadata)
        self._appear(name, step.branch, made)
        return LakeCommit(made, (start.commit,), message, "", 0, metadata)

    def undo(self, repo: Repo, operation: Operation, step: Step, made: Start, before: Start) -> str:
        """Put what was there `before` the step on top of what it made: LakeFS's history only grows. What others changed meanwhile stays.

        The id of the commit. It may be begun again. Raises Denied, Unavailable.
        """
        name = repository_id(repo.id)
        scratch = undo_branch(operation, step)
        back = replace(step, update=RefUpdate(step.update.ref, step.update.new, before.oid or ZERO_OID))
        message, metadata = self._told(repo, operation, back, made)
        metadata[OPERATION] = undoing(operation)
        self._lakefs.delete_branch(name, scratch)
        self._stage(repo, scratch, made, before.oid)
        self._lakefs.commit(name, scratch, message, {"hub.tx": operation.id})
        try:
            undone = self._merge(name, scratch, step.branch, message, metadata, "dest-wins")
        except Overtaken as error:
            raise Unavailable(f"An update that was refused cannot be taken back yet: {error.reason}.") from error
        self._lakefs.delete_branch(name, scratch)
        return undone

    def drop_scratch(self, repo: Repo, operation: Operation, *, with_undo: bool = False) -> None:
        """Nothing can be merged from it any more; `with_undo`: nor from what was to take the operation back. Raises Unavailable."""
        for step in operation.on_branches:
            self._lakefs.delete_branch(repository_id(repo.id), scratch_branch(operation, step))
            if with_undo:
                self._lakefs.delete_branch(repository_id(repo.id), undo_branch(operation, step))

    def _told(self, repo: Repo, operation: Operation, step: Step, start: Start) -> tuple[str, dict[str, str]]:
        commit = self._contents.commit(repo, step.update.new)
        message = commit.message if commit is not None else ""
        metadata = {
            "hub.v": "1",
            OPERATION: operation.id,
            BASE: start.commit,
            "hub.ref": step.update.ref.decode("utf-8", "backslashreplace"),
            "hub.user": str(operation.user_id),
            OID: step.update.new.hex(),
            TREE: commit.tree.hex() if commit is not None else "",
            "git.prev": step.update.old.hex(),
        }
        return message.encode()[:_MESSAGE_BYTES].decode("utf-8", "ignore") or "(no message)", metadata

    def _stage(self, repo: Repo, scratch: str, start: Start, new: Oid | None) -> int:
        """A private branch at `start` with what makes it show `new`; how much of that LakeFS cannot hold. Bytes go into the pool while
        LakeFS makes the branch. When this raises, nothing of it goes on.
        """
        name = repository_id(repo.id)
        branch = self._branching.submit(lambda: self._lakefs.create_branch(name, scratch, start.commit, hidden=True))
        try:
            changes = self._changes(repo, start, new)
            for first in range(0, len(changes.removed), _DELETES):
                branch.result()
                self._lakefs.remove(name, scratch, changes.removed[first : first + _DELETES])
            self._all(lambda placed: self._place(name, scratch, placed, branch), changes.placed)
            branch.result()
        finally:
            wait([branch])
        return changes.unprojected

    def _changes(self, repo: Repo, start: Start, new: Oid | None) -> Changes:
        try:
            return self._contents.changes(repo, start.oid, new)
        except TooLarge as error:
            raise Overtaken(error.message) from error

    def _place(self, name: str, scratch: str, placed: StagedFile, branch: "Future[None]") -> None:
        if placed.read is not None:
            self._pool(placed.blob, placed.read)
        branch.result()
        metadata = {
            "git-mode": f"{placed.mode:o}",
            "git-oid": placed.oid.hex(),
            "git-kind": "blob" if placed.read is not None else "lfs",
        }
        blob = placed.blob
        self._lakefs.link(name, scratch, Link(placed.path, self._address(blob.sha256), blob.sha256, blob.size, metadata))

    def _pool(self, blob: BlobRef, read: Callable[[], bytes]) -> None:
        """Bytes before the name that leads to them (I4)."""
        if not self._pooled.get(blob.sha256):
            with self._large if blob.size > _LARGE else nullcontext():
                self._blobs.keep(read())
            self._pooled.keep(blob.sha256, True)

    def _all(self, work: Callable[[StagedFile], None], things: Iterable[StagedFile]) -> None:
        """Some at a time; the first failure stops the rest."""
        running: set[Future[None]] = set()
        try:
            for thing in things:
                if len(running) >= _IN_FLIGHT:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        future.result()
                running.add(self._threads.submit(work, thing))
            for future in running:
                future.result()
        finally:
            wait(running)

    def _appear(self, name: str, branch: str, commit: str) -> None:
        try:
            self._lakefs.create_branch(name, branch, commit)
        except Denied as error:
            if error.status != 409:
                raise
            raise Overtaken(f"LakeFS has a branch or a tag {branch} already; fetch first, or take another name") from error

    def _merge(self, name: str, scratch: str, branch: str, message: str, metadata: dict[str, str], strategy: str = "") -> str:
        for _ in range(_MERGE_TRIES):
            try:
                return self._lakefs.merge(name, scratch, branch, message, metadata, strategy)
            except Denied as error:
                if error.status == 409:
                    raise Overtaken("fetch first: the same files were changed in LakeFS") from error
                if error.status != 400 or "dirty" not in error.message:
                    raise
                if branch != self._protected:
                    raise Overtaken(f"LakeFS branch {branch} has uncommitted changes; commit or reset them there first") from error
                self._clean(name, branch)
        raise Overtaken(f"LakeFS branch {branch} gets uncommitted changes again and again; reset it there first")

    def _clean(self, name: str, branch: str) -> None:
        """What somebody staged on the protected branch before the rule was in force can be neither committed nor reset: the rule is
        lifted until LakeFS has noticed, the branch reset, and the rule set again.
        """
        log.warning(
            "LakeFS: %s of %s had uncommitted changes that its protection keeps from being committed; they are dropped", branch, name
        )
        self._lakefs.protect(name, None)
        try:
            for _ in range(_UNLOCK_TRIES):
                try:
                    return self._lakefs.reset_branch(name, branch)
                except Denied as error:
                    if error.status != 403:
                        raise
                time.sleep(_UNLOCK_SECONDS)
        finally:
            self._lakefs.protect(name, branch)


def scratch_branch(operation: Operation, step: Step) -> str:
    return f"{SCRATCH}{operation.id}-{step.place}"


def undo_branch(operation: Operation, step: Step) -> str:
    return scratch_branch(operation, step) + "-undo"


def undoing(operation: Operation) -> str:
    """What the commits that take an operation back are known by."""
    return f"{operation.id}-undo"


def scratch_owner(branch: str) -> str:
    """The operation that a scratch branch belongs to."""
    return branch.removeprefix(SCRATCH).partition("-")[0]

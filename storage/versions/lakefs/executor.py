"""Operations carried out in LakeFS, and those that were cut short brought to an end: what LakeFS has is written down, the rest is undone.

Ending one is the same whether it was our own call that failed or another process that died: its private branches go first, so that
nothing can be merged from them any more; then each branch is asked how far the operation came.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from storage.database.base import Database, Tx
from storage.errors import Unavailable
from storage.records import ZERO_OID, Repo
from storage.versions.git_side import Contents
from storage.versions.lakefs import operations
from storage.versions.lakefs.client import Denied, LakeFS
from storage.versions.lakefs.lease import Leases
from storage.versions.lakefs.names import branch_id, repository_id
from storage.versions.lakefs.operations import Done, Operation, OperationLost, Step
from storage.versions.lakefs.reconcile import Reconciler
from storage.versions.lakefs.records import OPERATION
from storage.versions.lakefs.writer import Overtaken, Start, Writer, undoing

log = logging.getLogger(__name__)
_LOOKED_AT = 1000  # commits after the one that is looked for
DEFAULT_BRANCH = branch_id(b"refs/heads/main")


@dataclass(slots=True)
class Outcome:
    """What LakeFS has of an operation, and why the rest was refused."""

    done: list[Done] = field(default_factory=list)
    undone: list[Done] = field(default_factory=list)  # where the branches stand now
    reasons: dict[Step, str] = field(default_factory=dict)


class Executor:
    def __init__(
        self, database: Database, lakefs: LakeFS, contents: Contents, writer: Writer, reconciler: Reconciler, leases: Leases
    ) -> None:
        self._database = database
        self._lakefs = lakefs
        self._contents = contents
        self._writer = writer
        self._reconciler = reconciler
        self._leases = leases

    def carry_out(self, repo: Repo, operation: Operation) -> Outcome:
        """All steps, then the rows. Raises Unavailable when LakeFS fails; whatever it had done by then stands or is undone."""
        with self._leases.hold(operation):
            try:
                outcome = self._run(repo, operation)
            except (Denied, Unavailable) as error:
                outcome = self._end(repo, operation, error)
                self._finish(repo, operation, outcome.done + outcome.undone)
                if len(outcome.done) < len(operation.steps):
                    raise _told(error) from error
                return outcome
            except BaseException:
                self._let_go(operation)
                raise
            self._finish(repo, operation, outcome.done + outcome.undone)
        return outcome

    def drop_scratch(self, repo: Repo, operation: Operation) -> None:
        """The private branches of an operation that is over."""
        self._writer.drop_scratch(repo, operation)

    def recover(self, repo: Repo, operation_id: str) -> None:
        """End an operation whose owner is gone; nothing where somebody is faster. Raises Unavailable."""
        operation = self._database.write(lambda tx: operations.take_over(tx, operation_id))
        if operation is None:
            return
        log.warning("LakeFS: an update of %s was cut short and is ended now", repo.name.full)
        with self._leases.hold(operation):
            outcome = self._end(repo, operation, None)
            self._finish(repo, operation, outcome.done + outcome.undone)

    def _run(self, repo: Repo, operation: Operation) -> Outcome:
        outcome = Outcome()
        for step in operation.on_branches:
            try:
                outcome.done.append(self._step(repo, operation, step))
            except Overtaken as error:
                outcome.reasons[step] = error.reason
                if operation.is_atomic:
                    undone = self._undo(repo, operation, outcome.done)
                    others = dict.fromkeys(operation.steps, "atomic push failed: another ref was refused")
                    return Outcome([], undone, others | outcome.reasons)
        outcome.done += [Done(step, "", step.update.new) for step in operation.steps if not step.branch]
        return outcome

    def _step(self, repo: Repo, operation: Operation, step: Step) -> Done:
        if step.is_deletion:
            return self._delete(repo, step)
        if not step.base:
            made = self._writer.create(repo, operation, step, self._source(repo, step))
            return Done(step, made.id, step.update.new)
        start = self._start(repo, step.base)
        made = self._writer.update(repo, operation, step, start)
        is_as_meant = made.parents[:1] == (start.commit,)
        return Done(step, made.id, step.update.new if is_as_meant else self._reconciler.git_of(repo, made.id))

    def _delete(self, repo: Repo, step: Step) -> Done:
        """LakeFS keeps its default branch: it counts as absent until its head moves."""
        if step.branch == DEFAULT_BRANCH:
            return Done(step, step.base, ZERO_OID)
        name = repository_id(repo.id)
        if self._lakefs.branch(name, step.branch) not in (step.base, None):  # as late as can be: LakeFS deletes whatever is there
            raise Overtaken("fetch first: the branch was changed in LakeFS")
        self._lakefs.delete_branch(name, step.branch)
        return Done(step, "", ZERO_OID)

    def _start(self, repo: Repo, commit: str) -> Start:
        oid = self._reconciler.git_of(repo, commit)
        return Start(commit, oid if oid != ZERO_OID else None)

    def _source(self, repo: Repo, step: Step) -> Start:
        """Where a new branch comes from: the nearest ancestor that LakeFS has, else its default branch."""

        def work(tx: Tx) -> Start | None:
            for oid in ancestors:
                if commit := operations.commit_of(tx, repo.id, oid):
                    return Start(commit, oid)
            return None

        ancestors = list(self._contents.ancestors(repo, step.update.new))
        found = self._database.read(work)
        if found is None:
            head = self._lakefs.branch(repository_id(repo.id), DEFAULT_BRANCH)
            if head is None:
                raise Unavailable(
                    f"LakeFS's repository of {repo.name.full} has no branch {DEFAULT_BRANCH}. The operator looks into LakeFS."
                )
            found = self._start(repo, head)
        return found

    def _undo(self, repo: Repo, operation: Operation, done: Iterable[Done]) -> list[Done]:
        """What was there before each step comes back. Git never saw what is undone."""
        undone = []
        for one in done:
            step = one.step
            if step.is_deletion or not step.base:
                self._undo_existence(repo, step, one.commit)
                continue
            self._database.write(lambda tx, one=one: operations.note_commit(tx, repo.id, one.commit, one.oid))  # type: ignore[misc]
            before = self._start(repo, self._lakefs.get_commit(repository_id(repo.id), one.commit).parents[0])
            commit = self._writer.undo(repo, operation, step, Start(one.commit, one.oid), before)
            oid = self._reconciler.git_of(repo, commit)
            undone.append(Done(step, commit, oid if before.commit != step.base else step.update.old))
        return undone

    def _undo_existence(self, repo: Repo, step: Step, commit: str) -> None:
        """A branch that somebody has worked on meanwhile stays as it is."""
        name = repository_id(repo.id)
        head = self._lakefs.branch(name, step.branch)
        if not step.is_deletion and head == commit:
            self._lakefs.delete_branch(name, step.branch)
        elif step.is_deletion and head is None:
            self._lakefs.create_branch(name, step.branch, step.base)

    def _end(self, repo: Repo, operation: Operation, error: Exception | None) -> Outcome:
        """How far it came, once nothing of it can go on. Lets go of it and raises Unavailable when LakeFS cannot be asked."""
        try:
            self._writer.drop_scratch(repo, operation, with_undo=operation.is_atomic)
            done = [one for step in operation.on_branches if (one := self._found(repo, operation, step)) is not None]
            is_whole = len(done) == len(operation.on_branches)
            if operation.is_atomic and not is_whole:
                return Outcome([], self._undo(repo, operation, done))
        except (Denied, Unavailable) as failure:
            self._let_go(operation)
            raise _told(error or failure) from failure
        if is_whole and operation.on_branches:
            done += [Done(step, "", step.update.new) for step in operation.steps if not step.branch]
        return Outcome(done)

    def _found(self, repo: Repo, operation: Operation, step: Step) -> Done | None:
        """The step as LakeFS has it; None when it was not done."""
        name = repository_id(repo.id)
        if step.update.old == step.update.new:  # the branch was only being brought up
            return None
        head = self._lakefs.branch(name, step.branch)
        if step.is_deletion:
            return Done(step, "", ZERO_OID) if head is None and step.branch != DEFAULT_BRANCH else None
        if head is None or head == step.base:
            return None
        for commit in self._lakefs.log(name, head, _LOOKED_AT):
            if commit.metadata.get(OPERATION) == undoing(operation):
                return None
            if commit.metadata.get(OPERATION) == operation.id:
                return Done(step, commit.id, self._reconciler.git_of(repo, commit.id))
            if commit.id == step.base:
                return None
        if not step.base and self._reconciler.git_of(repo, head) == step.update.new:  # made at a commit that was there
            return Done(step, head, step.update.new)
        return None

    def _finish(self, repo: Repo, operation: Operation, done: list[Done]) -> None:
        """Raises Unavailable where another process ended the operation otherwise than we did."""
        try:
            self._database.write(lambda tx: operations.finish(tx, repo, operation, done))
        except OperationLost as error:
            sql = "SELECT oid FROM refs WHERE repo_id = :repo AND name = :ref"
            for one in done:
                row = self._database.one(sql, {"repo": repo.id, "ref": one.step.update.ref})
                if (bytes(row["oid"]) if row else ZERO_OID) != one.oid:
                    raise Unavailable(
                        "The update took so long that another process ended it. Look at the branch, then try again."
                    ) from error

    def _let_go(self, operation: Operation) -> None:
        try:
            self._database.write(lambda tx: operations.let_go(tx, operation))
        except Unavailable:
            log.warning("operation %s could not be let go; its lease ends by itself", operation.id)


def _told(error: Exception) -> Unavailable:
    if isinstance(error, Unavailable):
        return error
    return Unavailable(f"LakeFS refused a step of this update: {error}. Fetch to see what stands; the operator looks into LakeFS.")

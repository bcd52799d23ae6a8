"""From LakeFS to git: what a LakeFS commit is (I3), and branches brought up to where they stand there.

git(L) is a pure function. A commit that the hub made on the commit that it meant is the pushed commit itself; one that was merged with
somebody else's change is a merge commit of both; any other one is synthesized from its parents, message, committer, time and files.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from storage.database.base import Database, Tx
from storage.errors import Unavailable
from storage.lru import FACT_BYTES, Recent, fact
from storage.packs.generations import Upkeep
from storage.records import ZERO_OID, Oid, Repo
from storage.versions.git_side import Contents, Foreign
from storage.versions.lakefs import operations
from storage.versions.lakefs.client import Denied, LakeFS
from storage.versions.lakefs.lease import Leases
from storage.versions.lakefs.names import branch_ref, repository_id
from storage.versions.lakefs.operations import Done, Operation
from storage.versions.lakefs.records import BASE, COVERED_SINCE, OID, OPERATION, TREE, LakeCommit, LakeObject
from storage.versions.ref_names import Names

log = logging.getLogger(__name__)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_COMMITS = 100_000  # between a head and what is known
_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class _Reader:
    lakefs: LakeFS
    address: Callable[[str], str]
    repository: str
    commit: str

    def stat(self, path: str) -> LakeObject:
        with self._asking(path):
            return self.lakefs.stat(self.repository, self.commit, path)

    def read(self, path: str, start: int, end: int) -> bytes:
        with self._asking(path):
            return self.lakefs.read(self.repository, self.commit, path, start, end)

    def is_pooled(self, found: LakeObject) -> bool:
        return _SHA256.fullmatch(found.checksum) is not None and found.address == self.address(found.checksum)

    @contextmanager
    def _asking(self, path: str) -> Iterator[None]:
        try:
            yield
        except Denied as error:
            raise Unavailable(
                f"LakeFS cannot read {path[:200]!r} of its commit {self.commit} ({error}), so the branch stays where it is. Somebody with"
                " rights in LakeFS reverts the commit or restores the object."
            ) from error


class Reconciler:
    def __init__(self, database: Database, lakefs: LakeFS, contents: Contents, leases: Leases, address: Callable[[str], str]) -> None:
        self._database = database
        self._lakefs = lakefs
        self._contents = contents
        self._leases = leases
        self._address = address
        self._upkeep = Upkeep(database)
        self._covered_since: Recent[str, int] = Recent(_KEPT * FACT_BYTES, fact)

    def git_of(self, repo: Repo, commit: str) -> Oid:
        """What a LakeFS commit is in git, made now if need be; ZERO_OID for the empty one. Each is kept as soon as it is made."""
        if (known := self._known(repo, commit)) is not None:
            return known
        waiting = [commit]
        read: dict[str, LakeCommit] = {}
        while waiting:
            if len(read) > _MOST_COMMITS:
                raise Unavailable(
                    f"LakeFS has more than {_MOST_COMMITS} commits that are new here. The operator runs: kohakuhub admin rebuild"
                )
            at = waiting[-1]
            if self._known(repo, at) is None:
                found = read[at] = read.get(at) or self._lakefs.get_commit(repository_id(repo.id), at)
                unknown = [one for one in self._needed(repo, found) if self._known(repo, one) is None]
                if unknown:
                    waiting += reversed(unknown)
                    continue
                drops = self._upkeep.drops(repo.id)
                self._keep(repo, at, self._translated(repo, found), drops)
            waiting.pop()
        oid = self._known(repo, commit)
        assert oid is not None
        return oid

    def recall(self, repo: Repo, head: str) -> None:
        """After the rows were lost: know again which pushed commits the history of `head` names, so that they stay stored (I1). What
        others made in LakeFS can be made again. Raises Unavailable.
        """
        for commit in self._lakefs.history(repository_id(repo.id), head):
            if OPERATION in commit.metadata and self._named(repo, commit) is not None:
                self.git_of(repo, commit.id)

    def bring_up(self, repo: Repo, branch: str, ref: bytes) -> None:
        """Move `ref` to where LakeFS's `branch` stands. Nothing is done while somebody else moves it. Raises Busy when his lease is
        over, Unavailable.
        """
        known = operations.known_refs(self._database, repo.id, is_tag=False).get(branch)
        base = str(known["commit_id"]) if known else ""
        operation = self._database.write(lambda tx: operations.seize(tx, repo.id, ref, branch, base))
        if operation is None:
            return
        try:
            with self._leases.hold(operation):
                self._bring_up(repo, operation)
        except BaseException:
            self._database.write(lambda tx: operations.let_go(tx, operation))
            raise

    def lose(self, repo: Repo, branch: str, ref: bytes) -> None:
        """The branch was deleted in LakeFS: its ref becomes `refs/hub/lost/…`, so that nothing that was pushed is out of reach.

        Raises Busy, Unavailable.
        """
        operation = self._database.write(lambda tx: operations.seize(tx, repo.id, ref, branch, ""))
        if operation is None:
            return
        try:
            is_gone = self._lakefs.branch(repository_id(repo.id), branch) is None
        except BaseException:
            self._database.write(lambda tx: operations.let_go(tx, operation))
            raise
        lost = b"refs/hub/lost/" + ref.removeprefix(b"refs/heads/")
        self._database.write(lambda tx: operations.finish_lost(tx, repo, operation, lost if is_gone else b""))

    def ref_for(self, repo: Repo, branch: str, commit: str) -> bytes:
        """The ref that a branch made in LakeFS gets: its decoded name if git can have that one, else the name as it is."""
        literal = b"refs/heads/" + branch.encode()
        ref = branch_ref(branch)
        if ref is None:
            told = self._lakefs.get_commit(repository_id(repo.id), commit).metadata.get("hub.ref", "")
            return told.encode() if told.startswith("refs/heads/") and self._contents.is_ref_name(told.encode()) else literal
        if ref == literal or not self._contents.is_ref_name(ref):
            return literal
        rows = self._database.all("SELECT name, oid FROM refs WHERE repo_id = :id", {"id": repo.id})
        return literal if Names({bytes(row["name"]): bytes(row["oid"]) for row in rows}).clash(ref) else ref

    def _bring_up(self, repo: Repo, operation: Operation) -> None:
        step = operation.steps[0]
        head = self._lakefs.branch(repository_id(repo.id), step.branch)
        done = []
        if head is not None:
            oid = self.git_of(repo, head)
            done = [Done(step, head, oid if oid != ZERO_OID else step.update.old)]
            log.info("LakeFS: %s of %s is at %s now, %s in git", step.branch, repo.name.full, head[:12], oid.hex()[:12])
        self._database.write(lambda tx: operations.finish(tx, repo, operation, done))

    def _translated(self, repo: Repo, commit: LakeCommit) -> Oid:
        if commit.is_initial:
            return ZERO_OID
        if self._is_sound(repo, commit):
            return bytes.fromhex(commit.metadata[OID])
        parents = [self._known(repo, parent) for parent in commit.parents]
        base = parents[0] if parents[0] != ZERO_OID else None
        joined, joined_on = self._joined(repo, commit)
        if joined is not None:
            parents = [parents[0], joined]
        name = repository_id(repo.id)
        foreign = Foreign(
            commit,
            tuple(dict.fromkeys(oid for oid in parents if oid is not None and oid != ZERO_OID)),
            base,
            self._lakefs.diff(name, commit.parents[0], commit.id),
            _Reader(self._lakefs, self._address, name, commit.id),
            joined if joined != ZERO_OID else None,
            joined_on,
            self._is_covered(repo, commit),
        )
        return self._contents.take_in(repo, foreign)

    def _is_covered(self, repo: Repo, commit: LakeCommit) -> bool:
        """Whether it is newer than the moment that LakeFS keeps. The commit was read first: a moment that is not there yet
        will be later than it.
        """
        since = self._covered_since.get(repo.id)
        if since is None:
            told = self._lakefs.description(repository_id(repo.id)).get(COVERED_SINCE)
            if told is None:
                return False
            since = int(told)
            self._covered_since.keep(repo.id, since)
        return commit.created >= since

    def _needed(self, repo: Repo, commit: LakeCommit) -> tuple[str, ...]:
        """The commits of LakeFS that must be known in git before this one."""
        if self._is_sound(repo, commit):
            return ()
        is_joined = self._joined(repo, commit)[0] is not None
        return (*commit.parents, commit.metadata[BASE]) if is_joined else commit.parents

    def _joined(self, repo: Repo, commit: LakeCommit) -> tuple[Oid | None, Oid | None]:
        """The commit of ours that somebody else's changes came before, and what it was made on in git."""
        if OPERATION not in commit.metadata or BASE not in commit.metadata:
            return None, None
        on = self._known(repo, commit.metadata[BASE])
        return self._named(repo, commit), on if on != ZERO_OID else None

    def _is_sound(self, repo: Repo, commit: LakeCommit) -> bool:
        """Whether it is a commit of ours as we made it, and git has it."""
        return commit.is_ours and self._named(repo, commit) is not None

    def _named(self, repo: Repo, commit: LakeCommit) -> Oid | None:
        """The commit that the metadata names, if it is stored and has the tree that they say; ZERO_OID where a first push was undone."""
        try:
            oid = bytes.fromhex(commit.metadata.get(OID, ""))
        except ValueError:
            return None
        if oid == ZERO_OID and commit.metadata.get(TREE) == "":
            return ZERO_OID
        found = self._contents.commit(repo, oid) if len(oid) == len(ZERO_OID) else None
        return oid if found is not None and found.tree.hex() == commit.metadata.get(TREE) else None

    def _known(self, repo: Repo, commit: str) -> Oid | None:
        return operations.oid_of(self._database, repo.id, commit)

    def _keep(self, repo: Repo, commit: str, oid: Oid, drops: int) -> None:
        """It is a root of the repository from now on. Raises Dropped where it may have gone since it was found."""

        def work(tx: Tx) -> None:
            self._upkeep.count_on(tx, repo.id, drops)
            operations.note_commit(tx, repo.id, commit, oid)

        self._database.write(work)

"""The port to the version store: where the refs of a repository stand, and how they move.

Embedded: the refs table alone. Cluster: LakeFS, with the same table as its index.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from storage.database.base import Tx
from storage.records import Oid, Principal, RefUpdate, Repo, RepoName
from storage.spelling import named, spelled


@dataclass(frozen=True, slots=True)
class Ref:
    name: bytes
    oid: Oid
    peeled: Oid | None = None  # the commit (or other object) an annotated tag leads to


@dataclass(frozen=True, slots=True)
class Refs:
    """All refs of a repository at one moment, sorted by name; `head` is what HEAD points to, born or not."""

    head: bytes
    refs: tuple[Ref, ...]

    def get(self, name: bytes) -> Ref | None:
        at = bisect_left(self.refs, name, key=lambda ref: ref.name)
        return self.refs[at] if at < len(self.refs) and self.refs[at].name == name else None

    def find(self, name: bytes) -> Ref | None:
        """By its bytes, or as `spellings` has it."""
        found = self.get(name)
        if found is None and b"%" in name:
            found = self.get(named(name, {ref.name for ref in self.refs}))
        return found

    def spellings(self) -> Iterator[tuple[Ref, str]]:
        """Every ref with its name as text for clients, by which `find` knows it (storage.spelling)."""
        names = {ref.name for ref in self.refs}
        return ((ref, spelled(ref.name, names)) for ref in self.refs)


@dataclass(frozen=True, slots=True)
class RefResult:
    """What became of one update: `reason` is empty when it was made, else the words for the client.

    `merged` is where the ref stands when that is not what was asked for: a commit that joins it with what came in between.
    """

    update: RefUpdate
    reason: str = ""
    merged: Oid | None = None

    @property
    def oid(self) -> Oid:
        return self.merged or self.update.new


@dataclass(frozen=True, slots=True)
class StoredRepository:
    """A repository as the version store has it without our rows. `refs` are those that are no branches, `created` is in microseconds."""

    repo_id: str
    name: RepoName
    is_private: bool
    creator: str
    created: int
    head: bytes
    refs: tuple[Ref, ...]


class VersionStore(Protocol):
    def refs(self, repo_id: str, *, fresh: bool = True) -> Refs:
        """`fresh`: also what was done elsewhere a moment ago. Writers need not ask for that: `append` compares for itself.

        Raises RepoNotFound.
        """

    def find(self, repo_id: str, names: Sequence[bytes]) -> Ref | None:
        """The first of one to four full `names` that exists; the name `HEAD` stands for the ref that HEAD points to.

        It costs one look at the index, however many refs there are.
        """

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
        """Compare-and-swap every ref in one transaction together with `rows` (which names the pack, links …). `store` writes the bytes
        that they name, once, before anything of it is begun (I4).

        `peeled` gives what each new annotated tag leads to. A stale old value, a name that conflicts with another (`a` and
        `a/b`) or a duplicate is refused with a reason; with `atomic` one refusal refuses all and nothing is written.
        If no update succeeds, `rows` is not run. The first branch pushed becomes HEAD while HEAD is unborn. `idempotency_key` is kept in
        the journal beside the updates.
        """

    def made_for(self, repo_id: str, ref: bytes, idempotency_key: str, seconds: int) -> Oid | None:
        """Where `ref` was moved by the newest update of the last `seconds` that carried `idempotency_key`."""

    def moved(self, repo_id: str, seconds: int) -> Sequence[Ref]:
        """Where refs stood that were moved or deleted in the last `seconds`, newest first; not peeled. A bounded number."""

    def roots(self, repo_id: str) -> set[Oid]:
        """Everything that keeps objects: whatever leads from these ids must stay stored. Refs that nobody is shown count, too."""

    def sync_metadata(self, repo_id: str) -> None:
        """A repository was created, renamed, changed or deleted: bring what stands outside the rows in line. Raises Unavailable;
        then it is done later.
        """

    def kept(self) -> Iterator[StoredRepository]:
        """What can be restored when the rows are lost. Raises Invalid where rows are all there is, Unavailable."""

    def restore(self, repo: Repo, kept: StoredRepository, rows: Callable[[Tx], None]) -> None:
        """All refs of a repository, after `rows` (its own, and those of its packs) in the same transaction. Raises Unavailable."""

    def prepare(self) -> None:
        """Once, before the first request. Raises Unavailable when the settings are wrong."""

    def recover(self) -> None:
        """What nobody waits for and a crash may have left undone; now and then. Raises Unavailable."""

    def ping(self) -> None:
        """One short question to what the store depends on besides the rows. Raises Unavailable."""

    def close(self) -> None: ...

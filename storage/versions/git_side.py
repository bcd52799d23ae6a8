"""The port to git's side: what a commit changes as files, and what a LakeFS commit is in git. Implemented in gitserver/bridge."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from storage.records import BlobRef, Oid, Repo
from storage.versions.lakefs.records import LakeCommit, LakeDifference, LakeObject


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file at `path`. `read` gives bytes that may not be in the pool yet; None for large files, which are."""

    path: str
    blob: BlobRef
    mode: int
    oid: Oid
    read: Callable[[], bytes] | None


@dataclass(frozen=True, slots=True)
class Changes:
    """From one git commit to another. `unprojected` counts paths that LakeFS cannot hold or must not: they are in git alone."""

    placed: tuple[StagedFile, ...]
    removed: tuple[str, ...]
    unprojected: int


@dataclass(frozen=True, slots=True)
class GitCommit:
    tree: Oid
    message: str


class Reader(Protocol):
    """Objects of one LakeFS commit."""

    def stat(self, path: str) -> LakeObject: ...

    def read(self, path: str, start: int, end: int) -> bytes: ...

    def is_pooled(self, found: LakeObject) -> bool:
        """Whether its bytes are the pool's own, under the key that its checksum says."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A LakeFS commit that was not made by the hub as it stands. `base` is the commit whose tree `differences` start from.

    `joined` is the commit of a push that was made on `joined_on` and met somebody else's changes; what only git holds comes from there.
    `is_covered`: .gitattributes covers what becomes a pointer, and has macros (decision 0024).
    """

    commit: LakeCommit
    parents: tuple[Oid, ...]
    base: Oid | None
    differences: Iterable[LakeDifference]
    reader: Reader
    joined: Oid | None = None
    joined_on: Oid | None = None
    is_covered: bool = False


class Contents(Protocol):
    def changes(self, repo: Repo, before: Oid | None, after: Oid | None) -> Changes:
        """What LakeFS must be told; None stands for the empty tree. Raises TooLarge when that is too much at once."""

    def commit(self, repo: Repo, oid: Oid) -> GitCommit | None:
        """None when it is not stored."""

    def ancestors(self, repo: Repo, oid: Oid) -> Iterator[Oid]:
        """Of a commit, along the first parents, itself first; a limited number."""

    def take_in(self, repo: Repo, foreign: Foreign) -> Oid:
        """Make the git commit for it, durable and readable when this returns. The id depends on nothing but `foreign`."""

    def is_ref_name(self, ref: bytes) -> bool:
        """Whether git may have a ref of that full name."""

"""What a commit through the API asks for, as records."""

from dataclasses import dataclass
from typing import IO, TypeAlias

from storage.records import Oid


@dataclass(frozen=True, slots=True)
class Put:
    """A file whose `size` bytes stand in the request's spool from `position` on."""

    path: bytes
    position: int
    size: int


@dataclass(frozen=True, slots=True)
class PutLarge:
    """A file that was uploaded before; `size` is None where the client leaves it to us (server-side copies)."""

    path: bytes
    sha256: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Remove:
    """A file or a folder with all that is in it."""

    path: bytes


@dataclass(frozen=True, slots=True)
class CopiedFile:
    """A file as it is at `revision` (the parent, where there is none)."""

    path: bytes
    source: bytes
    revision: str | None


Change: TypeAlias = Put | PutLarge | Remove | CopiedFile


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """`branch` is the full ref. `parent` is the commit that the client saw, if it says so. `digest` names the request: the same one
    sent again gets the same answer while its commit is the newest.
    """

    branch: bytes
    message: str
    parent: Oid | None
    changes: tuple[Change, ...]
    spool: IO[bytes]
    digest: str

    def content(self, put: Put) -> bytes:
        self.spool.seek(put.position)
        return self.spool.read(put.size)

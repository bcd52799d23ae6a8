"""The port to large objects that come in parts. Parts are nothing yet: only `join` makes an object, through the pool's own check."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from storage.blobs.base import BlobUpload
from storage.limits import MIB
from storage.records import BlobRef

STEP_BYTES = 32 * MIB  # between two yields, so that a thread can be shared


@dataclass(frozen=True, slots=True)
class Direct:
    """Where a client sends an object without the hub: S3's multipart upload `upload` to the quarantine key of `name`, a random one."""

    name: str
    upload: str


@dataclass(frozen=True, slots=True)
class Parted:
    """One object on its way into one repository in parts of `part_bytes`, the last one shorter. Same values, same upload."""

    repo_id: str
    blob: BlobRef
    part_bytes: int
    direct: Direct | None = None

    @property
    def count(self) -> int:
        return -(-self.blob.size // self.part_bytes)

    def size_of(self, number: int) -> int:
        """Bytes of a part; numbers count from 1 to `count`."""
        return min(self.part_bytes, self.blob.size - (number - 1) * self.part_bytes)


class PartUpload(Protocol):
    """The bytes of one part on their way in. Nobody sees them before `keep`."""

    @property
    def etag(self) -> str:
        """Bound to the bytes written, without quotes."""

    def write(self, data: bytes) -> None: ...

    def keep(self) -> None:
        """Put the part in the place of an earlier one with its number. Raises Invalid if its size is wrong, Unavailable when the parts
        were joined or swept away meanwhile.
        """

    def abort(self) -> None:
        """Drop the bytes; harmless after keep."""


class Joiner(Protocol):
    """Parts that have come, and how they become an object."""

    def claim(self, parted: Parted) -> AbstractContextManager[bool]:
        """Whether the caller is the only one, in any process, who joins these parts until the context ends."""

    def join(self, parted: Parted, etags: Sequence[str]) -> Iterator[None]:
        """Make the object of the parts that have these etags, in their order. Yields between pieces of work, so that a thread can be
        shared. Raises Invalid if a part is missing or another one, or if the whole is not the object; then nothing is stored.
        """

    def drop(self, parted: Parted) -> None:
        """Remove the parts."""


class PartStore(Joiner, Protocol):
    """Parts that come through the hub."""

    def begin(self, parted: Parted, number: int) -> PartUpload: ...


class Quarantine(Joiner, Protocol):
    """Parts that clients send to S3 themselves. What has come there is nothing yet, just like parts that come through the hub."""

    @property
    def origin(self) -> str:
        """Scheme, host and port to which clients send; empty where they do not."""

    def takes(self, parted: Parted) -> bool:
        """Whether S3 takes parts of that size and number."""

    def begin(self) -> Direct:
        """A place for one object, for one client."""

    def part_url(self, parted: Parted, number: int, seconds: int) -> str:
        """For a PUT; its answer has the etag that `join` wants."""


def copy_in_steps(pieces: Iterable[bytes], upload: BlobUpload) -> Iterator[None]:
    """Make the object of `pieces`. Yields now and then, so that a thread can be shared. Raises Invalid if the whole is another object."""
    try:
        done = 0
        for data in pieces:
            upload.write(data)
            done += len(data)
            if done >= STEP_BYTES:
                done = 0
                yield
        upload.commit()
    finally:
        upload.abort()

"""The port to large objects that come in parts. Parts are nothing yet: only `join` makes an object, through the pool's own check."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from storage.blobs.base import BlobUpload
from storage.limits import MIB
from storage.records import BlobRef

_STEP_BYTES = 32 * MIB  # between two yields of `copy_in_steps`


@dataclass(frozen=True, slots=True)
class Parted:
    """One object on its way into one repository in parts of `part_bytes`, the last one shorter. Same values, same upload."""

    repo_id: str
    blob: BlobRef
    part_bytes: int

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


class PartStore(Protocol):
    def begin(self, parted: Parted, number: int) -> PartUpload: ...

    def claim(self, parted: Parted) -> AbstractContextManager[bool]:
        """Whether the caller is the only one, in any process, who joins these parts until the context ends."""

    def join(self, parted: Parted, etags: Sequence[str]) -> Iterator[None]:
        """Make the object of the parts that have these etags, in their order. Yields between pieces of work, so that a thread can be
        shared. Raises Invalid if a part is missing or another one, or if the whole is not the object; then nothing is stored.
        """

    def drop(self, parted: Parted) -> None:
        """Remove the parts."""


def copy_in_steps(pieces: Iterable[bytes], upload: BlobUpload) -> Iterator[None]:
    """Make the object of `pieces`. Yields now and then, so that a thread can be shared. Raises Invalid if the whole is another object."""
    try:
        done = 0
        for data in pieces:
            upload.write(data)
            done += len(data)
            if done >= _STEP_BYTES:
                done = 0
                yield
        upload.commit()
    finally:
        upload.abort()

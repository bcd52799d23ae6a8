"""The port to large objects: the pool, keyed by SHA-256, shared by all repositories. Who may see an object is not asked here."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from storage.disk_space import DiskSpace
from storage.errors import Invalid
from storage.records import BlobRef


class BlobUpload(Protocol):
    """Bytes on their way in. Hashed while written; nothing is visible before `commit`."""

    size: int

    def write(self, data: bytes) -> None: ...

    def commit(self) -> None:
        """Make the object durable and visible. Raises Invalid if the bytes are not those that were announced, and drops them."""

    def abort(self) -> None:
        """Drop the bytes; harmless after commit."""


@dataclass(frozen=True, slots=True)
class Served:
    """With which headers a store hands an object to a client."""

    content_type: str
    disposition: str


class BlobStore(Protocol):
    def upload(self, expected: BlobRef) -> BlobUpload: ...

    def keep(self, data: bytes) -> BlobRef:
        """A small object, whole in memory; durable when it returns."""

    def exists(self, blob: BlobRef) -> bool:
        """True when an object of that id and size is stored."""

    def open(self, sha256: str) -> BinaryIO:
        """A seekable stream; raises ObjectNotFound."""

    def path(self, sha256: str) -> Path | None:
        """The local file, where there is one (for sendfile); None elsewhere."""

    def link(self, sha256: str, served: Served) -> str | None:
        """A URL below `link_origin` that lets anybody who has it read the object for a while; None where clients read through the hub."""

    @property
    def link_origin(self) -> str:
        """Scheme, host and port of every link; empty where there are none."""

    @property
    def space(self) -> DiskSpace | None:
        """The disk on which the objects lie; None where it is none of this machine's."""


class StagedUpload(Protocol):
    """Bytes on their way into the staging area."""

    def write(self, data: bytes | memoryview) -> None: ...

    def publish(self, name: str) -> None:
        """Durable under `name` when it returns; what stood there before had the same content."""

    def abort(self) -> None:
        """Drop the bytes; harmless after publish."""


class StagingStore(Protocol):
    """What came in parts and waits to become pool objects. Names are hashes of the content."""

    def create(self) -> StagedUpload: ...

    def open(self, name: str) -> BinaryIO:
        """A seekable stream; raises ObjectNotFound."""

    def remove(self, name: str) -> None:
        """Also where nothing is."""

    def older(self, seconds: float) -> Iterator[str]:
        """Names that were published longer ago than that."""


def wrong_bytes(got: BlobRef, expected: BlobRef) -> Invalid:
    return Invalid(f"The bytes sent are {got.sha256} of {got.size} bytes, not {expected.sha256} of {expected.size}. Send the file again.")

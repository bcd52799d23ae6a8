"""The port to large objects: the pool, keyed by SHA-256, shared by all repositories. Who may see an object is not asked here."""

from pathlib import Path
from typing import BinaryIO, Protocol

from storage.records import BlobRef


class BlobUpload(Protocol):
    """Bytes on their way in. Hashed while written; nothing is visible before `commit`."""

    size: int

    def write(self, data: bytes) -> None: ...

    def commit(self, expected: BlobRef) -> None:
        """Make the object durable and visible. Raises Invalid if the bytes are not `expected`, and drops them."""

    def abort(self) -> None:
        """Drop the bytes; harmless after commit."""


class BlobStore(Protocol):
    def upload(self) -> BlobUpload: ...

    def exists(self, blob: BlobRef) -> bool:
        """True when an object of that id and size is stored."""

    def open(self, sha256: str) -> BinaryIO:
        """A seekable stream; raises ObjectNotFound."""

    def path(self, sha256: str) -> Path | None:
        """The local file, where there is one (for sendfile); None elsewhere."""

"""The pool on local disk, under the same keys as on S3: `pool/sha256/ab/cd/<sha256>`."""

import hashlib
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from storage.blobs.base import Served, wrong_bytes
from storage.disk_space import DiskSpace
from storage.errors import Invalid, ObjectNotFound
from storage.files import publish
from storage.records import BlobRef

_SHA256 = re.compile(r"[0-9a-f]{64}")


class DiskUpload:
    def __init__(self, store: "DiskBlobStore", expected: BlobRef, folder: Path) -> None:
        self._store = store
        self._expected = expected
        fd, name = tempfile.mkstemp(prefix="upload-", dir=folder)
        self._file = os.fdopen(fd, "wb")
        self._path = Path(name)
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self._file.write(data)
        self.size += len(data)

    def commit(self) -> None:
        self._file.close()
        got = BlobRef(self._hash.hexdigest(), self.size)
        if got != self._expected:
            self.abort()
            raise wrong_bytes(got, self._expected)
        if self._store.exists(got):
            self.abort()
            return
        publish((self._path, self._store.key_path(got.sha256)))

    def abort(self) -> None:
        self._path.unlink(missing_ok=True)
        with suppress(OSError):  # what is still buffered does not fit on a full disk
            self._file.close()


class DiskBlobStore:
    """BlobStore in a folder. `incoming` holds what is being uploaded and is on the same file system."""

    def __init__(self, root: Path, incoming: Path, space: DiskSpace | None = None) -> None:
        self._root = root
        self._incoming = incoming
        self.space = space or DiskSpace(incoming)

    def upload(self, expected: BlobRef) -> DiskUpload:
        """Raises DiskFull where it does not fit."""
        self.space.check(expected.size)
        return DiskUpload(self, expected, self._incoming)

    def keep(self, data: bytes) -> BlobRef:
        blob = BlobRef(hashlib.sha256(data).hexdigest(), len(data))
        upload = self.upload(blob)
        try:
            upload.write(data)
            upload.commit()
        finally:
            upload.abort()
        return blob

    def exists(self, blob: BlobRef) -> bool:
        try:
            return self.key_path(blob.sha256).stat().st_size == blob.size
        except FileNotFoundError:
            return False

    def open(self, sha256: str) -> BinaryIO:
        try:
            return self.key_path(sha256).open("rb")
        except FileNotFoundError as error:
            raise ObjectNotFound(f"Object {sha256} is not stored here.") from error

    def path(self, sha256: str) -> Path | None:
        path = self.key_path(sha256)
        return path if path.exists() else None

    def link(self, sha256: str, served: Served) -> str | None:
        return None

    @property
    def link_origin(self) -> str:
        return ""

    def key_path(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise Invalid(f"{sha256[:80]!r} is not a sha256: 64 lower-case hex digits are needed.")
        return self._root / "sha256" / sha256[:2] / sha256[2:4] / sha256

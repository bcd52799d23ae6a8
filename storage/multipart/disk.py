"""Parts on local disk: a folder an upload and a file a part in `incoming`, where `sweep_incoming` finds what was left.

A part is `00001` and so on: its bytes, then their SHA-256 in 32 bytes. It is written aside and renamed, so that whoever has it open
keeps what was opened, and its etag is read from the same file as its bytes. Parts are not synced: what a crash spoils fails its check.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from storage.blobs.base import BlobStore
from storage.errors import Invalid, Unavailable
from storage.files import try_lock
from storage.limits import MIB
from storage.multipart.base import Parted, copy_in_steps


class DiskPart:
    def __init__(self, folder: Path, number: int, size: int) -> None:
        fd, name = tempfile.mkstemp(prefix="part-", dir=folder)
        self._file = os.fdopen(fd, "wb")
        self._path = Path(name)
        self._target = folder / _name(number)
        self._hash = hashlib.sha256()
        self._expected = size
        self._size = 0

    @property
    def etag(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self._file.write(data)
        self._size += len(data)

    def keep(self) -> None:
        if self._size != self._expected:
            self.abort()
            raise Invalid(f"The part has {self._size} bytes, not {self._expected}. Send it again.")
        self._file.write(self._hash.digest())
        self._file.close()
        try:
            self._path.replace(self._target)
        except FileNotFoundError as error:
            raise _gone() from error

    def abort(self) -> None:
        self._path.unlink(missing_ok=True)
        with suppress(OSError):  # what is still buffered does not fit on a full disk
            self._file.close()


class DiskPartStore:
    """PartStore in `incoming`; joined objects go to `blobs`."""

    def __init__(self, incoming: Path, blobs: BlobStore) -> None:
        self._incoming = incoming
        self._blobs = blobs

    def begin(self, parted: Parted, number: int) -> DiskPart:
        """Raises DiskFull where it does not fit."""
        if self._blobs.space is not None:
            self._blobs.space.check(parted.size_of(number))
        try:
            return DiskPart(self._made_folder(parted), number, parted.size_of(number))
        except FileNotFoundError as error:
            raise _gone() from error

    @contextmanager
    def claim(self, parted: Parted) -> Iterator[bool]:
        fd = self._lock(parted)
        try:
            yield fd is not None
        finally:
            if fd is not None:
                os.close(fd)

    def join(self, parted: Parted, etags: Sequence[str]) -> Iterator[None]:
        for number, etag in enumerate(etags, 1):  # before the first byte is copied
            self._open(parted, number, etag).close()
        parts = (self._pieces(parted, number, etag) for number, etag in enumerate(etags, 1))
        yield from copy_in_steps(chain.from_iterable(parts), self._blobs.upload(parted.blob))

    def drop(self, parted: Parted) -> None:
        shutil.rmtree(self._folder(parted), ignore_errors=True)

    def _lock(self, parted: Parted) -> int | None:
        """A descriptor that holds the folder's lock until it is closed."""
        try:
            fd = os.open(self._made_folder(parted), os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            return None  # somebody else finished this moment
        if try_lock(fd):
            return fd
        os.close(fd)
        return None

    def _pieces(self, parted: Parted, number: int, etag: str) -> Iterator[bytes]:
        left = parted.size_of(number)
        with self._open(parted, number, etag) as file:
            while data := file.read(min(MIB, left)):
                left -= len(data)
                yield data

    def _open(self, parted: Parted, number: int, etag: str) -> BinaryIO:
        """The part, at its first byte."""
        try:
            file = (self._folder(parted) / _name(number)).open("rb")
        except FileNotFoundError as error:
            raise Invalid(f"Part {number} did not come. Send it, then complete the upload again.") from error
        file.seek(parted.size_of(number))
        if file.read(hashlib.sha256().digest_size + 1).hex() != etag:
            file.close()
            raise Invalid(f"Part {number} is here with another etag. Send it again, then complete the upload with the etag of the answer.")
        file.seek(0)
        return file

    def _made_folder(self, parted: Parted) -> Path:
        """The folder, made or marked as in use (`sweep_incoming` goes by its time). Raises FileNotFoundError if it goes this moment."""
        folder = self._folder(parted)
        with suppress(FileExistsError):  # mkdir(exist_ok=True) looks once more, and raises this when the folder is gone by then
            folder.mkdir()
        os.utime(folder)
        return folder

    def _folder(self, parted: Parted) -> Path:
        return self._incoming / f"parts-{parted.repo_id}-{parted.blob.sha256}-{parted.blob.size}-{parted.part_bytes}"


def _name(number: int) -> str:
    return f"{number:05}"


def _gone() -> Unavailable:
    return Unavailable("The parts of this upload were joined or removed meanwhile. Send this part again.")

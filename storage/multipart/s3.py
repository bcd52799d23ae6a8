"""Parts on S3, an object a part: `parts/<upload>/00001-<sha256>`. Any worker on any machine may take a part, and any may join them.

S3's own multipart upload is not used for them: its parts cannot be read before it is completed, so nothing could be hashed, and ours may
be smaller than S3 takes. A part's key holds the hash of its bytes, so that what a completion names can never change under it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from storage.blobs.base import BlobStore
from storage.blobs.bucket import Bucket
from storage.blobs.s3 import new_spool, open_object, pieces_of
from storage.errors import Invalid, ObjectNotFound
from storage.files import claim_file
from storage.multipart.base import Parted, copy_in_steps

_PREFIX = "parts/"


class S3Part:
    """Spooled to one nameless local file, at the most as large as a part."""

    def __init__(self, bucket: Bucket, parted: Parted, number: int, incoming: Path) -> None:
        self._bucket = bucket
        self._parted = parted
        self._number = number
        self._spool = new_spool(incoming)
        self._hash = hashlib.sha256()
        self._size = 0

    @property
    def etag(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self._size += len(data)
        self._spool.write(data)

    def keep(self) -> None:
        expected = self._parted.size_of(self._number)
        if self._size != expected:
            self.abort()
            raise Invalid(f"The part has {self._size} bytes, not {expected}. Send it again.")
        self._bucket.put(_key(self._parted, self._number, self.etag), self._spool, self._size)
        self._spool.close()

    def abort(self) -> None:
        self._spool.close()


class S3PartStore:
    """PartStore in a bucket; joined objects go to `blobs`. A part that comes after the join is kept until `sweep`, and harms nobody."""

    def __init__(self, bucket: Bucket, incoming: Path, blobs: BlobStore) -> None:
        self._bucket = bucket
        self._incoming = incoming
        self._blobs = blobs

    def begin(self, parted: Parted, number: int) -> S3Part:
        return S3Part(self._bucket, parted, number, self._incoming)

    def claim(self, parted: Parted) -> AbstractContextManager[bool]:
        """One caller on this machine. Two machines may join the same parts: that costs work, and both make the same object."""
        return claim_file(self._incoming / f"claim-{_name(parted)}")

    def join(self, parted: Parted, etags: Sequence[str]) -> Iterator[None]:
        for number, etag in enumerate(etags, 1):  # before the first byte is copied
            self._check(parted, number, etag)
        parts = (pieces_of(self._open(parted, number, etag)) for number, etag in enumerate(etags, 1))
        yield from copy_in_steps(chain.from_iterable(parts), self._blobs.upload(parted.blob))

    def drop(self, parted: Parted) -> None:
        for stored in self._bucket.list(f"{_PREFIX}{_name(parted)}/"):
            self._bucket.remove(stored.key)

    def sweep(self, before: float) -> None:
        """Remove parts that came before that time (seconds since the epoch)."""
        for stored in self._bucket.list(_PREFIX):
            if stored.modified < before:
                self._bucket.remove(stored.key)

    def _check(self, parted: Parted, number: int, etag: str) -> None:
        if self._bucket.size(_key(parted, number, etag)) == parted.size_of(number):
            return
        if any(True for _ in self._bucket.list(f"{_PREFIX}{_name(parted)}/{number:05}-")):
            raise Invalid(f"Part {number} is here with another etag. Send it again, then complete the upload with the etag of the answer.")
        raise Invalid(f"Part {number} did not come. Send it, then complete the upload again.")

    def _open(self, parted: Parted, number: int, etag: str) -> BinaryIO:
        try:
            return open_object(self._bucket, _key(parted, number, etag), "")
        except ObjectNotFound as error:
            raise Invalid(f"Part {number} is gone. Send it again, then complete the upload again.") from error


def _name(parted: Parted) -> str:
    return f"{parted.repo_id}-{parted.blob.sha256}-{parted.blob.size}-{parted.part_bytes}"


def _key(parted: Parted, number: int, etag: str) -> str:
    return f"{_PREFIX}{_name(parted)}/{number:05}-{etag}"

"""The pool on S3, under the same keys as on disk: `pool/sha256/ab/cd/<sha256>`.

An upload goes to its own key in parts, hashed on the way. S3 shows nothing of it before it is completed, and it is completed only when
hash and size are right. So there is never an object with wrong bytes, nothing is copied, and only one part lies on the local disk.
"""

import hashlib
import io
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from storage.blobs.base import Served, wrong_bytes
from storage.blobs.bucket import Body, Bucket, Slice
from storage.blobs.presign import Signer
from storage.errors import Invalid, ObjectNotFound, Unavailable
from storage.limits import MIB
from storage.records import BlobRef

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART = 16 * MIB
_PARTS = 10_000  # S3's limit
_BUFFER = 256 * 1024
_FIRST_WINDOW, _LAST_WINDOW = MIB, 64 * MIB
_TRIES = 3


class S3Upload:
    def __init__(self, bucket: Bucket, key: str, expected: BlobRef, incoming: Path) -> None:
        self._bucket = bucket
        self._key = key
        self._expected = expected
        self._part_bytes = max(_PART, -(-expected.size // _PARTS))
        self._spool = new_spool(incoming)
        self._held = 0
        self._upload = ""
        self._tags: list[str] = []
        self._hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> None:
        self._hash.update(data)
        self.size += len(data)
        if self.size > self._expected.size:
            return  # it is refused at the end, whatever comes
        view = memoryview(data)
        while view:
            if self._held == self._part_bytes:
                self._flush()
            taken = view[: self._part_bytes - self._held]
            self._spool.write(taken)
            self._held += len(taken)
            view = view[len(taken) :]

    def commit(self) -> None:
        got = BlobRef(self._hash.hexdigest(), self.size)
        if got != self._expected:
            self.abort()
            raise wrong_bytes(got, self._expected)
        if not self._upload:
            if self._bucket.size(self._key) != self.size:
                self._bucket.put(self._key, self._spool, self.size)
        else:
            self._flush()
            self._complete()
        self._upload = ""
        self._spool.close()

    def abort(self) -> None:
        upload, self._upload = self._upload, ""
        if upload:
            self._bucket.abort(self._key, upload)
        self._spool.close()

    def _flush(self) -> None:
        """What is held goes to S3 as the next part."""
        if not self._upload:
            self._upload = self._bucket.begin(self._key)
        self._tags.append(self._bucket.put_part(self._key, self._upload, len(self._tags) + 1, Slice(self._spool, 0, self._held)))
        self._spool.seek(0)
        self._spool.truncate()
        self._held = 0

    def _complete(self) -> None:
        try:
            self._bucket.complete(self._key, self._upload, self._tags)
        except (ObjectNotFound, Unavailable):
            if self._bucket.size(self._key) != self.size:  # else it was done, and only the answer was lost
                raise Unavailable("S3 did not complete the object. Send it again.") from None


class S3BlobStore:
    """BlobStore in a bucket; `incoming` is a local folder for the part of each upload that is being sent."""

    def __init__(self, bucket: Bucket, incoming: Path, signer: Signer | None) -> None:
        self._bucket = bucket
        self._incoming = incoming
        self._signer = signer

    @property
    def space(self) -> None:
        return None

    def upload(self, expected: BlobRef) -> S3Upload:
        return S3Upload(self._bucket, key_of(expected.sha256), expected, self._incoming)

    def keep(self, data: bytes) -> BlobRef:
        """Written though it may be there: that is one call, and to ask first would be two."""
        blob = BlobRef(hashlib.sha256(data).hexdigest(), len(data))
        self._bucket.put(key_of(blob.sha256), io.BytesIO(data), blob.size)
        return blob

    def exists(self, blob: BlobRef) -> bool:
        return self._bucket.size(key_of(blob.sha256)) == blob.size

    def open(self, sha256: str) -> BinaryIO:
        return open_object(self._bucket, key_of(sha256), f"Object {sha256} is not stored here.")

    def path(self, sha256: str) -> Path | None:
        key_of(sha256)
        return None

    def link(self, sha256: str, served: Served) -> str | None:
        return self._signer.url(key_of(sha256), served) if self._signer else None

    @property
    def link_origin(self) -> str:
        return self._signer.origin if self._signer else ""


class RangedObject(io.RawIOBase):
    """A stored object as a seekable stream, read in ranges that grow while it is read in one go. A range that breaks is asked again."""

    def __init__(self, bucket: Bucket, key: str, size: int) -> None:
        self._bucket = bucket
        self._key = key
        self._size = size
        self._position = 0
        self._body: Body | None = None
        self._left = 0  # of the body
        self._window = _FIRST_WINDOW

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if position != self._position:
            self._drop()
            self._window = _FIRST_WINDOW
            self._position = position
        return position

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        if self._position >= self._size:
            return 0
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._drop()
        super().close()

    def _read(self, size: int) -> bytes:
        for left in reversed(range(_TRIES)):
            body = self._body or self._ask()  # the bucket has its own tries, which are not multiplied
            try:
                return self._read_once(body, size)
            except Unavailable:
                self._drop()
                if not left:
                    raise
        raise AssertionError

    def _ask(self) -> Body:
        end = min(self._position + self._window, self._size)
        self._window = min(self._window * 2, _LAST_WINDOW)
        self._body, self._left = self._bucket.get(self._key, self._position, end), end - self._position
        return self._body

    def _read_once(self, body: Body, size: int) -> bytes:
        data = body.read(min(size, self._left))
        if not data:
            raise Unavailable(f"S3 sent less of {self._key} than there is. Try again in a moment.")
        self._left -= len(data)
        if not self._left:
            self._drop()
        return data

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None


def open_object(bucket: Bucket, key: str, missing: str) -> BinaryIO:
    """Raises ObjectNotFound with the words of `missing`."""
    size = bucket.size(key)
    if size is None:
        raise ObjectNotFound(missing)
    return io.BufferedReader(RangedObject(bucket, key, size), _BUFFER)


def new_spool(incoming: Path) -> BinaryIO:
    """A nameless local file, in memory while it is small; whoever gets it closes it."""
    return cast(BinaryIO, tempfile.SpooledTemporaryFile(MIB, dir=str(incoming)))


def pieces_of(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while data := file.read(MIB):
            yield data


def key_of(sha256: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise Invalid(f"{sha256[:80]!r} is not a sha256: 64 lower-case hex digits are needed.")
    return f"pool/sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}"

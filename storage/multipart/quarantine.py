"""Objects that clients send to S3 without the hub: each is a multipart upload of S3's own, to a random key that is no object of the pool.

The hub completes the upload, and from then on S3 takes no more parts for it: no URL that was given away can change the bytes any more.
Only then they are read and hashed, and the very same bytes are copied to the pool by the server. An etag could not bind them as well,
for it is made by MD5, of which anybody makes two of a kind.
"""

import hashlib
import io
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path

from storage.blobs.bucket import Bucket, Slice, StoredPart
from storage.blobs.presign import Signer
from storage.blobs.s3 import key_of, open_object, pieces_of
from storage.errors import Invalid, ObjectNotFound, Unavailable, WrongBytes
from storage.files import claim_file
from storage.limits import GIB, MIB
from storage.multipart.base import STEP_BYTES, Direct, Parted
from storage.records import BlobRef

_PREFIX = "quarantine/"
_PROBE = b"KohakuHub sent this to see whether clients can."
_PROBE_SECONDS = 60
_LEAST, _MOST, _PARTS = 5 * MIB, 5 * GIB, 10_000  # bytes of a part (the last one may be smaller), and their number


class S3Quarantine:
    """Quarantine in a bucket; `incoming` is a local folder. Any worker on any machine may join what any other began."""

    def __init__(self, bucket: Bucket, incoming: Path, signer: Signer | None) -> None:
        self._bucket = bucket
        self._incoming = incoming
        self._signer = signer

    @property
    def origin(self) -> str:
        return self._signer.origin if self._signer else ""

    def takes(self, parted: Parted) -> bool:
        return parted.size_of(1) <= _MOST and 1 <= parted.count <= _PARTS and (parted.count == 1 or parted.part_bytes >= _LEAST)

    def begin(self) -> Direct:
        name = f"{time.strftime('%Y%m%d', time.gmtime())}-{secrets.token_hex(16)}"  # the day first: see `Bucket.abort_older`
        return Direct(name, self._bucket.begin(_PREFIX + name))

    def part_url(self, parted: Parted, number: int, seconds: int) -> str:
        direct, signer = _direct(parted), self._signer
        if signer is None:
            raise Invalid("Objects come through this hub only. Ask for new URLs with a batch request.")
        return signer.part_url(_PREFIX + direct.name, direct.upload, (number, parted.size_of(number)), seconds)

    def claim(self, parted: Parted) -> AbstractContextManager[bool]:
        """One caller on this machine. Two machines may join the same upload: that costs work, and both make the same object."""
        return claim_file(self._incoming / f"claim-{_direct(parted).name}")

    def join(self, parted: Parted, etags: Sequence[str]) -> Iterator[None]:
        """Without `etags` the object has one part, whichever came. Raises WrongBytes too, and ObjectNotFound if nothing came."""
        self._freeze(parted, etags)
        yield
        yield from self._check(parted)
        target = key_of(parted.blob.sha256)
        if self._bucket.size(target) != parted.blob.size:
            yield from self._bucket.copy(_key(parted), target, parted.blob.size)

    def drop(self, parted: Parted) -> None:
        self._bucket.abort(_key(parted), _direct(parted).upload)
        self._bucket.remove(_key(parted))

    def sweep(self, before: float) -> None:
        """Remove objects that came before that time (seconds since the epoch)."""
        for stored in self._bucket.list(_PREFIX):
            if stored.modified < before:
                self._bucket.remove(stored.key)

    def check(self, send: Callable[[str, bytes], None] | None = None) -> None:
        """Take in a small object, as large ones are taken in; `send` puts it to a URL as a client does. Raises Unavailable or Invalid."""
        parted = Parted("", BlobRef(hashlib.sha256(_PROBE).hexdigest(), len(_PROBE)), len(_PROBE), self.begin())
        key, copy = _key(parted), f"{_key(parted)}-copy"
        try:
            if send is not None:
                send(self.part_url(parted, 1, _PROBE_SECONDS), _PROBE)
            else:
                self._bucket.put_part(key, _direct(parted).upload, 1, Slice(io.BytesIO(_PROBE), 0, len(_PROBE)))
            self._freeze(parted, ())
            for _ in chain(self._check(parted), self._bucket.copy(key, copy, len(_PROBE), in_parts=True)):
                pass
            if self._bucket.size(copy) != len(_PROBE):
                raise Unavailable("S3 does not copy objects in parts. Use another S3 server, or set KOHAKU_HUB_S3_PROXY=true.")
        except ObjectNotFound as error:
            raise Unavailable("S3 loses what clients send to it. Use another S3 server, or set KOHAKU_HUB_S3_PROXY=true.") from error
        finally:
            self.drop(parted)
            self._bucket.remove(copy)

    def _freeze(self, parted: Parted, etags: Sequence[str]) -> None:
        """Complete the upload, unless that was done before."""
        try:
            tags = self._tags(parted, etags)
            self._bucket.complete(_key(parted), _direct(parted).upload, tags)
        except (ObjectNotFound, Unavailable) as error:
            if self._bucket.size(_key(parted)) is not None:
                return
            if isinstance(error, Unavailable):
                raise
            raise ObjectNotFound(
                f"Object {parted.blob.sha256} did not come. Ask for a new URL with a batch request, and send it."
            ) from error

    def _tags(self, parted: Parted, etags: Sequence[str]) -> list[str]:
        """S3's tags of all parts. Raises ObjectNotFound, Invalid or WrongBytes."""
        found = self._bucket.parts(_key(parted), _direct(parted).upload)
        if not etags and not found:
            raise ObjectNotFound("Nothing came.")
        return [self._part(parted, number, found.get(number, []), etags) for number in range(1, parted.count + 1)]

    def _part(self, parted: Parted, number: int, came: list[StoredPart], etags: Sequence[str]) -> str:
        if not came:
            raise Invalid(f"Part {number} did not come. Send it, then complete the upload again.")
        size = parted.size_of(number)
        if not etags and came[-1].size != size:
            self.drop(parted)
            raise WrongBytes(f"{came[-1].size} bytes came, but object {parted.blob.sha256} has {size}. Send the file again.")
        same = [part for part in came if not etags or part.tag.strip('"') == etags[number - 1]]
        if not same:
            raise Invalid(f"Part {number} is here with another etag. Send it again, then complete the upload with the etag of the answer.")
        if same[-1].size != size:
            raise Invalid(f"Part {number} has {same[-1].size} bytes, not {size}. Send it again, then complete the upload again.")
        return same[-1].tag

    def _check(self, parted: Parted) -> Iterator[None]:
        """Read it all. Wrong bytes are removed."""
        with open_object(self._bucket, _key(parted), f"Object {parted.blob.sha256} is gone. Send it again.") as file:
            digest, size = hashlib.sha256(), 0
            for data in pieces_of(file):
                digest.update(data)
                size += len(data)
                if size > parted.blob.size:
                    break
                if size % STEP_BYTES < len(data):
                    yield
        got = BlobRef(digest.hexdigest(), size)
        if got != parted.blob:
            self.drop(parted)
            raise WrongBytes(
                f"The bytes sent are not those of object {parted.blob.sha256} of {parted.blob.size} bytes. Send the file again."
            )


def _direct(parted: Parted) -> Direct:
    if parted.direct is None:
        raise Invalid("The parts of this upload come through the hub. Ask for new URLs with a batch request.")
    return parted.direct


def _key(parted: Parted) -> str:
    return _PREFIX + _direct(parted).name

"""Large objects in parts, as huggingface_hub and its git-lfs agent send them: when, of which size, and how they become one.

What a client sent to S3 without the hub becomes an object in the same way, in one part or in many.
"""

import time
from collections.abc import Generator, Iterable, Iterator, Sequence

from lfs.objects.possession import Possession
from lfs.transfers.wire import Completion
from storage.errors import Invalid, ObjectNotFound, Unavailable
from storage.limits import MIB, Limits
from storage.multipart.base import Joiner, Parted, PartStore, PartUpload, Quarantine
from storage.records import BlobRef

_WAIT_SECONDS = 0.2
_MOST_PARTS = 99_999  # their keys have five digits


def choose_part_bytes(blobs: Iterable[BlobRef], limits: Limits) -> int:
    """The size of parts for all of one answer, 0 for the basic transfer: one transfer is named for all objects of an answer, and the
    git-lfs agent knows no other then. `lfs_parts` holds for an answer as a whole (up to one part more an object), not only for an object.
    """
    sizes = [blob.size for blob in blobs]
    if max(sizes, default=0) <= limits.lfs_multipart_bytes:
        return 0
    needed = -(-sum(sizes) // min(limits.lfs_parts, _MOST_PARTS))
    return limits.lfs_part_bytes if needed <= limits.lfs_part_bytes else -(-needed // MIB) * MIB


class Multipart:
    def __init__(self, parts: PartStore, quarantine: Quarantine | None, possession: Possession, wait_seconds: int) -> None:
        self._parts = parts
        self._quarantine = quarantine
        self._possession = possession
        self._wait_seconds = wait_seconds

    def begin(self, parted: Parted, number: int) -> PartUpload:
        return self._parts.begin(parted, number)

    def keep(self, parted: Parted, upload: PartUpload) -> None:
        """Raises Invalid or Unavailable; where another upload of the object was faster nothing is kept, for nothing is needed."""
        try:
            upload.keep()
        except Unavailable:
            if not self._is_done(parted):
                raise

    def complete(self, parted: Parted, completion: Completion) -> Iterator[float]:
        """Join the parts and note the object as the repository's. Yields between pieces of work how many seconds to let pass before
        the next one. May be asked again, and by several at once: one works, the others wait for it. Raises Invalid, Unavailable.
        """
        _check(parted, completion)
        return self._finish(parted, completion.etags)

    def admit(self, parted: Parted) -> Iterator[float]:
        """The same for an object that was sent in one part without the hub. Raises WrongBytes and ObjectNotFound too."""
        return self._finish(parted, ())

    def _finish(self, parted: Parted, etags: Sequence[str]) -> Iterator[float]:
        joiner = self._joiner(parted)
        until = time.monotonic() + self._wait_seconds
        while not (yield from self._try(joiner, parted, etags)):
            if time.monotonic() > until:
                raise Unavailable("Another request is still joining the parts of this object. Complete the upload again later.")
            yield _WAIT_SECONDS
        joiner.drop(parted)

    def _joiner(self, parted: Parted) -> Joiner:
        if parted.direct is None:
            return self._parts
        if self._quarantine is None:
            raise Invalid("This hub has no S3 any more, to which the object was sent. Ask for a new URL with a batch request.")
        return self._quarantine

    def _try(self, joiner: Joiner, parted: Parted, etags: Sequence[str]) -> Generator[float, None, bool]:
        """Returns whether the repository has the object now; False while somebody else joins it."""
        with joiner.claim(parted) as is_mine:
            if self._is_done(parted):
                return True
            if is_mine:
                try:
                    for _ in joiner.join(parted, etags):
                        yield 0.0
                except (Invalid, ObjectNotFound, Unavailable):
                    if not self._is_done(parted):
                        raise
                    return True  # another machine was faster, and has dropped the parts
                self._possession.link(parted.repo_id, parted.blob)
            return is_mine

    def _is_done(self, parted: Parted) -> bool:
        return self._possession.has(parted.repo_id, parted.blob.sha256) == parted.blob


def _check(parted: Parted, completion: Completion) -> None:
    if completion.oid != parted.blob.sha256:
        raise Invalid(f"This URL completes object {parted.blob.sha256}, not {completion.oid[:80]!r}. Use the URL of that object.")
    if len(completion.etags) != parted.count:
        raise Invalid(f"The object has {parted.count} parts, but {len(completion.etags)} are named. Send and name all of them.")

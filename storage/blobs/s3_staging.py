"""The staging area on S3: `staged/ab/<name>`. What comes in is spooled to one local file, since its name is known only at the end."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from storage.blobs.bucket import Bucket
from storage.blobs.s3 import new_spool, open_object
from storage.errors import Invalid

_NAME = re.compile(r"[0-9a-f]{64}")


class S3StagedUpload:
    def __init__(self, bucket: Bucket, incoming: Path) -> None:
        self._bucket = bucket
        self._spool = new_spool(incoming)

    def write(self, data: bytes | memoryview) -> None:
        self._spool.write(data)

    def publish(self, name: str) -> None:
        self._bucket.put(_key(name), self._spool, self._spool.tell())
        self._spool.close()

    def abort(self) -> None:
        self._spool.close()


class S3Staging:
    """StagingStore in a bucket; `incoming` is a local folder."""

    def __init__(self, bucket: Bucket, incoming: Path) -> None:
        self._bucket = bucket
        self._incoming = incoming

    def create(self) -> S3StagedUpload:
        return S3StagedUpload(self._bucket, self._incoming)

    def open(self, name: str) -> BinaryIO:
        return open_object(self._bucket, _key(name), f"Staged bytes {name} are gone. Send them again.")

    def remove(self, name: str) -> None:
        self._bucket.remove(_key(name))

    def older(self, seconds: float) -> Iterator[str]:
        limit = time.time() - seconds
        return (stored.key.rpartition("/")[2] for stored in self._bucket.list("staged/") if stored.modified < limit)


def _key(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name[:80]!r} is no name of staged bytes: 64 lower-case hex digits are needed.")
    return f"staged/{name[:2]}/{name}"

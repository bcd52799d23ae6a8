"""One bucket on any S3 server: the only module that knows boto3. Every call has time-outs and a bounded number of tries.

What is missing raises ObjectNotFound; every other failure is Unavailable, and its message says what the operator can do.
"""

import io
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from storage.errors import DiskFull, ObjectNotFound, Unavailable
from storage.limits import MIB

_TRIES = 3
_SLICE = 64 * MIB  # of one file that is put in parts; S3 takes at most 10,000
_COPIED = 256 * MIB  # by one call: the server may have to read and write it all before it answers
_PARTS = 10_000
_PAGES = 100
_PROBE = b"KohakuHub wrote this to see whether it can."
_MISSING = frozenset(("404", "NoSuchKey", "NoSuchUpload", "NotFound"))
_NO_ROOM = frozenset(("XMinioStorageFull", "QuotaExceeded", "InsufficientStorage"))
_LATER = "Try again in a moment."
_REFUSED = "Check KOHAKU_HUB_S3_ACCESS_KEY, KOHAKU_HUB_S3_SECRET_KEY and KOHAKU_HUB_S3_BUCKET; else try again in a moment."
_FIXES = {  # servers have more codes than these: `_REFUSED` is for all others
    "InvalidAccessKeyId": "It does not know the access key. Check KOHAKU_HUB_S3_ACCESS_KEY.",
    "SignatureDoesNotMatch": "The secret key is wrong. Check KOHAKU_HUB_S3_SECRET_KEY and KOHAKU_HUB_S3_REGION.",
    "AccessDenied": "The key may not read, write and delete there. Check KOHAKU_HUB_S3_ACCESS_KEY and the rights of its owner.",
    "403": "The key may not do that there. Check KOHAKU_HUB_S3_ACCESS_KEY, KOHAKU_HUB_S3_SECRET_KEY and the rights of their owner.",
    "NoSuchBucket": "There is no such bucket. Make it, or set KOHAKU_HUB_S3_BUCKET.",
    "RequestTimeTooSkewed": "The clocks differ. Set the clock of this machine or of the S3 server.",
    "AuthorizationHeaderMalformed": "The region is another one. Check KOHAKU_HUB_S3_REGION.",
}


@dataclass(frozen=True, slots=True)
class S3Config:
    endpoint: str
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str
    region: str
    connections: int  # kept open; one for each thread
    connect_seconds: float
    read_seconds: float  # without a byte


class Stored(NamedTuple):
    key: str
    modified: float  # seconds since the epoch, by the server's clock
    size: int


class StoredPart(NamedTuple):
    """Of an upload that is not complete."""

    tag: str
    size: int


class Bucket:
    """Objects by key. Thread-safe; `close` lets the connections go."""

    def __init__(self, config: S3Config) -> None:
        self.config = config
        self._name = config.bucket
        session = boto3.session.Session()  # what it reads for the first client, a tenth of a second, serves the second
        self._client = _client(session, config, _TRIES)
        self._prober = _client(session, config, 1)

    def close(self) -> None:
        self._client.close()
        self._prober.close()

    def size(self, key: str) -> int | None:
        """None where nothing is."""
        try:
            with self._asking(f"look at {key}"):
                return int(self._client.head_object(Bucket=self._name, Key=key)["ContentLength"])
        except ObjectNotFound:
            return None

    def get(self, key: str, start: int, end: int) -> "Body":
        """Bytes from `start` up to `end` as they come."""
        with self._asking(f"read {key}"):
            answer = self._client.get_object(Bucket=self._name, Key=key, Range=f"bytes={start}-{end - 1}")
        body = Body(self, key, answer["Body"])
        if answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
            body.close()
            raise Unavailable(f"S3 at {self.config.endpoint} does not answer ranges of {key}. Use another S3 server.")
        return body

    def put(self, key: str, file: BinaryIO, size: int) -> None:
        """The first `size` bytes of a seekable file, durable and visible at once when it returns."""
        if size <= _SLICE:
            with self._asking(f"write {key}"):
                self._client.put_object(Bucket=self._name, Key=key, Body=Slice(file, 0, size), ContentLength=size)
            return
        upload = self.begin(key)
        try:
            starts = range(0, size, _SLICE)
            tags = [self.put_part(key, upload, n, Slice(file, at, min(_SLICE, size - at))) for n, at in enumerate(starts, 1)]
            self.complete(key, upload, tags)
        except Unavailable:
            self.abort(key, upload)
            raise

    def begin(self, key: str) -> str:
        """An upload in parts; nothing is visible before it is complete."""
        with self._asking(f"begin {key}"):
            return str(self._client.create_multipart_upload(Bucket=self._name, Key=key)["UploadId"])

    def put_part(self, key: str, upload: str, number: int, part: "Slice") -> str:
        """The part's tag. A part is 5 MiB at least, except for the last."""
        with self._asking(f"write part {number} of {key}"):
            answer = self._client.upload_part(
                Bucket=self._name, Key=key, UploadId=upload, PartNumber=number, Body=part, ContentLength=part.size
            )
        return str(answer["ETag"])

    def complete(self, key: str, upload: str, tags: list[str]) -> None:
        parts = [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]
        with self._asking(f"complete {key}"):
            self._client.complete_multipart_upload(Bucket=self._name, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})

    def abort(self, key: str, upload: str) -> None:
        """Asked once: where it fails, `abort_older` comes by later."""
        try:
            with self._asking(f"give up {key}"):
                self._prober.abort_multipart_upload(Bucket=self._name, Key=key, UploadId=upload)
        except (ObjectNotFound, Unavailable):
            return

    def parts(self, key: str, upload: str) -> dict[int, list[StoredPart]]:
        """What has come of an upload, by number; the last of each list came last (some servers keep all that came for a number).

        Raises ObjectNotFound once the upload is complete or given up.
        """
        found: dict[int, list[StoredPart]] = {}
        marker: dict[str, int] = {}
        for _ in range(_PAGES):
            with self._asking(f"list parts of {key}"):
                page = self._client.list_parts(Bucket=self._name, Key=key, UploadId=upload, **marker)
            rows = sorted(page.get("Parts", ()), key=lambda row: row["LastModified"])
            for row in rows:
                found.setdefault(int(row["PartNumber"]), []).append(StoredPart(str(row["ETag"]), int(row["Size"])))
            if not page.get("IsTruncated") or not rows:
                break
            marker = {"PartNumberMarker": max(found)}
        return found

    def copy(self, source: str, target: str, size: int, *, in_parts: bool = False) -> Iterator[None]:
        """On the server, without its bytes coming here. Yields between pieces of work; `target` shows nothing before the last one."""
        where = {"Bucket": self._name, "Key": source}
        if size <= _COPIED and not in_parts:
            with self._asking(f"copy to {target}"):
                self._client.copy_object(Bucket=self._name, Key=target, CopySource=where)
            return
        step, upload, tags = max(_COPIED, -(-size // _PARTS)), self.begin(target), []
        try:
            for number, start in enumerate(range(0, size, step), 1):
                name = {"Bucket": self._name, "Key": target, "UploadId": upload, "PartNumber": number}
                with self._asking(f"copy part {number} to {target}"):
                    answer = self._client.upload_part_copy(
                        **name, CopySource=where, CopySourceRange=f"bytes={start}-{min(start + step, size) - 1}"
                    )
                tags.append(str(answer["CopyPartResult"]["ETag"]))
                yield
            self.complete(target, upload, tags)
            upload = ""
        finally:
            if upload:
                self.abort(target, upload)

    def remove(self, key: str) -> None:
        """Also where nothing is."""
        with self._asking(f"remove {key}"):
            self._client.delete_object(Bucket=self._name, Key=key)

    def list(self, prefix: str) -> Iterator[Stored]:
        token: dict[str, str] = {}
        while True:
            with self._asking(f"list {prefix}"):
                page = self._client.list_objects_v2(Bucket=self._name, Prefix=prefix, **token)
            for row in page.get("Contents", ()):
                yield Stored(row["Key"], row["LastModified"].timestamp(), int(row["Size"]))
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def abort_older(self, prefix: str, seconds: float) -> None:
        """Give up uploads in parts that a crash or a client left behind.

        The first page is asked for again and again, since servers have trouble with the next ones; where keys begin with their day the old
        ones stand on it.
        """
        limit = datetime.now(UTC) - timedelta(seconds=seconds)
        for _ in range(_PAGES):
            with self._asking("list unfinished uploads"):
                page = self._client.list_multipart_uploads(Bucket=self._name, Prefix=prefix)
            old = [row for row in page.get("Uploads", ()) if row["Initiated"] < limit]
            for row in old:
                self.abort(row["Key"], row["UploadId"])
            if not old or not page.get("IsTruncated"):
                return

    def ping(self) -> None:
        """One short question, asked once: a listing, since what a server refuses to HEAD comes without the reason."""
        with self._asking(f"reach bucket {self._name}"):
            self._prober.list_objects_v2(Bucket=self._name, Prefix="probe/", MaxKeys=1)

    def create(self) -> None:
        """Make the bucket unless it is there."""
        with suppress(ObjectNotFound, Unavailable):
            self.ping()
            return
        region = self.config.region
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        with self._asking(f"make bucket {self._name}"):
            self._client.create_bucket(Bucket=self._name, **where)

    def check(self) -> None:
        """Write, read, read a range of and delete a small object. Raises Unavailable with the fix."""
        key = f"probe/{uuid.uuid4().hex}"
        try:
            self.ping()
            self.put(key, io.BytesIO(_PROBE), len(_PROBE))
            for start, end in ((0, len(_PROBE)), (9, 20)):
                body = self.get(key, start, end)
                if body.read(len(_PROBE)) != _PROBE[start:end]:
                    raise Unavailable(f"S3 at {self.config.endpoint} gives other bytes than were written. Use another S3 server.")
                body.close()
            self.remove(key)
        except ObjectNotFound as error:
            raise self._refusal(f"use bucket {self._name}", "NoSuchBucket") from error

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _MISSING:
                raise ObjectNotFound(f"S3 has nothing there: could not {what}.") from error
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))
            if status == DiskFull.status or code in _NO_ROOM:
                raise DiskFull(f"The hub's S3 at {self.config.endpoint} is full ({code or status}). Ask the operator.") from error
            raise self._refusal(what, code, _REFUSED if status < 500 else _LATER) from error
        except (BotoCoreError, OSError) as error:
            raise Unavailable(
                f"Could not {what}: S3 at {self.config.endpoint} does not answer ({type(error).__name__}). Try again in a moment;"
                " the operator checks KOHAKU_HUB_S3_ENDPOINT and that server."
            ) from error

    def _refusal(self, what: str, code: str, otherwise: str = _LATER) -> Unavailable:
        fix = _FIXES.get(code, otherwise)
        return Unavailable(f"Could not {what}: S3 at {self.config.endpoint} answered {code or 'an error'}. {fix}")


class Body:
    """The bytes of one answer."""

    def __init__(self, bucket: Bucket, key: str, stream: Any) -> None:
        self._bucket = bucket
        self._key = key
        self._stream = stream

    def read(self, size: int) -> bytes:
        """Raises Unavailable when the connection breaks."""
        with self._bucket._asking(f"read {self._key}"):
            return bytes(self._stream.read(size))

    def close(self) -> None:
        self._stream.close()


class Slice(io.RawIOBase):
    """A part of a seekable file as a file of its own, which boto3 rewinds to try again."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file = file
        self._start = start
        self.size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        return self._position

    def read(self, size: int = -1) -> bytes:
        left = max(self.size - self._position, 0)
        self._file.seek(self._start + self._position)
        data = self._file.read(left if size is None or size < 0 else min(size, left))
        self._position += len(data)
        return data


def _client(session: Any, config: S3Config, tries: int) -> Any:
    """Keys and address come from our settings alone. The signature covers the bytes, so that what was hashed here is what is stored."""
    return session.client(
        "s3",
        endpoint_url=config.endpoint,
        aws_access_key_id=config.access_key,
        aws_secret_access_key=config.secret_key,
        region_name=config.region,
        config=Config(
            signature_version="s3v4",
            connect_timeout=config.connect_seconds,
            read_timeout=config.read_seconds,
            max_pool_connections=config.connections,
            retries={"mode": "standard", "total_max_attempts": tries},
            proxies={},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path", "payload_signing_enabled": True},
        ),
    )

"""The StagingStore contract, and the URLs that S3 stores hand out."""

import calendar
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from storage.blobs.base import Served, StagingStore
from storage.blobs.bucket import Bucket
from storage.blobs.presign import Signer
from storage.blobs.s3_staging import S3Staging
from storage.blobs.staging import DiskStaging
from storage.errors import Invalid, ObjectNotFound
from tests.servers.s3 import S3_SERVERS

NAME = "ab" * 32
SERVED = Served("application/octet-stream", "attachment; filename*=UTF-8''%C3%A9%20b.bin; filename=\"_ b.bin\"")


@pytest.fixture(params=["disk", *S3_SERVERS])
def store(request: pytest.FixtureRequest, tmp_path: Path, open_bucket: Callable[[str], Bucket]) -> StagingStore:
    (tmp_path / "incoming").mkdir()
    if request.param in S3_SERVERS:
        return S3Staging(open_bucket(request.param), tmp_path / "incoming")
    return DiskStaging(tmp_path / "staged", tmp_path / "incoming")


def test_round_trip(store: StagingStore, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    upload = store.create()
    upload.write(memoryview(data)[:1000])
    upload.write(data[1000:])
    with pytest.raises(ObjectNotFound, match="Send them again"):
        store.open(NAME)
    upload.publish(NAME)
    upload.abort()
    with store.open(NAME) as file:
        file.seek(999)
        assert file.read() == data[999:]
    assert list((tmp_path / "incoming").iterdir()) == []
    assert list(store.older(3600)) == []
    assert list(store.older(-60)) == [NAME]
    store.remove(NAME)
    store.remove(NAME)
    assert list(store.older(-60)) == []


def test_names_and_aborts(store: StagingStore, tmp_path: Path) -> None:
    upload = store.create()
    upload.write(b"x")
    upload.abort()
    upload.abort()
    assert list((tmp_path / "incoming").iterdir()) == []
    for name in ("../../etc/passwd", "", "a" * 63 + "\n"):
        with pytest.raises(Invalid):
            store.open(name)


def test_a_url_is_signed_as_boto3_signs_it(s3_server: Any) -> None:
    config = s3_server.config("some-bucket")
    signer = Signer(config, s3_server.endpoint, 600)
    client = s3_server.client()
    wanted = {"ResponseContentType": SERVED.content_type, "ResponseContentDisposition": SERVED.disposition}
    theirs = client.generate_presigned_url("get_object", {"Bucket": "some-bucket", "Key": "a/b", **wanted}, 600)
    stamp = parse_qs(urlsplit(theirs).query)["X-Amz-Date"][0]
    ours = signer.url("a/b", SERVED, calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ")))

    assert parse_qs(urlsplit(ours).query) == parse_qs(urlsplit(theirs).query)
    assert urlsplit(ours).path == urlsplit(theirs).path


def test_a_url_for_a_part_is_signed_as_boto3_signs_it(s3_server: Any) -> None:
    config = s3_server.config("some-bucket")
    client = s3_server.client()
    wanted = {"Bucket": "some-bucket", "Key": "a/b", "UploadId": "id with / and +=", "PartNumber": 12, "ContentLength": 5000}
    theirs = client.generate_presigned_url("upload_part", wanted, 700)
    stamp = parse_qs(urlsplit(theirs).query)["X-Amz-Date"][0]
    now = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ"))
    ours = Signer(config, s3_server.endpoint, 600).part_url("a/b", "id with / and +=", (12, 5000), 700, now)

    assert parse_qs(urlsplit(ours).query) == parse_qs(urlsplit(theirs).query)
    assert urlsplit(ours).path == urlsplit(theirs).path


def test_a_url_is_bound_to_object_and_headers(bucket: Bucket) -> None:
    for key in ("a", "b"):
        bucket.put(key, io.BytesIO(b"<script>"), 8)
    url = Signer(bucket.config, bucket.config.endpoint, 600).url("a", SERVED)
    answer = requests.get(url, timeout=10)
    changed = [url.replace("/a?", "/b?"), url.replace("attachment", "inline"), url.replace("octet-stream", "xhtml"), url.split("?")[0]]

    assert (answer.status_code, answer.content) == (200, b"<script>")
    assert answer.headers["Content-Disposition"] == SERVED.disposition
    assert answer.headers["Content-Type"] == SERVED.content_type
    assert [requests.get(other, timeout=10).status_code for other in changed] == [403] * 4
    assert requests.put(url, data=b"x", timeout=10).status_code == 403
    expired = Signer(bucket.config, bucket.config.endpoint, 5).url("a", SERVED, time.time() - 60)
    assert requests.get(expired, timeout=10).status_code == 403

"""Uploads that go to S3 without the hub, over HTTP: what is admitted, and what never becomes an object."""

import hashlib
import http.client
import json
import os
import secrets
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from lfs.transfers.actions import Actions
from lfs.transfers.direct_uploads import DirectUploads
from storage.blobs.bucket import Bucket
from storage.blobs.presign import Signer
from storage.limits import GIB, Limits
from storage.multipart.base import Parted
from storage.multipart.quarantine import S3Quarantine
from storage.records import BlobRef
from tests.servers.s3 import S3_SERVERS, S3Server

MIB = 1 << 20
MEDIA_TYPE = "application/vnd.git-lfs+json"
LFS = {"Content_Type": MEDIA_TYPE, "Accept": MEDIA_TYPE}
LIMITS = {"lfs_direct_bytes": 100_000, "lfs_multipart_bytes": 6 * MIB, "lfs_part_bytes": 5 * MIB}


@dataclass(frozen=True)
class World:
    """A hub of two worker processes, and the S3 server that its clients reach."""

    hub: Any
    s3: S3Server
    bucket: str

    def keys(self, prefix: str) -> list[str]:
        return self.s3.keys(self.bucket, prefix)

    def pooled(self, data: bytes) -> bytes | None:
        """What the pool has under the id of `data`."""
        oid = hashlib.sha256(data).hexdigest()
        client = self.s3.client()
        try:
            body = client.get_object(Bucket=self.bucket, Key=f"pool/sha256/{oid[:2]}/{oid[2:4]}/{oid}")["Body"]
            return bytes(body.read())
        except client.exceptions.NoSuchKey:
            return None

    def smuggle(self, url: str, data: bytes) -> None:
        """Put other bytes where `url` leads, as if S3 did not look at their length."""
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        key = parts.path.removeprefix(f"/{self.bucket}/")
        client = self.s3.client()
        client.upload_part(Bucket=self.bucket, Key=key, UploadId=query["uploadId"], PartNumber=int(query["partNumber"]), Body=data)


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {"KOHAKU_HUB_LIMITS": json.dumps(LIMITS)}


@pytest.fixture(scope="module", params=S3_SERVERS)
def world(request: Any, new_launcher: Any, environment: dict[str, str], tmp_path_factory: Any) -> Iterator[World]:
    s3 = request.getfixturevalue(request.param)
    bucket = s3.make_bucket()
    made = s3.environment(bucket, PUBLIC_ENDPOINT=s3.endpoint) | environment
    launcher = new_launcher(tmp_path_factory.mktemp("direct") / "data", made)
    launcher.users()
    hub = launcher.start("--workers", "2")
    yield World(hub, s3, bucket)
    assert hub.stop() == 0
    assert "unexpected error" not in hub.log.read_text("utf-8")


def spec(data: bytes) -> dict[str, Any]:
    return {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}


def ask(hub: Any, name: str, *contents: bytes, **more: Any) -> Any:
    body = {"operation": "upload", "objects": [spec(data) for data in contents], **more}
    return hub.call("POST", f"/{name}.git/info/lfs/objects/batch", body, **LFS).json()


def actions(world: World, name: str, data: bytes) -> tuple[str, str]:
    """Where to send it, and the path of the hub that verifies it."""
    (shown,) = ask(world.hub, name, data)["objects"]
    upload, verify = (shown["actions"][verb] for verb in ("upload", "verify"))
    assert upload["href"].startswith(world.s3.endpoint)
    assert "header" not in upload
    return upload["href"], verify["href"].removeprefix(world.hub.url)


def put(url: str, data: bytes) -> tuple[int, str]:
    """Status and etag."""
    request = urllib.request.Request(url, data, {"Content-Type": "application/octet-stream"}, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers["ETag"].strip('"')
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""
    except (ConnectionError, urllib.error.URLError, http.client.HTTPException):
        return 0, ""  # refused before all was read


def verify(hub: Any, path: str, data: bytes) -> Any:
    return hub.call("POST", path, spec(data), token="", **LFS)


def test_up_verify_and_down(world: World) -> None:
    name, data = world.hub.repo(private=True), os.urandom(300_000)
    href, check = actions(world, name, data)
    assert put(href, data)[0] == 200
    assert "actions" in ask(world.hub, name, data)["objects"][0]  # it is nothing yet
    assert world.pooled(data) is None
    assert verify(world.hub, check, data).status == 200
    assert verify(world.hub, check, data).status == 200

    assert ask(world.hub, name, data)["objects"] == [spec(data)]
    assert world.pooled(data) == data
    assert world.keys("quarantine/") == []


def test_small_objects_go_through_the_hub(world: World) -> None:
    large, small = os.urandom(100_001), os.urandom(100_000)
    shown = ask(world.hub, world.hub.repo(), large, small)["objects"]

    origins = [each["actions"]["upload"]["href"].partition("/api/")[0] for each in shown]
    assert origins[0].startswith(world.s3.endpoint)
    assert origins[1] == world.hub.url


def test_other_bytes_are_refused_and_removed(world: World) -> None:
    name, data = world.hub.repo(), os.urandom(300_000)
    href, check = actions(world, name, data)
    assert put(href, data[:-1] + bytes([data[-1] ^ 1]))[0] == 200
    refused = verify(world.hub, check, data)

    assert refused.status == 422
    assert "are not those of object" in refused.json()["message"]
    assert (world.pooled(data), world.keys("quarantine/")) == (None, [])
    assert put(href, data)[0] != 200  # this upload is over
    assert verify(world.hub, check, data).status == 404
    again, check = actions(world, name, data)
    assert (put(again, data)[0], verify(world.hub, check, data).status) == (200, 200)


@pytest.mark.parametrize("size", [299_999, 300_001])
def test_another_length_is_refused_by_s3_and_by_the_hub(world: World, size: int) -> None:
    name, data, wrong = world.hub.repo(), os.urandom(300_000), os.urandom(size)
    href, check = actions(world, name, data)
    assert put(href, wrong)[0] in (0, 403)
    assert verify(world.hub, check, data).status == 404
    world.smuggle(href, wrong)
    refused = verify(world.hub, check, data)

    assert refused.status == 422
    assert f"{size} bytes came" in refused.json()["message"]
    assert (world.pooled(data), world.keys("quarantine/")) == (None, [])


def test_what_did_not_come(world: World) -> None:
    data = os.urandom(300_000)
    href, check = actions(world, world.hub.repo(), data)
    missing = verify(world.hub, check, data)

    assert missing.status == 404
    assert "did not come" in missing.json()["message"]
    assert verify(world.hub, check, b"something else").status == 404
    assert put(href, data)[0] == 200
    assert verify(world.hub, check, data).status == 200


def test_a_url_that_is_used_again_changes_nothing(world: World) -> None:
    name, data = world.hub.repo(), os.urandom(300_000)
    href, check = actions(world, name, data)
    assert put(href, data)[0] == 200
    assert verify(world.hub, check, data).status == 200
    assert put(href, bytes(len(data)))[0] != 200
    assert put(href, data)[0] != 200

    assert verify(world.hub, check, data).status == 200
    assert world.pooled(data) == data
    assert world.keys("quarantine/") == []


def test_the_token_is_of_one_repository_object_and_upload(world: World) -> None:
    name, other, data = world.hub.repo(), world.hub.repo(), os.urandom(300_000)
    href, check = actions(world, name, data)
    _, elsewhere = actions(world, other, data)
    assert put(href, data)[0] == 200
    assert verify(world.hub, elsewhere, data).status == 404  # there nothing came
    mine, theirs = (urlsplit(path) for path in (check, elsewhere))
    of_mine, of_theirs = (dict(parse_qs(each.query)) for each in (mine, theirs))
    forged = [
        f"{theirs.path}?{mine.query}",
        check.replace(of_mine["name"][0], of_theirs["name"][0]),
        check.replace("&part_bytes=300000", "&part_bytes=300001"),
        check.replace(f"expires={of_mine['expires'][0]}", f"expires={int(of_mine['expires'][0]) + 1}"),
        check.replace("/verify?", "/complete?"),
        "&".join(pair for pair in check.split("&") if not pair.startswith(("name=", "upload="))),
    ]

    assert [verify(world.hub, path, data).status for path in forged] == [403] * len(forged)
    assert world.pooled(data) is None
    assert "actions" in ask(world.hub, other, data)["objects"][0]
    assert verify(world.hub, check, data).status == 200


def test_many_verify_at_once(world: World) -> None:
    name, data = world.hub.repo(), os.urandom(5 * MIB)
    uploads = [actions(world, name, data) for _ in range(2)]
    for href, _ in uploads:
        assert put(href, data)[0] == 200
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda check: verify(world.hub, check, data), [check for _, check in uploads] * 4))

    assert [answer.status for answer in answers] == [200] * 8
    assert world.pooled(data) == data
    assert world.keys("quarantine/") == []


def parts_of(world: World, name: str, data: bytes) -> tuple[list[str], str]:
    """The URLs of the parts, and the path that completes them."""
    answer = ask(world.hub, name, data, transfers=["basic", "multipart"])
    upload = answer["objects"][0]["actions"]["upload"]
    assert (answer["transfer"], upload["header"].pop("chunk_size")) == ("multipart", str(5 * MIB))
    assert upload["href"].startswith(world.hub.url)
    assert all(url.startswith(world.s3.endpoint) for url in upload["header"].values())
    return [upload["header"][number] for number in sorted(upload["header"])], upload["href"].removeprefix(world.hub.url)


def complete(hub: Any, path: str, data: bytes, etags: list[str]) -> Any:
    parts = [{"partNumber": number, "etag": f'"{etag}"'} for number, etag in enumerate(etags, 1)]
    return hub.call("POST", path, {"oid": spec(data)["oid"], "parts": parts}, token="", **LFS)


def test_in_parts(world: World) -> None:
    name, data = world.hub.repo(private=True), os.urandom(11 * MIB)
    urls, finish = parts_of(world, name, data)
    etags = [put(url, data[start : start + 5 * MIB])[1] for url, start in zip(urls, range(0, len(data), 5 * MIB), strict=True)]
    missing = complete(world.hub, finish, data, etags[:2])
    wrong = complete(world.hub, finish, data, [etags[0], "0" * 32, etags[2]])
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: complete(world.hub, finish, data, etags), range(4)))

    assert [missing.status, wrong.status] == [400, 400]
    assert "Part 2 is here with another etag" in wrong.json()["message"]
    assert [answer.status for answer in answers] == [200] * 4
    assert ask(world.hub, name, data)["objects"] == [spec(data)]
    assert world.pooled(data) == data
    assert world.keys("quarantine/") == []
    assert put(urls[0], data[: 5 * MIB])[0] != 200


def test_parts_of_other_bytes(world: World) -> None:
    data = os.urandom(11 * MIB)
    urls, finish = parts_of(world, world.hub.repo(), data)
    etags = [put(url, data[start : start + 5 * MIB])[1] for url, start in zip(urls, range(0, len(data), 5 * MIB), strict=True)]
    etags[1] = put(urls[1], bytes(5 * MIB))[1]
    refused = complete(world.hub, finish, data, etags)

    assert refused.status == 422
    assert (world.pooled(data), world.keys("quarantine/")) == (None, [])


def test_what_nobody_verified_is_in_no_repository(world: World) -> None:
    name, data = world.hub.repo(), os.urandom(300_000)
    href, _ = actions(world, name, data)
    assert put(href, data)[0] == 200
    lines = [
        {"key": "header", "value": {"summary": "Add", "description": ""}},
        {"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", **spec(data)}},
    ]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    refused = world.hub.call("POST", f"/api/models/{name}/commit/main", body, Content_Type="application/x-ndjson")

    assert refused.status == 400
    assert spec(data)["oid"] in refused.body.decode()


@pytest.fixture
def start(new_launcher: Any, s3_server: S3Server, environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Starts hubs on one bucket: on one data directory, one after the other."""
    bucket = s3_server.make_bucket()
    launchers: dict[str, Any] = {}
    running = []

    def start_one(data: str = "data", **more: str) -> World:
        if data not in launchers:
            made = s3_server.environment(bucket, PUBLIC_ENDPOINT=s3_server.endpoint) | environment | more
            launchers[data] = new_launcher(tmp_path / data, made)
            if len(launchers) == 1:
                launchers[data].users()
            launchers[data].tokens = next(iter(launchers.values())).tokens
        running.append(launchers[data].start())
        return World(running[-1], s3_server, bucket)

    yield start_one
    for hub in running:
        assert hub.stop() in (0, -signal.SIGKILL)


@pytest.mark.parametrize("is_parted", [False, True], ids=["basic", "multipart"])
@pytest.mark.parametrize("is_late", [False, True], ids=["before", "during"])
def test_a_hub_that_dies_before_the_end(start: Callable[..., World], *, is_parted: bool, is_late: bool) -> None:
    """All that the next one needs is in the URL."""
    world = start()
    name, data = world.hub.repo(), os.urandom(11 * MIB)
    if is_parted:
        urls, path = parts_of(world, name, data)
        etags = [put(url, data[start : start + 5 * MIB])[1] for url, start in zip(urls, range(0, len(data), 5 * MIB), strict=True)]
    else:
        href, path = actions(world, name, data)
        etags = [put(href, data)[1]]

    def finish(hub: Any) -> Any:
        return complete(hub, path, data, etags) if is_parted else verify(hub, path, data)

    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(finish, world.hub) if is_late else None
        until = time.monotonic() + 30
        while first and not first.done() and not world.keys("quarantine/") and time.monotonic() < until:
            time.sleep(0.001)
        world.hub.process.send_signal(signal.SIGKILL)
        world.hub.process.wait(30)
        if first:
            first.exception(60)
    answer = finish(start().hub)

    assert answer.status == 200, answer
    assert world.pooled(data) == data
    assert world.keys("quarantine/") == []


def test_two_machines_at_once(start: Callable[..., World], postgres: Any) -> None:
    more = {"KOHAKU_HUB_DATABASE_URL": postgres.create(), "KOHAKU_HUB_SESSION_SECRET": secrets.token_hex(32)}
    world, other = start("one", **more), start("two", **more)
    name, data = world.hub.repo(), os.urandom(5 * MIB)
    href, check = actions(world, name, data)
    assert put(href, data)[0] == 200
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda hub: verify(hub, check, data), [world.hub, other.hub] * 3))

    assert [answer.status for answer in answers] == [200] * 6
    assert world.pooled(data) == data
    assert world.keys("quarantine/") == []


def test_behind_the_proxy_setting_all_goes_through_the_hub(start: Callable[..., World]) -> None:
    hub = start(KOHAKU_HUB_S3_PROXY="true").hub
    shown = ask(hub, hub.repo(), os.urandom(11 * MIB), transfers=["basic", "multipart"])["objects"][0]["actions"]

    assert all(url.startswith(hub.url) for url in (shown["upload"]["href"], shown["upload"]["header"]["00001"], shown["verify"]["href"]))


def test_which_objects_go_to_s3(bucket: Bucket, tmp_path: Path) -> None:
    public = "http://s3.example.org"
    quarantine = S3Quarantine(bucket, tmp_path, Signer(bucket.config, public, 600))
    blobs = [BlobRef(f"{size:064x}", size) for size in (0, 10, 11, 5 * GIB, 5 * GIB + 1)]
    uploads = DirectUploads(quarantine, Actions(b"k" * 32, 60), Limits(lfs_direct_bytes=10))

    def sizes(part_bytes: int, origin: str) -> list[int]:
        return sorted(blob.size for blob in uploads.begin([Parted("r1", blob, part_bytes) for blob in blobs * 2], origin))

    assert sizes(0, "http://hub.example.org") == [11, 5 * GIB]  # S3 takes no larger one in one part
    assert sizes(5 * MIB, "http://hub.example.org") == [11, 5 * GIB, 5 * GIB + 1]
    assert sizes(0, public) == []  # a proxy that gives S3 the hub's own address
    assert DirectUploads(None, Actions(b"k" * 32, 60), Limits()).begin([Parted("r1", blobs[3], 0)], public) == {}

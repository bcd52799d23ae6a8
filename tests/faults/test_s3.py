"""S3 that is refused, hangs, is busy, breaks or is cut: a plain answer within the limit, nothing half stored, and the retry succeeds."""

import hashlib
import http.client
import io
import json
import os
import time
import urllib.request
from typing import Any

import pytest

from storage.blobs.bucket import Bucket
from storage.blobs.s3 import S3BlobStore, open_object, pieces_of
from storage.errors import Unavailable
from storage.limits import MIB
from storage.records import BlobRef
from tests.servers.faults import FaultProxy
from tests.servers.s3 import S3_SERVERS

FAULTS = ("refuse", "hang", "busy", "broken")


@pytest.mark.parametrize("fault", FAULTS)
def test_an_upload_fails_plainly_and_the_next_succeeds(bucket: Bucket, proxy: FaultProxy, tmp_path: Any, fault: str) -> None:
    data = os.urandom(17 * MIB)
    blob = BlobRef(hashlib.sha256(data).hexdigest(), len(data))
    store = S3BlobStore(bucket, tmp_path, None)
    proxy.set(fault)
    started = time.monotonic()
    upload = store.upload(blob)
    with pytest.raises(Unavailable, match="Try again in a moment"):
        upload.write(data)
    upload.abort()
    assert time.monotonic() - started < 30
    proxy.set("pass")
    assert not store.exists(blob)
    again = store.upload(blob)
    again.write(data)
    again.commit()
    assert store.exists(blob)
    assert list(tmp_path.iterdir()) == []


def test_a_range_that_is_cut_is_asked_again(bucket: Bucket, proxy: FaultProxy) -> None:
    data = os.urandom(3 * MIB)
    bucket.put("x", io.BytesIO(data), len(data))
    proxy.set("cut", MIB // 2)
    file = open_object(bucket, "x", "")
    assert b"".join(pieces_of(file)) == data


def test_a_range_that_is_cut_for_ever_is_given_up(bucket: Bucket, proxy: FaultProxy) -> None:
    bucket.put("x", io.BytesIO(bytes(3 * MIB)), 3 * MIB)
    file = open_object(bucket, "x", "")
    proxy.set("cut", 20)
    with file, pytest.raises(Unavailable):
        file.read()


def action(hub: Any, name: str, operation: str, data: bytes) -> str:
    """The path of the action URL for `data`."""
    wanted = {"operation": operation, "objects": [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}]}
    kind = "application/vnd.git-lfs+json"
    answer = hub.call("POST", f"/{name}.git/info/lfs/objects/batch", wanted, Content_Type=kind, Accept=kind)
    return str(answer.json()["objects"][0]["actions"][operation]["href"]).removeprefix(hub.url)


def test_each_door_says_503_and_the_retry_succeeds(faulty_hub: Any, proxy: FaultProxy) -> None:
    name = faulty_hub.repo()
    data = os.urandom(2 * MIB)
    put = action(faulty_hub, name, "upload", data)
    for fault in FAULTS:
        proxy.set(fault)
        started = time.monotonic()
        refused = faulty_hub.call("PUT", put, data, token="")
        ready = faulty_hub.call("GET", "/readyz", token="")
        assert (refused.status, ready.status) == (503, 503)
        assert "Try again" in json.loads(refused.body)["message"]
        assert b"S3" in ready.body
        assert faulty_hub.call("GET", f"/api/models/{name}").status == 200  # what needs no S3 goes on
        assert time.monotonic() - started < 30
    proxy.set("pass")
    assert faulty_hub.call("PUT", put, data, token="").status == 200
    get = action(faulty_hub, name, "download", data)
    for fault in FAULTS:
        proxy.set(fault)
        assert faulty_hub.call("GET", get, token="").status == 503
    proxy.set("pass")
    assert faulty_hub.call("GET", get, token="").body == data
    assert faulty_hub.call("GET", get, token="", Range="bytes=5-104").body == data[5:105]
    assert faulty_hub.call("GET", "/readyz", token="").status == 200


def test_what_came_without_the_hub_waits_for_s3(faulty_launcher: Any, s3_server: Any, proxy: FaultProxy) -> None:
    """Clients reach S3, the hub does not: nothing is lost of what they sent."""
    hub = faulty_launcher.start(environment={"KOHAKU_HUB_S3_PUBLIC_ENDPOINT": s3_server.endpoint})
    name, data = hub.repo(), os.urandom(17 * MIB)
    wanted = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    kind = {"Content_Type": "application/vnd.git-lfs+json", "Accept": "application/vnd.git-lfs+json"}
    body = {"operation": "upload", "objects": [wanted]}
    path = f"/{name}.git/info/lfs/objects/batch"
    actions = hub.call("POST", path, body, **kind).json()["objects"][0]["actions"]
    verify = actions["verify"]["href"].removeprefix(hub.url)
    with urllib.request.urlopen(urllib.request.Request(actions["upload"]["href"], data, method="PUT"), timeout=60) as answer:
        assert answer.status == 200
    for fault in FAULTS:
        proxy.set(fault)
        started = time.monotonic()
        for asked in (hub.call("POST", verify, wanted, token="", **kind), hub.call("POST", path, body, **kind)):
            assert asked.status == 503
            assert "ry again" in json.loads(asked.body)["message"]
        assert time.monotonic() - started < 40
    proxy.set("pass")

    assert hub.call("POST", verify, wanted, token="", **kind).status == 200
    assert hub.call("POST", path, body, **kind).json()["objects"] == [wanted]
    assert hub.stop() == 0


def test_an_answer_that_breaks_after_its_headers_is_cut_short(faulty_hub: Any, proxy: FaultProxy) -> None:
    """Nothing else may follow in its body: the client would take it for the object's."""
    name = faulty_hub.repo()
    data = os.urandom(64 * MIB)
    assert faulty_hub.call("PUT", action(faulty_hub, name, "upload", data), data, token="").status == 200
    with urllib.request.urlopen(faulty_hub.url + action(faulty_hub, name, "download", data), timeout=60) as response:
        got = response.read(1000)
        proxy.set("refuse")
        with pytest.raises((http.client.IncompleteRead, ConnectionError)) as caught:
            response.read()
    rest = getattr(caught.value, "partial", b"")

    assert data.startswith(got + rest)
    assert len(got + rest) < len(data)
    assert "cut off" in faulty_hub.log.read_text()


WRONG = {
    "KOHAKU_HUB_S3_ACCESS_KEY": "nobody",
    "KOHAKU_HUB_S3_SECRET_KEY": "wrong",
    "KOHAKU_HUB_S3_BUCKET": "no-such-bucket",
    "KOHAKU_HUB_S3_ENDPOINT": "http://127.0.0.1:9",
}


@pytest.mark.parametrize("setting", WRONG)
@pytest.mark.parametrize("server", S3_SERVERS)
def test_a_start_that_cannot_use_s3_names_the_setting(request: Any, launcher: Any, server: str, setting: str) -> None:
    s3 = request.getfixturevalue(server)
    environment = s3.environment(s3.make_bucket()) | {setting: WRONG[setting]}
    with pytest.raises(AssertionError, match=f"did not start:(.|\n)*{setting}"):
        launcher.start(environment=environment)

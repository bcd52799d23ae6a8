"""LFS over HTTP: what a batch tells whom, and bytes in and out through its URLs."""

import hashlib
import http.client
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

MEDIA_TYPE = "application/vnd.git-lfs+json"
LFS = {"Content_Type": MEDIA_TYPE, "Accept": MEDIA_TYPE}


def spec(data: bytes) -> dict[str, Any]:
    return {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}


def batch(hub: Any, name: str, operation: str, data: bytes, token: str | None = None) -> Any:
    body = {"operation": operation, "objects": [spec(data)]}
    return hub.call("POST", f"/{name}.git/info/lfs/objects/batch", body, token=token, **LFS)


def action(hub: Any, name: str, operation: str, data: bytes, verb: str = "") -> str:
    """The path and query of the action."""
    href = batch(hub, name, operation, data).json()["objects"][0]["actions"][verb or operation]["href"]
    assert href.startswith(hub.url)
    return str(href.removeprefix(hub.url))


def upload(hub: Any, name: str, data: bytes) -> None:
    answer = hub.call("PUT", action(hub, name, "upload", data), data, token="", Content_Type="application/octet-stream")
    assert answer.status == 200, answer


def test_up_verify_and_down(hub: Any) -> None:
    name, data = hub.repo(private=True), os.urandom(300_000)
    verify = action(hub, name, "upload", data, "verify")
    assert hub.call("POST", verify, spec(data), token="", **LFS).status == 404
    upload(hub, name, data)

    assert hub.call("POST", verify, spec(data), token="", **LFS).status == 200
    assert hub.call("POST", verify, spec(data) | {"size": 1}, token="", **LFS).status == 422
    assert batch(hub, name, "upload", data).json()["objects"] == [spec(data)]
    assert hub.call("GET", action(hub, name, "download", data), token="").body == data


@pytest.mark.parametrize("path", ["/{0}.git", "/{0}", "/models/{0}.git", "/models/{0}"])
def test_every_path_of_a_repository(hub: Any, path: str) -> None:
    url = path.format(hub.repo()) + "/info/lfs/objects/batch"

    assert hub.call("POST", url, {"operation": "download", "objects": []}, **LFS).json()["objects"] == []


def test_who_may(hub: Any) -> None:
    public, private, data = hub.repo(), hub.repo(private=True), b"weights"
    upload(hub, public, data)
    asked = batch(hub, public, "upload", b"other", token="")

    assert batch(hub, public, "download", data, token="").status == 200
    assert asked.status == 401
    assert asked.headers["WWW-Authenticate"].startswith("Basic")
    assert asked.headers["LFS-Authenticate"].startswith("Basic")
    assert batch(hub, public, "upload", b"other", token=hub.token2).status == 403
    assert batch(hub, private, "download", data, token="").status == 401
    assert batch(hub, private, "download", data, token=hub.token2).status == 404
    missing = batch(hub, "alice/there-is-none", "download", data, token=hub.token2)
    assert missing.json()["message"] == batch(hub, private, "download", data, token=hub.token2).json()["message"]


def test_the_bytes_of_another_repository_must_be_sent_again(hub: Any) -> None:
    private, data = hub.repo(private=True), os.urandom(1000)
    upload(hub, private, data)
    made = hub.call("POST", "/api/repos/create", {"type": "model", "name": "t" + os.urandom(6).hex()}, token=hub.token2)
    name = made.json()["url"].removeprefix(hub.url + "/")

    (up,) = batch(hub, name, "upload", data, token=hub.token2).json()["objects"]
    (down,) = batch(hub, name, "download", data, token=hub.token2).json()["objects"]
    assert "upload" in up["actions"]
    assert down["error"]["code"] == 404
    refused = hub.call("PUT", up["actions"]["upload"]["href"].removeprefix(hub.url), b"x" * 1000, token="")
    assert refused.status == 400
    assert "Send the file again" in refused.json()["message"]
    assert batch(hub, name, "download", data, token=hub.token2).json()["objects"][0]["error"]["code"] == 404


def test_wrong_lengths_are_refused_and_leave_nothing(hub: Any) -> None:
    name, data = hub.repo(), os.urandom(1000)
    url = action(hub, name, "upload", data)

    assert hub.call("PUT", url, data[:-1], token="").status == 422
    assert hub.call("PUT", url, data + b"x", token="").status == 422
    assert chunked(hub, url, [data, b"x"]) == 422
    assert chunked(hub, url, [data[:500]]) == 400
    assert not list((hub.data / "incoming").glob("upload-*"))
    assert chunked(hub, url, [data[:500], data[500:]]) == 200


def chunked(hub: Any, path: str, pieces: list[bytes]) -> int:
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=30)
    try:
        connection.request("PUT", path, iter(pieces), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("header", "status", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=990-", 206, 990, 1000),
        ("bytes=-10", 206, 990, 1000),
        ("bytes=500-5000", 206, 500, 1000),
        ("bytes=0-1,5-6", 200, 0, 1000),
        ("bytes=9-5", 200, 0, 1000),
    ],
)
def test_ranges(hub: Any, header: str, status: int, start: int, end: int) -> None:
    name, data = hub.repo(), os.urandom(1000)
    upload(hub, name, data)
    answer = hub.call("GET", action(hub, name, "download", data), token="", Range=header)

    assert (answer.status, answer.body) == (status, data[start:end])
    if status == 206:
        assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/1000"


def test_conditions(hub: Any) -> None:
    name, data = hub.repo(), os.urandom(1000)
    upload(hub, name, data)
    url = action(hub, name, "download", data)
    tag = f'"{hashlib.sha256(data).hexdigest()}"'
    behind = hub.call("GET", url, token="", Range="bytes=1000-")

    assert (behind.status, behind.headers["Content-Range"]) == (416, "bytes */1000")
    assert hub.call("GET", url, token="", Range="bytes=1-2", If_Range=tag).status == 206
    for condition in ('"other"', f"W/{tag}", f'"other", {tag}', tag.strip('"'), "*", "Tue, 24 Nov 2026 20:00:00 GMT"):
        whole = hub.call("GET", url, token="", Range="bytes=1-2", If_Range=condition)
        assert (whole.status, whole.body) == (200, data), condition
    assert hub.call("GET", url, token="", If_None_Match=tag).status == 304
    head = hub.call("HEAD", url, token="")
    assert (head.status, head.headers["Content-Length"], head.body) == (200, "1000", b"")


def test_media_types(hub: Any) -> None:
    url = f"/{hub.repo()}.git/info/lfs/objects/batch"
    body = {"operation": "download", "objects": []}

    assert hub.call("POST", url, body, Content_Type="text/plain").status == 415
    assert hub.call("POST", url, b"{", **LFS).status == 400


def test_many_upload_the_same_object_at_once(hub: Any) -> None:
    name, data = hub.repo(), os.urandom(2_000_000)
    url = action(hub, name, "upload", data)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: hub.call("PUT", url, data, token="").status, range(8)))

    assert answers == [200] * 8
    assert hub.call("GET", action(hub, name, "download", data), token="").body == data


def test_an_upload_that_is_cut_off_leaves_nothing(hub: Any) -> None:
    name, data = hub.repo(), os.urandom(100_000)
    url, place = action(hub, name, "upload", data), urlsplit(hub.url)
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(f"PUT {url} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data[:50_000])
        wait_for(lambda: bool(list((hub.data / "incoming").glob("upload-*"))))
    wait_for(lambda: not list((hub.data / "incoming").glob("upload-*")))

    assert batch(hub, name, "download", data).json()["objects"][0]["error"]["code"] == 404


def wait_for(claim: Any) -> None:
    until = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_slow_bodies_end(launcher: Any) -> None:
    launcher.users()
    hub = launcher.start(environment={"KOHAKU_HUB_LIMITS": '{"body_seconds": 1}'})
    try:
        name, place = hub.repo(), urlsplit(hub.url)
        url = action(hub, name, "upload", b"x" * 1000)
        with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
            connection.sendall(f"PUT {url} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nxx".encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 400")
    finally:
        assert hub.stop() == 0


def test_memory_does_not_grow_with_an_object(hub: Any) -> None:
    name, size, piece = hub.repo(), 256 << 20, os.urandom(1 << 20)
    digest = hashlib.sha256()
    for _ in range(size >> 20):
        digest.update(piece)
    body = {"operation": "upload", "objects": [{"oid": digest.hexdigest(), "size": size}]}
    path = f"/{name}.git/info/lfs/objects/batch"
    href = hub.call("POST", path, body, **LFS).json()["objects"][0]["actions"]["upload"]["href"]
    before = psutil.Process(hub.process.pid).memory_info().rss

    assert chunked(hub, href.removeprefix(hub.url), [piece] * (size >> 20)) == 200
    href = hub.call("POST", path, body | {"operation": "download"}, **LFS).json()["objects"][0]["actions"]["download"]["href"]
    assert drain(hub, href.removeprefix(hub.url)) == digest.hexdigest()
    assert psutil.Process(hub.process.pid).memory_info().rss - before < 64 << 20


def drain(hub: Any, path: str) -> str:
    """The sha256 of what comes."""
    digest = hashlib.sha256()
    connection = http.client.HTTPConnection(urlsplit(hub.url).netloc, timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        while data := response.read(1 << 20):
            digest.update(data)
    finally:
        connection.close()
    return digest.hexdigest()

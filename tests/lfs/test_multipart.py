"""Objects in parts: over HTTP as huggingface_hub sends them, and everything that may go wrong on the way."""

import hashlib
import http.client
import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from storage.limits import MIB

MEDIA_TYPE = "application/vnd.git-lfs+json"
LFS = {"Content_Type": MEDIA_TYPE, "Accept": MEDIA_TYPE}
BOTH = ["basic", "multipart"]
SIZE = 3 * MIB + 500_000


class Upload:
    """One object on its way to a hub, as a batch's `answer` told. Bytes that are sent are `data`; what was announced stays."""

    def __init__(self, hub: Any, name: str, data: bytes, answer: Any = None) -> None:
        self.hub = hub
        self.name = name
        self.data = data
        self.spec = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
        objects = (answer or self.batch("upload").json())["objects"]
        self.actions = next(item for item in objects if item["oid"] == self.spec["oid"])["actions"]
        self.header = dict(self.actions["upload"]["header"])
        self.chunk = int(self.header.pop("chunk_size"))

    def batch(self, operation: str) -> Any:
        body = {"operation": operation, "transfers": BOTH, "objects": [self.spec], "hash_algo": "sha256"}
        return self.hub.call("POST", f"/{self.name}.git/info/lfs/objects/batch", body, **LFS)

    def path(self, number: int = 0, action: str = "upload") -> str:
        """The path and query of a part, or of an action."""
        href = self.header[f"{number:05}"] if number else self.actions[action]["href"]
        assert href.startswith(self.hub.url)
        return str(href.removeprefix(self.hub.url))

    def part(self, number: int) -> bytes:
        return self.data[(number - 1) * self.chunk : number * self.chunk]

    def send(self, number: int, data: bytes | None = None) -> str:
        answer = self.hub.call("PUT", self.path(number), self.part(number) if data is None else data, token="")
        assert answer.status == 200, answer
        return str(answer.headers["ETag"])

    def send_all(self) -> list[dict[str, Any]]:
        """The parts as a completion names them."""
        return [{"partNumber": number, "etag": self.send(number)} for number in range(1, len(self.header) + 1)]

    def complete(self, parts: list[dict[str, Any]], /, **changed: Any) -> Any:
        return self.hub.call("POST", self.path(), {"oid": self.spec["oid"], "parts": parts} | changed, token="", **LFS)

    def stored(self) -> bytes | None:
        (item,) = self.batch("download").json()["objects"]
        if "error" in item:
            assert item["error"]["code"] == 404
            return None
        href = item["actions"]["download"]["href"].removeprefix(self.hub.url)
        return bytes(self.hub.call("GET", href, token="").body)

    def folders(self) -> list[Path]:
        return list((self.hub.data / "incoming").glob(f"parts-*{self.spec['oid']}*"))

    def pooled(self) -> bool:
        return bool(list((self.hub.data / "pool").rglob(self.spec["oid"])))


@pytest.fixture
def upload(parts_hub: Any) -> Upload:
    return Upload(parts_hub, parts_hub.repo(private=True), os.urandom(SIZE))


def test_parts_verify_and_down(upload: Upload) -> None:
    assert list(upload.actions["upload"]["header"]) == ["chunk_size", "00001", "00002", "00003", "00004"]
    assert upload.actions["upload"]["header"]["chunk_size"] == str(MIB)
    parts = upload.send_all()
    assert [part["etag"] for part in parts] == [f'"{hashlib.sha256(upload.part(number)).hexdigest()}"' for number in (1, 2, 3, 4)]
    assert upload.stored() is None
    assert upload.complete(parts).status == 200

    assert upload.hub.call("POST", upload.path(action="verify"), upload.spec, **LFS).status == 200
    assert upload.stored() == upload.data
    assert upload.batch("upload").json()["objects"] == [upload.spec]
    assert upload.folders() == []


def ask(hub: Any, name: str, blobs: list[bytes], transfers: Any = BOTH, operation: str = "upload") -> Any:
    objects = [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)} for data in blobs]
    body = {"operation": operation, "objects": objects} | ({} if transfers is None else {"transfers": transfers})
    return hub.call("POST", f"/{name}.git/info/lfs/objects/batch", body, **LFS).json()


def test_one_answer_is_in_one_transfer(parts_hub: Any) -> None:
    name, large, small = parts_hub.repo(), os.urandom(2 * MIB + 1), os.urandom(1000)
    mixed = ask(parts_hub, name, [large, small])
    headers = [item["actions"]["upload"]["header"] for item in mixed["objects"]]

    assert mixed["transfer"] == "multipart"
    assert [len(header) - 1 for header in headers] == [3, 1]
    for data in (large, small):
        one = Upload(parts_hub, name, data, mixed)
        assert one.complete(one.send_all()).status == 200
        assert one.stored() == data
    assert ask(parts_hub, name, [large, b"another"])["transfer"] == "basic"  # nothing large is left to send


@pytest.mark.parametrize("transfers", [None, [], ["basic"], "multipart", {"multipart": 1}, [["multipart"], None, 5]], ids=str)
def test_who_does_not_list_multipart_gets_basic(parts_hub: Any, transfers: Any) -> None:
    answer = ask(parts_hub, parts_hub.repo(), [os.urandom(3 * MIB)], transfers)

    assert answer["transfer"] == "basic"
    assert "header" not in answer["objects"][0]["actions"]["upload"]


def test_small_objects_and_downloads_are_basic(parts_hub: Any, upload: Upload) -> None:
    assert ask(parts_hub, upload.name, [os.urandom(2 * MIB)])["transfer"] == "basic"
    assert upload.complete(upload.send_all()).status == 200
    assert ask(parts_hub, upload.name, [upload.data], operation="download")["transfer"] == "basic"


def test_a_lost_part_is_sent_again(upload: Upload) -> None:
    parts = [{"partNumber": number, "etag": upload.send(number)} for number in (1, 3, 4)]
    parts.insert(1, {"partNumber": 2, "etag": f'"{hashlib.sha256(upload.part(2)).hexdigest()}"'})
    refused = upload.complete(parts)
    assert (refused.status, upload.stored(), upload.pooled()) == (400, None, False)
    assert "Part 2 did not come" in refused.json()["message"]
    upload.send(2)

    assert upload.complete(parts).status == 200
    assert upload.stored() == upload.data


def test_a_part_sent_twice_replaces_the_first(upload: Upload) -> None:
    first = upload.send(2, b"x" * MIB)
    parts = upload.send_all()
    refused = upload.complete([*parts[:1], {"partNumber": 2, "etag": first}, *parts[2:]])

    assert (refused.status, "another etag" in refused.json()["message"]) == (400, True)
    assert upload.complete(parts).status == 200
    assert upload.stored() == upload.data


def renumbered(parts: list[dict[str, Any]], *numbers: int) -> dict[str, Any]:
    return {"parts": [parts[number - 1] for number in numbers]}


REFUSED = {
    "an etag of other bytes": (lambda p: {"parts": [p[0] | {"etag": '"' + "0" * 64 + '"'}, *p[1:]]}, "another etag"),
    "an etag that is none": (lambda p: {"parts": [p[0] | {"etag": ""}, *p[1:]]}, "another etag"),
    "no etag": (lambda p: {"parts": [{"partNumber": 1}, *p[1:]]}, "Entry 1"),
    "no number": (lambda p: {"parts": [*p[:3], {"etag": p[3]["etag"]}]}, "Entry 4"),
    "a number that is text": (lambda p: {"parts": [p[0] | {"partNumber": "1"}, *p[1:]]}, "Entry 1"),
    "a number that is a claim": (lambda p: {"parts": [p[0] | {"partNumber": True}, *p[1:]]}, "Entry 1"),
    "one part too few": (lambda p: renumbered(p, 1, 2, 3), "4 parts, but 3"),
    "one part too many": (lambda p: {"parts": [*p, p[3] | {"partNumber": 5}]}, "4 parts, but 5"),
    "no parts": (lambda p: {"parts": []}, "4 parts, but 0"),
    "parts in another order": (lambda p: renumbered(p, 2, 1, 3, 4), "Entry 1 of parts is part 2"),
    "a part named twice": (lambda p: renumbered(p, 1, 1, 3, 4), "Entry 2 of parts is part 1"),
    "parts that are no list": (lambda p: {"parts": {"1": p[0]}}, "list of parts"),
    "parts that are no objects": (lambda p: {"parts": [1, 2, 3, 4]}, "Entry 1"),
    "another oid": (lambda p: {"oid": "0" * 64}, "Use the URL of that object"),
    "no oid": (lambda p: {"oid": None}, "completion"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_completion_is_refused_and_stores_nothing(upload: Upload, case: str) -> None:
    change, message = REFUSED[case]
    parts = upload.send_all()
    refused = upload.complete(parts, **change(parts))

    assert refused.status == 400, refused
    assert message in refused.json()["message"]
    assert (upload.stored(), upload.pooled()) == (None, False)
    assert upload.complete(parts).status == 200  # what came is still there


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"[" * 100_000])
def test_a_completion_that_is_none(upload: Upload, body: bytes) -> None:
    answer = upload.hub.call("POST", upload.path(), body, token="")

    assert (answer.status, bool(answer.json()["message"])) == (400, True)


def test_a_completion_has_a_limit(upload: Upload) -> None:
    assert upload.hub.call("POST", upload.path(), b" " * (4 * MIB + 1), token="").status == 413


def test_other_bytes_are_refused_and_store_nothing(upload: Upload) -> None:
    upload.data = upload.data[:-1] + bytes([upload.data[-1] ^ 1])
    refused = upload.complete(upload.send_all())

    assert refused.status == 400
    assert "Send the file again" in refused.json()["message"]
    assert (upload.stored(), upload.pooled()) == (None, False)
    assert list((upload.hub.data / "incoming").glob("upload-*")) == []


@pytest.mark.parametrize(("number", "size"), [(1, MIB - 1), (1, MIB + 1), (4, MIB), (4, 499_999), (1, 0)])
def test_a_part_of_another_size_is_refused(upload: Upload, number: int, size: int) -> None:
    assert upload.hub.call("PUT", upload.path(number), b"x" * size, token="").status == 422
    assert chunked(upload, number, b"x" * size) == (422 if size > len(upload.part(number)) else 400)
    assert [file for folder in upload.folders() for file in folder.iterdir()] == []


def chunked(upload: Upload, number: int, data: bytes) -> int:
    """The status of a PUT that does not announce its length."""
    connection = http.client.HTTPConnection(urlsplit(upload.hub.url).netloc, timeout=30)
    try:
        connection.request("PUT", upload.path(number), iter([data]), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("number=1", "number=2"),
        (f"part_bytes={MIB}", "part_bytes=1000"),
        (f"size={SIZE}", f"size={SIZE + 1}"),
        ("/part?", "/upload?"),
        ("/part?", "/complete?"),
        ("expires=", "expires=9"),
        ("signature=", "signature=0"),
    ],
)
def test_a_changed_url_is_refused(upload: Upload, old: str, new: str) -> None:
    path = upload.path(1).replace(old, new)
    assert path != upload.path(1)
    answer = upload.hub.call("POST" if "complete" in new else "PUT", path, upload.part(1), token="")

    assert answer.status == 403
    assert upload.folders() == []


@pytest.mark.parametrize("old", ["number=1", "part_bytes=", "expires=", "signature="])
def test_a_url_without_a_piece_is_refused(upload: Upload, old: str) -> None:
    answer = upload.hub.call("PUT", upload.path(1).replace(old, "x="), upload.part(1), token="")

    assert answer.status == 403
    assert upload.folders() == []


def test_the_repository_is_gone(upload: Upload) -> None:
    parts = upload.send_all()
    body = {"type": "model", "name": upload.name.split("/")[1]}
    assert upload.hub.call("DELETE", "/api/repos/delete", body).status == 200

    assert upload.hub.call("PUT", upload.path(1), upload.part(1), token="").status == 404
    assert upload.complete(parts).status == 404
    assert not upload.pooled()


def test_a_repeated_completion(upload: Upload) -> None:
    parts = upload.send_all()

    assert [upload.complete(parts).status for _ in range(3)] == [200, 200, 200]
    assert upload.folders() == []


def test_the_parts_of_one_repository_are_not_those_of_another(upload: Upload) -> None:
    parts = upload.send_all()
    other = Upload(upload.hub, upload.hub.repo(), upload.data)

    assert "did not come" in other.complete(parts).json()["message"]
    assert upload.complete(parts).status == 200
    assert other.stored() is None


def test_completions_at_once(upload: Upload) -> None:
    parts = upload.send_all()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: upload.complete(parts).status, range(8)))

    assert answers == [200] * 8
    assert upload.stored() == upload.data
    assert (upload.folders(), list((upload.hub.data / "incoming").glob("upload-*"))) == ([], [])


def test_uploads_of_one_object_at_once(upload: Upload) -> None:
    def run(_: int) -> int:
        return int(upload.complete(upload.send_all()).status)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(run, range(4)))

    assert answers == [200] * 4
    assert upload.stored() == upload.data


def wait_for(claim: Any) -> None:
    until = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_part_that_is_still_written_cannot_change_the_object(upload: Upload) -> None:
    parts, place = upload.send_all(), urlsplit(upload.hub.url)
    head = f"PUT {upload.path(2)} HTTP/1.1\r\nHost: h\r\nContent-Length: {MIB}\r\n\r\n".encode()
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        connection.sendall(head + b"x" * (MIB - 1000))
        wait_for(lambda: list(upload.folders()[0].glob("part-*")))
        assert upload.complete(parts).status == 200
        connection.sendall(b"x" * 1000)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")

    assert upload.stored() == upload.data
    assert upload.folders() == []


def test_a_part_that_is_cut_off_leaves_the_earlier_one(upload: Upload) -> None:
    parts, place = upload.send_all(), urlsplit(upload.hub.url)
    (folder,) = upload.folders()
    with socket.create_connection((place.hostname, place.port)) as connection:
        connection.sendall(f"PUT {upload.path(2)} HTTP/1.1\r\nHost: h\r\nContent-Length: {MIB}\r\n\r\n".encode() + b"x" * 5000)
        wait_for(lambda: list(folder.glob("part-*")))
    wait_for(lambda: not list(folder.glob("part-*")))

    assert upload.complete(parts).status == 200
    assert upload.stored() == upload.data


def test_killed_between_parts(launcher: Any) -> None:
    launcher.users()
    environment = {"KOHAKU_HUB_LIMITS": json.dumps({"lfs_multipart_bytes": 2 * MIB, "lfs_part_bytes": MIB})}
    hub = launcher.start(environment=environment)
    upload = Upload(hub, hub.repo(), os.urandom(SIZE))
    etags = [upload.send(1), upload.send(2)]
    hub.process.send_signal(signal.SIGKILL)
    hub.process.wait(30)

    old, upload.hub = hub.url, launcher.start(environment=environment)
    upload.header = {key: href.replace(old, upload.hub.url) for key, href in upload.header.items()}
    upload.actions["upload"]["href"] = upload.actions["upload"]["href"].replace(old, upload.hub.url)
    etags += [upload.send(3), upload.send(4)]
    assert upload.complete([{"partNumber": number, "etag": etag} for number, etag in enumerate(etags, 1)]).status == 200
    assert upload.stored() == upload.data
    assert upload.hub.stop() == 0


def test_memory_does_not_grow_with_an_object(parts_hub: Any) -> None:
    upload = Upload(parts_hub, parts_hub.repo(), os.urandom(MIB) * 160)
    parts = upload.send_all()
    before = psutil.Process(parts_hub.process.pid).memory_info().rss
    assert upload.complete(parts).status == 200

    assert psutil.Process(parts_hub.process.pid).memory_info().rss - before < 32 * MIB
    assert upload.folders() == []

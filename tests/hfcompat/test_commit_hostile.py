"""Hostile commits: each refused in words, the branch stays, nothing is stored, and memory stays where it was."""

import base64
import http.client
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from storage.limits import Limits
from tests.hfcompat.commits import Target, head, large, line, put

LIMITS = Limits()
MIB = 1 << 20


@pytest.fixture(scope="module")
def target(hub: Any) -> Target:
    """One repository for all: nothing here may change it."""
    target = Target(hub, hub.repo())
    target.made(put("a.txt", b"a"), put("f/b.txt", b"b"))
    return target


def refused(target: Target, *lines: bytes) -> tuple[int, str]:
    """Status and message of a commit that must leave everything as it was."""
    tip, stored = target.tip(), target.stored()
    answer = target.commit(*lines)
    assert (target.tip(), target.stored()) == (tip, stored)
    message = answer.json()["error"]
    assert answer.headers["X-Error-Message"]
    assert len(message) > 20
    return answer.status, message


PATHS = {
    "empty": "",
    "a dot": ".",
    "dots": "..",
    "up": "../x",
    "up within": "a/../b",
    "up at the end": "a/..",
    "this": "a/./b",
    "absolute": "/abs",
    "empty part": "a//b",
    "slash at the end": "a/",
    "only a slash": "/",
    "git": ".git/config",
    "git itself": ".git",
    "git below": "x/.git/hooks/post-update",
    "git in capitals": ".GIT/x",
    "git in mixed case": "a/.GiT",
    "short name": "git~1",
    "short name in capitals": "GIT~1/x",
    "zero width": ".g\u200cit/x",
    "byte order mark": ".git\ufeff",
    "point at the end": ".git./x",
    "space at the end": ".git /x",
    "stream": ".git:x",
    "index allocation": ".git::$INDEX_ALLOCATION/x",
    "backslash": "a\\b",
    "backslash up": "..\\x",
    "backslash git": "x\\.git\\config",
    "drive": "C:\\x",
    "nul": "a\0b",
    "newline": "a\nb",
    "return": "a\rb",
    "tab": "a\tb",
    "escape": "\x1b[31m",
    "delete": "a\x7f",
    "too long": "x/" * 1000,
    "long part": "x" * 256,
    "long in bytes": "\u20ac" * 86,
}


@pytest.mark.parametrize("name", PATHS)
def test_a_path(target: Target, name: str) -> None:
    path = PATHS[name]
    for one in (put(path), large(path, b"x"), line("copyFile", path=path, srcPath="a.txt"), line("copyFile", path="x", srcPath=path)):
        assert refused(target, head(), put("good.txt"), one)[0] == 422
    if path not in ("a/", "x/" * 1000):
        assert refused(target, head(), line("deletedFile", path=path))[0] == 422


@pytest.mark.parametrize("path", [None, 5, True, [], {}, ["a"], {"a": 1}])
def test_a_path_that_is_no_text(target: Target, path: object) -> None:
    for one in (put(path), large(path, b"x"), *[line(key, path=path) for key in ("deletedFile", "deletedFolder", "copyFile")]):
        assert refused(target, head(), one) == (422, "A path must be a text that is not empty.")


@pytest.mark.parametrize("path", [".gitmodules", "x/.GITMODULES", "gitmod~1"])
def test_control_files_of_git_are_judged_as_in_a_push(target: Target, path: str) -> None:
    evil = b'[submodule "../../x"]\n\tpath = y\n\turl = --upload-pack=touch /tmp/owned\n'

    assert refused(target, head(), put(path, evil))[0] == 400


def lines_that_are_none() -> dict[str, bytes]:
    return {
        "no JSON": b"{\n",
        "text": b"hello\n",
        "a list": b"[]\n",
        "a number": b"5\n",
        "null": b"null\n",
        "no key": b'{"value": {}}\n',
        "no value": b'{"key": "file"}\n',
        "a value that is a list": b'{"key": "file", "value": []}\n',
        "a key that is a list": b'{"key": ["file"], "value": {}}\n',
        "an unknown key": line("symlink", path="x", target="/etc/passwd"),
        "two headers": head(),
        "no UTF-8": b'{"key": "\xff\xfe\xfa", "value": {}}\n',
        "a huge number": b'{"key": "file", "value": {"path": "x", "content": "", "n": ' + b"9" * 5000 + b"}}\n",
        "no content": line("file", path="x"),
        "content that is a number": line("file", path="x", content=5),
        "bad base64": line("file", path="x", content="a"),
        "base64 with spaces": line("file", path="x", content="aGVs bG8="),
        "base64 with more behind": line("file", path="x", content="eA==eA=="),
        "base64 of the web": line("file", path="x", content="-_-_"),
        "base64 that is not ASCII": line("file", path="x", content="\u00e9\u00e9\u00e9\u00e9"),
        "another encoding": line("file", path="x", content="eA==", encoding="gzip"),
        "an encoding that is a list": line("file", path="x", content="eA==", encoding=["base64"]),
        "another algorithm": line("lfsFile", path="x", algo="md5", oid="ab" * 32, size=1),
        "a short oid": line("lfsFile", path="x", oid="ab", size=1),
        "an oid in capitals": line("lfsFile", path="x", oid="AB" * 32, size=1),
        "an oid that climbs": line("lfsFile", path="x", oid="../" * 21 + "x", size=1),
        "an oid with a newline": line("lfsFile", path="x", oid="ab" * 32 + "\n", size=1),
        "an oid that is a number": line("lfsFile", path="x", oid=5, size=1),
        "a negative size": line("lfsFile", path="x", oid="ab" * 32, size=-1),
        "a size in text": line("lfsFile", path="x", oid="ab" * 32, size="1"),
        "a size that is true": line("lfsFile", path="x", oid="ab" * 32, size=True),
        "a size that is no whole number": line("lfsFile", path="x", oid="ab" * 32, size=1.5),
        "UTF-16": head().decode().encode("utf-16-le"),
        "deep": b'{"key": "file", "value": ' + b'{"a": ' * 100_000 + b"{}" + b"}" * 100_001 + b"\n",
        "deep lists": b"[" * 1_000_000 + b"\n",
        "unended text": b'{"key": "' + b"x" * 1_000_000 + b"\n",
    }


@pytest.mark.parametrize("fault", lines_that_are_none())
def test_a_line(target: Target, fault: str) -> None:
    status, message = refused(target, head(), put("good.txt"), lines_that_are_none()[fault])

    assert (status, message.startswith("Line 3 of the commit is")) == (400, True)


@pytest.mark.parametrize("header", [b"", put("x"), line("header"), head(""), head(5), head(None), head("x", description=["y"])])  # type: ignore[arg-type]
def test_a_header(target: Target, header: bytes) -> None:
    assert refused(target, header)[0] == 400


@pytest.mark.parametrize("parent", ["x", "ab" * 19, "AB" * 20, "ab" * 20 + "\n", 5, ["ab" * 20], True])
def test_a_parent(target: Target, parent: object) -> None:
    status, message = refused(target, head(parentCommit=parent), put("x"))

    assert (status, "40 hex digits" in message) == (400, True)


def test_the_number_of_operations(target: Target) -> None:
    one = line("deletedFile", path="nope")

    assert refused(target, head(), one * (LIMITS.commit_operations + 1))[0] == 413
    assert refused(target, head(), one * LIMITS.commit_operations)[0] == 404


def test_long_messages(target: Target) -> None:
    assert refused(target, head("x" * (LIMITS.commit_message_bytes + 1)))[0] == 413
    assert refused(target, head("x", description="\u20ac" * (LIMITS.commit_message_bytes // 3)))[0] == 413


def test_who_may(target: Target) -> None:
    tip = target.tip()
    private = Target(target.hub, target.hub.repo(private=True))
    answers = [target.commit(head(), put("x"), token=target.hub.token2), target.commit(head(), put("x"), token="")]
    hidden = private.commit(head(), put("x"), token=target.hub.token2)

    assert [answer.status for answer in answers] == [403, 401]
    assert (hidden.status, hidden.headers["X-Error-Code"]) == (404, "RepoNotFound")
    assert target.tip() == tip


def test_bodies_in_other_encodings(target: Target) -> None:
    path = f"/api/models/{target.name}/commit/main"

    assert target.hub.call("POST", path, b"nonsense", Content_Encoding="gzip").status == 400
    assert target.hub.call("POST", path, b"x", Content_Encoding="br").status == 415


# Memory


def stream(target: Target, pieces: Iterator[bytes]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(target.hub.url).netloc, timeout=100)
    headers = {"Authorization": f"Bearer {target.hub.token}", "Transfer-Encoding": "chunked"}
    try:
        connection.request("POST", f"/api/models/{target.name}/commit/main", pieces, encode_chunked=True, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_line_of_100_mb(target: Target) -> None:
    tip, stored = target.tip(), target.stored()
    start = b'{"key": "file", "value": {"path": "x", "content": "'
    for begin in (head() + start, head(), b""):
        status, body = stream(target, iter([begin, *[b"A" * MIB] * 100]))
        assert status == 413
        assert b"Upload large files as large files" in body

    assert (target.tip(), target.stored()) == (tip, stored)


def high_water(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"))
    assert found is not None
    return int(found[1]) * 1024


def bombs() -> list[bytes]:
    """Lines of 15 MiB that would need hundreds as objects."""
    start, end = b'{"key": "file", "value": {"path": "x", "content": ', b"}}\n"
    inner = (b"[" + b"[]," * (5 * MIB) + b"[]]", b"[" + b"{}," * (5 * MIB) + b"{}]", b"[" + b'"ab",' * (3 * MIB) + b'""]')
    return [start + one + end for one in inner] + [b"[" + b"1.5," * (4 * MIB - 10) + b"1]\n"]


def test_memory_stays_where_it_was(launcher: Any) -> None:
    launcher.users()
    hub = launcher.start()
    try:
        target = Target(hub, hub.repo())
        target.made(put("a.txt", b"x" * (9 * MIB)), put("b.bin", bytes(9 * MIB)))
        before = high_water(hub.process.pid)
        for bomb in bombs():
            assert target.commit(head(), bomb).status in (400, 413)
        assert stream(target, iter([head(), *[b"A" * MIB] * 60]))[0] == 413
        content = base64.b64encode(bytes(9 * MIB)).decode()
        assert stream(target, iter([head(), *[line("file", path="z", content=content)] * 12, b"{\n"]))[0] == 400

        assert high_water(hub.process.pid) - before < 100 * MIB
        hub.wait_until_tidy()
    finally:
        assert hub.stop() == 0

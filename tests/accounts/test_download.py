"""Spans of files and of pieces, small ones held and large ones streamed, in one thread hop."""

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from httpapi.bodies import CHUNK
from httpapi.endpoint import STOPPING, Call, Endpoint, InThread, add_endpoints
from httpapi.errors import render_json
from httpapi.ranges import Content, Download, answer
from storage.errors import NotFound
from storage.records import ANONYMOUS, Access, Principal, Repo, RepoName

SIZES = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7)


class Door:
    """Lets everybody in and notes the threads that it and the reader run in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.threads: list[int] = []
        self.missing = 0  # bytes that the disk lost

    def admit(self, headers: Mapping[str, str], cookies: Mapping[str, str], address: str) -> Principal:
        self.threads.append(threading.get_ident())
        return ANONYMOUS

    def authorize(self, principal: Principal, name: RepoName | None, needs: Access, *, creates: bool = False) -> Repo | None:
        return None

    def read(self, request: web.Request, call: Call) -> Download:
        self.threads.append(threading.get_ident())
        size = int(request.match_info["size"])
        if size == 404:
            raise NotFound("No such size.")
        path = self.folder / str(size)
        path.write_bytes(data(size - self.missing))
        if request.match_info["way"] == "file":
            return answer(request, Content(size, "tag", path), {})

        def pieces() -> Iterator[bytes]:
            kept = data(size - self.missing)
            return (kept[at : at + 1000] for at in range(0, len(kept), 1000))

        return answer(request, Content(size, "tag", pieces=pieces), {})


BYTES = os.urandom(max(SIZES))


def data(size: int) -> bytes:
    return BYTES[:size]


def ask(door: Door, method: str, path: str, header: str = "", **more: str) -> tuple[int, Mapping[str, str], bytes]:
    async def run() -> tuple[int, Mapping[str, str], bytes]:
        app = web.Application()
        app[STOPPING] = asyncio.Event()
        rows = [Endpoint(verb, "/{way}/{size}", InThread(door.read), Access.NONE, render_json) for verb in ("GET", "HEAD")]
        add_endpoints(app, rows, door)
        async with TestServer(app) as server, ClientSession() as session:
            headers = {"Range": header} if header else {}
            headers |= {name.replace("_", "-"): value for name, value in more.items()}
            async with session.request(method, server.make_url(path), headers=headers) as response:
                return response.status, response.headers, await response.read()

    return asyncio.run(run())


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


@pytest.mark.parametrize("way", ["file", "pieces"])
@pytest.mark.parametrize("size", SIZES)
def test_whole_and_head(door: Door, way: str, size: int) -> None:
    whole, head = ask(door, "GET", f"/{way}/{size}"), ask(door, "HEAD", f"/{way}/{size}")

    assert (whole[0], whole[2]) == (200, data(size))
    assert (head[0], head[2]) == (200, b"")
    assert head[1]["Content-Length"] == whole[1]["Content-Length"] == str(size)
    assert head[1]["ETag"] == whole[1]["ETag"] == '"tag"'


@pytest.mark.parametrize("way", ["file", "pieces"])
@pytest.mark.parametrize(("start", "end"), [(0, 1), (5, CHUNK + 5), (5, CHUNK + 6), (CHUNK, 3 * CHUNK + 7), (3 * CHUNK + 6, 3 * CHUNK + 7)])
def test_spans(door: Door, way: str, start: int, end: int) -> None:
    status, headers, body = ask(door, "GET", f"/{way}/{max(SIZES)}", f"bytes={start}-{end - 1}")

    assert (status, body) == (206, data(max(SIZES))[start:end])
    assert headers["Content-Range"] == f"bytes {start}-{end - 1}/{max(SIZES)}"
    assert headers["Content-Length"] == str(end - start)


def test_one_thread_admits_and_reads(door: Door) -> None:
    ask(door, "GET", "/file/1")

    assert len(door.threads) == 2
    assert len(set(door.threads)) == 1
    assert door.threads[0] != threading.get_ident()


def test_an_error_of_the_reader_is_rendered(door: Door) -> None:
    status, headers, body = ask(door, "GET", "/file/404")

    assert status == 404
    assert headers["X-Error-Message"] == "No such size."
    assert b"No such size." in body


@pytest.mark.parametrize("way", ["file", "pieces"])
def test_bytes_that_the_disk_lost_are_not_passed_off_as_the_file(door: Door, way: str) -> None:
    door.missing = 1

    assert ask(door, "GET", f"/{way}/1000")[0] == 503


def test_nothing_stays_open(door: Door) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/file/10", f"/file/{2 * CHUNK}"):
        ask(door, "GET", path)

    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("way", ["file", "pieces"])
@pytest.mark.parametrize("asked", ["bytes=0-0", "bytes=0-", "bytes=-5", "bytes=0-99"])
def test_h7_the_first_bytes_of_an_empty_file(door: Door, way: str, asked: str) -> None:
    status, headers, body = ask(door, "GET", f"/{way}/0", asked)

    assert (status, headers["Content-Range"], body) == (200, "bytes */0", b"")


def test_h7_what_lies_behind_the_end_stays_refused(door: Door) -> None:
    assert ask(door, "GET", "/file/0", "bytes=1-")[0] == 416
    assert "Content-Range" not in ask(door, "GET", "/file/0")[1]


@pytest.mark.parametrize(
    ("tags", "status"),
    [('"tag"', 200), ("*", 200), ('"a", "tag"', 200), ('"other"', 412), ('W/"tag"', 412), ("tag", 412), ('"a", "b"', 412)],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_h12_if_match(door: Door, method: str, tags: str, status: int) -> None:
    answered = ask(door, method, "/file/1", If_Match=tags)

    assert answered[0] == status
    assert method == "HEAD" or status == 200 or b"If-Match" in answered[2]


@pytest.mark.parametrize(("tag", "status"), [('"tag"', 206), ('"other"', 200), ('W/"tag"', 200), ("Tue, 15 Nov 1994 12:45:26 GMT", 200)])
def test_h12_if_range(door: Door, tag: str, status: int) -> None:
    assert ask(door, "GET", "/file/1", "bytes=0-0", If_Range=tag)[0] == status

"""Bytes out by range: one answer for LFS objects, resolved files and raw files (RFC 9110 §13 and §14)."""

import asyncio
import logging
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from httpapi.bodies import CHUNK, send
from storage.errors import HubError, Stale, Unavailable

log = logging.getLogger(__name__)

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Content:
    """What may be sent: a file on disk, a stream, or pieces made on demand. `etag` is without quotes and bound to the bytes."""

    size: int
    etag: str
    path: Path | None = None
    pieces: Callable[[], Iterator[bytes]] | None = None
    open: Callable[[], BinaryIO] | None = None  # a seekable stream


@dataclass(frozen=True, slots=True)
class Span:
    start: int
    end: int  # exclusive

    @property
    def size(self) -> int:
        return self.end - self.start


class Unsatisfiable(Exception):
    """The range lies behind the end."""


def parse_range(header: str, size: int) -> Span | None:
    """The single byte range asked for, or None for the whole (no range, several, or one that makes no sense). Raises Unsatisfiable."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not size and not int(first or 0):
        return None  # the first or last bytes of nothing are all of it
    if not first:
        length = min(int(last), size)
        if length == 0:
            raise Unsatisfiable
        return Span(size - length, size)
    start, end = int(first), int(last) + 1 if last else size
    if end <= start and last:
        return None
    if start >= size:
        raise Unsatisfiable
    return Span(start, min(end, size))


@dataclass(frozen=True, slots=True)
class Download:
    """An Answer (accounts.endpoint): a response that is whole, or one that is followed by a span of a file or by pieces."""

    response: web.StreamResponse
    span: Span
    file: BinaryIO | None = None
    pieces: Iterator[bytes] | None = None

    async def send(self, request: web.Request) -> web.StreamResponse:
        if self.file is not None:
            await _send_file(request, self.response, self.file, self.span)
        elif self.pieces is not None:
            await self.response.prepare(request)
            try:
                await send(self.response, self.pieces)
            except HubError as error:  # the headers are out: only a broken connection tells the client now
                log.warning("cut off %s: %s", request.path, error.message)
                if request.transport is not None:
                    request.transport.abort()
                raise ConnectionResetError(error.message) from error
        return self.response


def answer(request: web.Request, content: Content, headers: Mapping[str, str]) -> Download:
    """200, 206, 304 or 416; a HEAD gets the headers of the whole. Opens the file or reads the small content, so it
    is called in a thread. Raises Stale where If-Match names other bytes.
    """
    _check_match(request, content)
    shown = {"ETag": f'"{content.etag}"', "Accept-Ranges": "bytes", **headers}
    whole = Span(0, content.size)
    if _matches(request.headers.get("If-None-Match", ""), content.etag):
        return Download(web.Response(status=304, headers=shown), whole)
    try:
        asked = _asked(request, content)
    except Unsatisfiable:
        return Download(web.Response(status=416, headers={"Content-Range": f"bytes */{content.size}", **shown}), whole)
    span = asked or whole
    if asked:
        shown["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{content.size}"
    elif not content.size and request.method == "GET" and "Range" in request.headers:
        shown["Content-Range"] = "bytes */0"  # tells the size to clients that ask for the first byte
    status = 206 if asked else 200
    if request.method == "HEAD":
        return Download(web.Response(status=status, headers={**shown, "Content-Length": str(span.size)}), span)
    if content.open is not None:
        return _streamed(content.open, span, status, shown)
    data = _small(content, span)
    if data is not None:
        return Download(web.Response(status=status, headers=shown, body=data), span)
    pieces = _cut(content.pieces(), span) if content.pieces is not None else None
    file = content.path.open("rb") if content.path is not None else None
    response = web.StreamResponse(status=status, headers={**shown, "Content-Length": str(span.size)})
    return Download(response, span, file, pieces)


def redirect(request: web.Request, content: Content, headers: Mapping[str, str], url: str) -> Download:
    """302, or 304 where the client has the bytes. Raises Stale."""
    _check_match(request, content)
    shown = {**headers, "ETag": f'"{content.etag}"', "Accept-Ranges": "bytes"}
    if _matches(request.headers.get("If-None-Match", ""), content.etag):
        return Download(web.Response(status=304, headers=shown), Span(0, content.size))
    return Download(web.Response(status=302, headers={**shown, "Location": url}), Span(0, content.size))


def is_conditional(request: web.Request) -> bool:
    """Whether certain bytes are asked for, or none. A client takes its conditions along to S3, which would compare with an
    ETag of its own, or not at all: the hub answers then.
    """
    return "If-Match" in request.headers or ("Range" in request.headers and "If-Range" in request.headers)


def _check_match(request: web.Request, content: Content) -> None:
    """If-Match, by strong comparison. Raises Stale."""
    header = request.headers.get("If-Match", "")
    tags = {tag.strip() for tag in header.split(",")}
    if header and tags.isdisjoint(("*", f'"{content.etag}"')):
        known = f'The ETag is "{content.etag}", which If-Match does not name.'
        raise Stale(f"{known} Read the file again, or leave If-Match out.")


def _streamed(opener: Callable[[], BinaryIO], span: Span, status: int, headers: Mapping[str, str]) -> Download:
    """The first piece is read before the headers go out, so that a store that is down is a plain error."""
    pieces = _read(opener(), span)
    first = next(pieces, b"")
    if len(first) == span.size:
        pieces.close()
        return Download(web.Response(status=status, headers=headers, body=first), span)
    response = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(span.size)})
    return Download(response, span, pieces=_after(first, pieces))


def _read(file: BinaryIO, span: Span) -> Generator[bytes, None, None]:
    left = span.size
    with file:
        file.seek(span.start)
        while left:
            piece = file.read(min(CHUNK, left))
            if not piece:
                raise Unavailable("The stored bytes are too few. Tell the operator to run the check.")
            left -= len(piece)
            yield piece


def _after(first: bytes, rest: Generator[bytes, None, None]) -> Iterator[bytes]:
    with closing(rest):
        yield first
        yield from rest


def _small(content: Content, span: Span) -> bytes | None:
    """The span if it is small enough to be held: sent with its headers at once. Raises Unavailable when bytes are missing."""
    if content.path is not None and span.size <= CHUNK:
        with content.path.open("rb", buffering=0) as file:
            file.seek(span.start)
            data = file.read(span.size)
    elif content.pieces is not None and content.size <= CHUNK:
        data = b"".join(content.pieces())[span.start : span.end]
    else:
        return None
    if len(data) != span.size:
        raise Unavailable(f"The stored bytes of {content.etag} are too few. Tell the operator to run the check.")
    return data


def _asked(request: web.Request, content: Content) -> Span | None:
    condition = request.headers.get("If-Range", "").strip()
    if request.method == "HEAD" or (condition and condition != f'"{content.etag}"'):  # strong: a weak tag or a date never matches
        return None
    return parse_range(request.headers.get("Range", ""), content.size)


def _matches(header: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")} if header else set()
    return etag in tags or "*" in tags


async def _send_file(request: web.Request, response: web.StreamResponse, file: BinaryIO, span: Span) -> None:
    loop = asyncio.get_running_loop()
    try:
        await response.prepare(request)
        assert request.transport is not None
        await loop.sendfile(request.transport, file, span.start, span.size)
    finally:
        loop.run_in_executor(None, file.close)  # nobody waits: a request that is cut off here closes its file as well
    with suppress(ConnectionError):
        await response.write_eof()


def _cut(pieces: Iterator[bytes], span: Span) -> Iterator[bytes]:
    """The part of the stream inside `span`."""
    position = 0
    for piece in pieces:
        start, end = max(span.start - position, 0), span.end - position
        position += len(piece)
        if start < len(piece) and end > 0:
            yield piece[start:end]
        if position >= span.end:
            return

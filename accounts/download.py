"""Bytes out by range: one answer for LFS objects, resolved files and raw files (RFC 9110 §13 and §14)."""

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from accounts.bodies import send

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True, slots=True)
class Content:
    """What may be sent: a file on disk, or pieces made on demand. `etag` is without quotes and bound to the bytes."""

    size: int
    etag: str
    path: Path | None = None
    pieces: Callable[[], Iterator[bytes]] | None = None


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


async def respond(request: web.Request, content: Content, headers: Mapping[str, str]) -> web.StreamResponse:
    """200, 206, 304 or 416; a HEAD gets the headers of the whole."""
    shown = {"ETag": f'"{content.etag}"', "Accept-Ranges": "bytes", **headers}
    if _matches(request.headers.get("If-None-Match", ""), content.etag):
        return web.Response(status=304, headers=shown)
    try:
        span = _asked(request, content)
    except Unsatisfiable:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{content.size}", **shown})
    whole = Span(0, content.size)
    response = web.StreamResponse(status=206 if span else 200, headers=shown)
    if span:
        response.headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{content.size}"
    response.content_length = (span or whole).size
    await response.prepare(request)
    if request.method != "HEAD":
        await _send(request, response, content, span or whole)
    return response


def _asked(request: web.Request, content: Content) -> Span | None:
    condition = request.headers.get("If-Range", "").strip()
    if request.method == "HEAD" or (condition and condition != f'"{content.etag}"'):  # strong: a weak tag or a date never matches
        return None
    return parse_range(request.headers.get("Range", ""), content.size)


def _matches(header: str, etag: str) -> bool:
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")} if header else set()
    return etag in tags or "*" in tags


async def _send(request: web.Request, response: web.StreamResponse, content: Content, span: Span) -> None:
    if content.path is not None and span.size:
        file = await asyncio.to_thread(content.path.open, "rb")
        try:
            assert request.transport is not None
            await asyncio.get_running_loop().sendfile(request.transport, file, span.start, span.size)
        finally:
            await asyncio.to_thread(file.close)
        with suppress(ConnectionError):
            await response.write_eof()
    elif content.pieces is not None:
        await send(response, _cut(content.pieces(), span))


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

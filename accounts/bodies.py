"""Bodies in and out as streams: bounded, decoded once, with back-pressure. Shared by every door."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import IO, Any

from aiohttp import ClientPayloadError, web

from storage.errors import Invalid, TooLarge, Unsupported
from storage.limits import MIB

CHUNK = 256 * 1024
_DRAINED_BYTES = MIB
_DRAINED_SECONDS = 2


async def chunks(request: web.Request, limit: int) -> AsyncIterator[bytes]:
    """The request body, gzip undone, never more than `limit` bytes of it.

    The application is made with `auto_decompress=False`. Raises TooLarge, Unsupported (another encoding) or Invalid (broken gzip).
    """
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "", "gzip", "x-gzip"):
        raise Unsupported(f"Content-Encoding {encoding!r} is not understood; send gzip or none.")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16) if "gzip" in encoding else None
    total = 0
    async for data in request.content.iter_chunked(CHUNK):
        for piece in _inflate(inflater, data) if inflater else (data,):
            total += len(piece)
            if total > limit:
                raise TooLarge(f"The request body is larger than the limit of {limit} bytes.")
            yield piece
    if inflater is not None and not inflater.eof:
        raise Invalid("The gzip body ends too early. Send the request again.")


def _inflate(inflater: "zlib._Decompress", data: bytes) -> Iterator[bytes]:
    try:
        while data:
            if inflater.eof:
                raise Invalid("There are bytes after the end of the gzip body.")
            yield inflater.decompress(data, CHUNK)
            data = inflater.unconsumed_tail or inflater.unused_data
    except zlib.error as error:
        raise Invalid(f"The gzip body is broken ({error}). Send the request again.") from error


async def batches(request: web.Request, limit: int) -> AsyncIterator[list[bytes]]:
    """The same in lists of pieces, together about a MiB each: what one hop into a thread takes along."""
    pending: list[bytes] = []
    held = 0
    async for data in chunks(request, limit):
        pending.append(data)
        held += len(data)
        if held >= MIB:
            yield pending
            pending, held = [], 0
    if pending:
        yield pending


async def spool(request: web.Request, file: IO[bytes], limit: int) -> int:
    """Write the body to `file`, off the event loop; how many bytes it was."""
    total = 0
    async for pieces in batches(request, limit):
        await asyncio.to_thread(file.writelines, pieces)
        total += sum(map(len, pieces))
    return total


async def read_all(request: web.Request, limit: int) -> bytes:
    """A small body in memory."""
    return b"".join([data async for data in chunks(request, limit)])


async def drain(request: web.Request) -> None:
    """Read on what a refused request still sends, if that is little and comes soon.

    nginx, which streams bodies, closes the client's connection when it is answered before it has passed on the whole body, and has told
    the client by then that the connection stays.
    """
    left = _DRAINED_BYTES
    with suppress(TimeoutError, ConnectionError, ClientPayloadError, web.RequestPayloadError):
        async with asyncio.timeout(_DRAINED_SECONDS):
            while left > 0 and not request.content.at_eof():
                left -= len(await request.content.readany())


async def read_json(request: web.Request, limit: int) -> Any:
    """A JSON body; raises Invalid that says what is wrong with it."""
    body = await read_all(request, limit)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Invalid("The body is not JSON that this server reads. Check the request.") from error


async def send(response: web.StreamResponse, pieces: Iterator[bytes]) -> None:
    """Write what a synchronous producer makes, one piece a thread hop; `write` waits while the client is slow."""
    try:
        while piece := await asyncio.to_thread(next, pieces, b""):
            await response.write(piece)
        await response.write_eof()
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            await asyncio.to_thread(close)

"""Bodies in and out as streams: bounded, decoded once, with back-pressure. Shared by every door."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from aiohttp import ClientPayloadError, HttpVersion11, web

from storage.errors import Invalid, TooLarge, TooSlow, Unsupported
from storage.limits import MIB

CHUNK = 256 * 1024
LINGER_SECONDS = 2.0  # for what a client that was answered early still sends
_DRAINED_BYTES = MIB
_INVITED = web.RequestKey("invited", bool)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a body must come: `rate` bytes a second over any `seconds` in which the hub waits for it."""

    rate: int = 1024
    seconds: int = 30


PACE = web.AppKey("pace", Pace)


def check_declared(request: web.Request, limit: int) -> None:
    """Raises TooLarge for a body whose declared length is over `limit`; no byte of it was read then. 0 is no limit."""
    length = request.content_length
    if limit and length is not None and length > limit:
        raise TooLarge(f"The request announces a body of {length} bytes; at most {limit} are taken here.")


async def continue_later(request: web.Request) -> None:
    """What is done about `Expect` before a request is judged: nothing. `100 Continue` goes out when the body is read."""
    if request.version >= HttpVersion11 and not _waits(request):
        raise web.HTTPExpectationFailed


async def chunks(request: web.Request, limit: int) -> AsyncIterator[bytes]:
    """The request body, gzip undone, never more than `limit` bytes of it.

    The application is made with `auto_decompress=False`. Raises TooLarge, TooSlow, Unsupported (another encoding) or Invalid
    (broken gzip).
    """
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "", "gzip", "x-gzip"):
        raise Unsupported(f"Content-Encoding {encoding!r} is not understood; send gzip or none.")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16) if "gzip" in encoding else None
    total = 0
    async for data in _arriving(request):
        for piece in _inflate(inflater, data) if inflater else (data,):
            total += len(piece)
            if total > limit:
                raise TooLarge(f"The request body is larger than the limit of {limit} bytes.")
            yield piece
    if inflater is not None and not inflater.eof:
        raise Invalid("The gzip body ends too early. Send the request again.")


async def _arriving(request: web.Request) -> AsyncIterator[bytes]:
    """The body as it is sent. Time in which the hub works on what came is not held against the client. Raises TooSlow."""
    await invite(request)
    pace, clock = request.app.get(PACE, Pace()), asyncio.get_running_loop().time
    least = pace.rate * pace.seconds
    came, until = 0, clock() + pace.seconds
    while True:
        try:
            async with asyncio.timeout_at(until):
                data = await request.content.read(CHUNK)
        except TimeoutError as error:
            if came < least:
                raise TooSlow(f"The body came too slowly: less than {least} bytes in {pace.seconds} seconds. Send it again.") from error
            came, until = 0, clock() + pace.seconds
            continue
        if not data:
            return
        came += len(data)
        handed = clock()
        yield data
        until += clock() - handed


async def invite(request: web.Request) -> None:
    """Tell a client that waits for it to send its body, once."""
    if not _waits(request) or request.get(_INVITED) or request.content.total_bytes:
        return
    request[_INVITED] = True
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # the answer itself has not begun


def _waits(request: web.Request) -> bool:
    return request.version >= HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue"


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


async def finish_body(request: web.Request, response: web.StreamResponse) -> None:
    """Before `response` goes out, whatever the view read: the connection ends with it unless the body has come to its end. A body
    that was refused for its size or pace is not waited for.
    """
    if response.status not in (TooLarge.status, TooSlow.status):
        await _drain(request)
    if not request.content.at_eof():
        response.force_close()


async def _drain(request: web.Request) -> None:
    """Read on what a request still sends, where that is little and comes soon.

    nginx, which streams bodies, closes the client's connection when it is answered before it has passed on the whole body, and has told
    the client by then that the connection stays. A client that waits for an answer, or has much to send, gets the answer first.
    """
    length = request.content_length
    if (length is not None and length > _DRAINED_BYTES) or (_waits(request) and not request.get(_INVITED)):
        return
    left = _DRAINED_BYTES
    with suppress(TimeoutError, ConnectionError, ClientPayloadError, web.RequestPayloadError):
        async with asyncio.timeout(LINGER_SECONDS):
            while left > 0 and not request.content.at_eof():
                left -= len(await request.content.readany())


async def read_json(request: web.Request, limit: int) -> Any:
    """A JSON body; raises Invalid that says what is wrong with it."""
    return parse_json(await read_all(request, limit))


def parse_json(data: bytes | bytearray, where: str = "The body") -> Any:
    """JSON from outside, in UTF-8 (RFC 8259 section 8.1). Raises Invalid, also for escapes such as `\\ud800` that are half a
    character: no text can be made of them, neither for the database nor for an answer.
    """
    try:
        text = str(data, "utf-8-sig")
        parsed = json.loads(text)
        if "\\u" in text:
            json.dumps(parsed, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise Invalid(f"{where} has a text with half a character (a lone \\uD800 to \\uDFFF). Send whole characters.") from error
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{where} is not JSON that this server reads. Check the request.") from error
    return parsed


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

"""What a request to an action URL may do, and its body as the object or part that the URL was made for."""

import asyncio
from typing import Protocol

from aiohttp import web

from accounts.repositories import Repositories
from httpapi.bodies import batches
from lfs.transfers.actions import Actions, ActionVerb, Grant
from lfs.transfers.wire import Unprocessable
from storage.errors import Invalid, NotFound, TooLarge
from storage.multipart.base import Direct

_NAMES = ("size", "expires", "signature")


class Sink(Protocol):
    def write(self, data: bytes) -> None: ...


async def granted(request: web.Request, verb: ActionVerb, actions: Actions, repos: Repositories) -> Grant:
    """`check_grant` from the loop."""
    return await asyncio.to_thread(check_grant, request, verb, actions, repos)


def check_grant(request: web.Request, verb: ActionVerb, actions: Actions, repos: Repositories) -> Grant:
    """Raises Forbidden, or NotFound when the repository is gone."""
    path, query = request.match_info, request.query
    signed = (query.get(name, "") for name in _NAMES)
    part = (query.get(name, "0") for name in ("part_bytes", "number"))
    direct = Direct(query["name"], query.get("upload", "")) if "name" in query else None
    grant = actions.check(verb, path["repo_id"], path["oid"], *signed, *part, direct=direct)
    if repos.get(grant.repo_id) is None:
        raise NotFound("The repository of this URL is gone.")
    return grant


async def receive(request: web.Request, sink: Sink, size: int, seconds: int) -> None:
    """The body to disk, about a MiB a thread hop. Raises Unprocessable for another length, Invalid for a body that takes too long."""
    length = request.content_length
    if length is not None and length != size and not request.headers.get("Content-Encoding"):
        raise Unprocessable(f"The request carries {length} bytes, but {size} are expected here. Send the file as it is.")
    try:
        async with asyncio.timeout(seconds):
            async for pieces in batches(request, size):
                await asyncio.to_thread(_write_all, sink, pieces)
    except TooLarge as error:
        raise Unprocessable(f"More bytes came than the {size} expected here. Send the file as it is.") from error
    except TimeoutError as error:
        raise Invalid(f"The upload took longer than {seconds} seconds. Send it again.") from error


def _write_all(sink: Sink, pieces: list[bytes]) -> None:
    for piece in pieces:
        sink.write(piece)

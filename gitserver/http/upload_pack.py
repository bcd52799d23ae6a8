"""Git Smart HTTP, the reading side: `GitViews(objects, versions, limits, supply, offers)`. Pushes are received in push_views.

`supply` may have packs ready; `offers` names the bundles for a request: of this repository, as these refs stand.
"""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import IO

from aiohttp import web

from accounts.access import require
from gitserver.fetch.session import PackSource, open_session
from gitserver.http.errors import NO_CACHE, render_git
from gitserver.objects.store import ObjectStores
from gitserver.protocol import capabilities, v0, v2
from gitserver.protocol.bands import gathered
from gitserver.protocol.bundle_uri import BundleLink
from gitserver.protocol.pktline import FLUSH, pkt
from gitserver.update.creation import UNBORN
from httpapi import bodies
from httpapi.endpoint import GIT_PATHS, Call, Endpoint
from storage.errors import Forbidden, HubError, Invalid, Unsupported
from storage.limits import MIB, Limits
from storage.records import Access, Repo
from storage.versions.base import Refs, VersionStore

UPLOAD = "git-upload-pack"
RECEIVE = "git-receive-pack"


def nothing_offered(request: web.Request, repo: Repo, refs: Refs) -> Sequence[BundleLink]:
    return ()


class GitViews:
    """Advertisements for both services, and upload-pack."""

    def __init__(
        self,
        objects: ObjectStores,
        versions: VersionStore,
        limits: Limits,
        supply: PackSource | None = None,
        offers: Callable[[web.Request, Repo, Refs], Sequence[BundleLink]] = nothing_offered,
        *,
        may_create: bool = False,
    ) -> None:
        self._objects = objects
        self._versions = versions
        self._supply = supply
        self._limits = limits
        self._offers = offers
        self._may_create = may_create

    def endpoints(self) -> list[Endpoint]:
        rows, most = [], self._limits.fetch_request_bytes
        for path in GIT_PATHS:
            row = partial(Endpoint, needs=Access.READ, render=render_git)
            rows.append(row("GET", path + "/info/refs", self.info_refs, creates=self._may_create))
            rows.append(row("POST", f"{path}/{UPLOAD}", self.upload_pack, most_bytes=most))
        return rows

    async def info_refs(self, request: web.Request, call: Call) -> web.StreamResponse:
        service = request.query.get("service", "")
        if call.missing is not None and service != RECEIVE:
            require(call.principal, None, call.missing, Access.READ)
        elif service == RECEIVE and call.missing is None:
            require(call.principal, call.repo, call.repo.name, Access.WRITE)
        elif service not in (UPLOAD, RECEIVE):
            raise Forbidden(
                f"Service {service[:60]!r} is not served."
                if service
                else "Dumb HTTP is not served: use a git client with Smart HTTP (git 1.6.6)."
            )
        version, session = protocol_version(request), session_of(request)
        pieces = gathered(self._advertisement(call.named_repo, service, version, session))
        return await _respond(request, f"application/x-{service}-advertisement", pieces)

    async def upload_pack(self, request: web.Request, call: Call) -> web.StreamResponse:
        expected = f"application/x-{UPLOAD}-request"
        if request.content_type != expected:
            raise Unsupported(f"Content-Type {request.content_type!r} is not understood here; git sends {expected}.")
        with tempfile.SpooledTemporaryFile(MIB) as body:
            await self._spool(request, body)
            pieces = gathered(_with_errors(self._answer(request, call.repo, body)))
            return await _respond(request, f"application/x-{UPLOAD}-result", pieces)

    async def _spool(self, request: web.Request, body: IO[bytes]) -> None:
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                await bodies.spool(request, body, self._limits.fetch_request_bytes)
        except TimeoutError as error:
            raise Invalid(f"The request took longer than {self._limits.body_seconds} seconds to arrive. Send it again.") from error
        await asyncio.to_thread(body.seek, 0)

    def _advertisement(self, repo: Repo | None, service: str, version: int, session: str) -> Iterator[bytes]:
        """Without a repository it is that of an empty one, for a push that will make it."""
        yield pkt(f"# service={service}\n".encode()) + FLUSH
        if service == UPLOAD and version == 2:
            yield v2.advertise(session)
            return
        if version == 1:
            yield pkt(b"version 1\n")
        refs = self._versions.refs(repo.id, fresh=service == UPLOAD) if repo is not None else UNBORN
        if service == UPLOAD:
            yield from v0.advertise(refs, capabilities.upload_pack_line(refs, session), with_head=True)
        else:
            yield from v0.advertise(refs, capabilities.receive_pack_line(session), with_head=False)

    def _answer(self, request: web.Request, repo: Repo, body: IO[bytes]) -> Iterator[bytes]:
        objects = self._objects.of(repo.id)
        refs = self._versions.refs(repo.id)
        session = session_of(request)
        opened = partial(open_session, objects, refs, self._versions, repo, self._supply)
        if protocol_version(request) == 2:
            offers = partial(self._offers, request, repo, refs)
            yield from v2.V2Command(objects, refs, body, self._limits, opened, offers, session).answer()
            return
        yield from v0.UploadPack(opened(), body, self._limits, session).answer()


def protocol_version(request: web.Request) -> int:
    return capabilities.version_asked(request.headers.get("Git-Protocol", ""))


def session_of(request: web.Request) -> str:
    """Our name of it in the log, as the outermost middleware gave it."""
    return str(request.get("request_id", ""))


def _with_errors(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """A refusal as an ERR line, which git shows as `remote error:`."""
    try:
        yield from pieces
    except HubError as error:
        yield pkt(b"ERR " + error.message.encode()[:1000] + b"\n")


async def _respond(request: web.Request, content_type: str, pieces: Iterator[bytes]) -> web.StreamResponse:
    """The first piece is made before the status line goes out, so that a missing repository is still an HTTP error."""
    first = await asyncio.to_thread(next, pieces, b"")
    response = web.StreamResponse(headers={"Content-Type": content_type, **NO_CACHE})
    await response.prepare(request)
    if first:
        await response.write(first)
    await bodies.send(response, pieces)
    return response

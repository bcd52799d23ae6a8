"""git-upload-pack over a connection that stays: all rounds of v0 and v1, or the commands of v2 one after the other."""

from collections.abc import Callable, Iterator
from functools import partial

from gitserver.bundles.bundles import Bundles
from gitserver.fetch.session import FetchSession, PackSource, open_session
from gitserver.objects.store import ObjectStores
from gitserver.protocol import capabilities, v0, v2
from gitserver.protocol.pktline import pkt
from gitserver.protocol.sessions import new_session
from gitserver.ssh.stream import Stream
from storage.errors import HubError, TooLarge
from storage.limits import Limits
from storage.records import Repo
from storage.versions.base import VersionStore


class Fetching:
    def __init__(
        self, objects: ObjectStores, versions: VersionStore, bundles: Bundles, limits: Limits, supply: PackSource | None = None
    ) -> None:
        self._objects = objects
        self._versions = versions
        self._bundles = bundles
        self._supply = supply
        self._limits = limits

    def serve(self, admit: Callable[[], Repo], protocol: str, origin: str, stream: Stream) -> int:
        """The exit status. `admit` asks for the right to read; `origin` is the hub's address over HTTP, if it is known."""
        version = capabilities.version_asked(protocol)
        try:
            for piece in self._commands(admit, origin, stream) if version == 2 else self._rounds(admit(), version, stream):
                stream.write(piece)
        except HubError as error:
            stream.write(pkt(b"ERR " + error.message.encode()[:1000] + b"\n"))
            return 1
        return 0

    def _commands(self, admit: Callable[[], Repo], origin: str, stream: Stream) -> Iterator[bytes]:
        session = new_session()
        yield v2.advertise(session)
        while stream.has_more():
            repo = admit()
            refs = self._versions.refs(repo.id)
            offers = partial(self._bundles.offers, repo.id, refs, origin)
            objects, measured = self._objects.of(repo.id), _Measured(stream, self._limits)
            opened = partial(open_session, objects, refs, self._versions, repo, self._supply)
            command = v2.V2Command(objects, refs, measured, self._limits, opened, offers, session)
            yield from command.answer()
            if command.is_empty:
                return

    def _rounds(self, repo: Repo, version: int, stream: Stream) -> Iterator[bytes]:
        refs = self._versions.refs(repo.id)
        name = new_session()
        if version == 1:
            yield pkt(b"version 1\n")
        yield from v0.advertise(refs, capabilities.upload_pack_line(refs, name, is_stateless=False), with_head=True)
        if stream.has_more():
            session = FetchSession(self._objects.of(repo.id), refs, self._supply)
            yield from v0.UploadPack(session, _Measured(stream, self._limits), self._limits, name, is_stateless=False).answer()


class _Measured:
    """What a client says in one request, up to the limit that there is over HTTP."""

    def __init__(self, stream: Stream, limits: Limits) -> None:
        self._stream = stream
        self._limit = limits.fetch_request_bytes
        self._left = limits.fetch_request_bytes

    def read(self, size: int, /) -> bytes:
        self._left -= size
        if self._left < 0:
            raise TooLarge(f"The request is larger than the limit of {self._limit} bytes. Fetch fewer refs at once.")
        return self._stream.read(size)

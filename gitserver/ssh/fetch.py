"""git-upload-pack over a connection that stays: all rounds of v0 and v1, or the commands of v2 one after the other."""

from collections.abc import Callable, Iterator

from gitserver.fetch.session import FetchSession, PackSupply
from gitserver.objects import ObjectStores
from gitserver.pktline import pkt
from gitserver.protocol import capabilities, v0, v2
from gitserver.ssh.stream import Stream
from storage.errors import HubError, TooLarge
from storage.limits import Limits
from storage.records import Repo
from storage.versions.base import VersionStore


class Fetching:
    def __init__(self, objects: ObjectStores, versions: VersionStore, limits: Limits, supply: PackSupply | None = None) -> None:
        self._objects = objects
        self._versions = versions
        self._supply = supply
        self._limits = limits

    def serve(self, admit: Callable[[], Repo], protocol: str, stream: Stream) -> int:
        """The exit status. `admit` asks for the right to read."""
        version = capabilities.version_asked(protocol)
        try:
            for piece in self._commands(admit, stream) if version == 2 else self._rounds(admit(), version, stream):
                stream.write(piece)
        except HubError as error:
            stream.write(pkt(b"ERR " + error.message.encode()[:1000] + b"\n"))
            return 1
        return 0

    def _commands(self, admit: Callable[[], Repo], stream: Stream) -> Iterator[bytes]:
        yield v2.advertise()
        while stream.has_more():
            repo = admit()
            refs = self._versions.refs(repo.id)
            command = v2.Command(self._objects.of(repo.id), refs, _Measured(stream, self._limits), self._limits, self._supply)
            yield from command.answer()
            if command.is_empty:
                return

    def _rounds(self, repo: Repo, version: int, stream: Stream) -> Iterator[bytes]:
        refs = self._versions.refs(repo.id)
        if version == 1:
            yield pkt(b"version 1\n")
        yield from v0.advertise(refs, capabilities.upload_pack_line(refs, is_stateless=False), with_head=True)
        if stream.has_more():
            session = FetchSession(self._objects.of(repo.id), refs, self._supply)
            yield from v0.UploadPack(session, _Measured(stream, self._limits), self._limits, is_stateless=False).answer()


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

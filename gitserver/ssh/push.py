"""git-receive-pack over a connection that stays. Nothing tells how long the pack is; its own trailer does."""

import hashlib
from collections.abc import Callable

from gitserver.protocol import capabilities, v0
from gitserver.protocol.pktline import pkt, side_band
from gitserver.protocol.sessions import new_session, note_client
from gitserver.receive.commands import PushRequest, read_request
from gitserver.receive.spool import Spool
from gitserver.ssh.entry import Admission
from gitserver.ssh.stream import Stream
from gitserver.update.creation import UNBORN, PushCreation
from gitserver.update.pusher import Pusher
from gitserver.update.reception import Push, Reception, report
from storage.errors import TooLarge
from storage.limits import Limits
from storage.packs import PackStore
from storage.records import ZERO_OID
from storage.versions.base import VersionStore

_TRAILER = 20


class Pushing:
    def __init__(
        self,
        pusher: Pusher,
        packs: PackStore,
        versions: VersionStore,
        limits: Limits,
        creation: PushCreation | None = None,
    ) -> None:
        self._reception = Reception(pusher, packs.space, limits)
        self._packs = packs
        self._versions = versions
        self._limits = limits
        self._creation = creation

    def serve(self, admit: Callable[[], Admission], protocol: str, origin: str, stream: Stream) -> int:
        """The exit status. `admit` asks for the right to write, at the start and once more when everything is here."""
        if capabilities.version_asked(protocol) == 1:
            stream.write(pkt(b"version 1\n"))
        found = admit().found
        refs = self._versions.refs(found.id) if found is not None else UNBORN
        session = new_session()
        for piece in v0.advertise(refs, capabilities.receive_pack_line(session), with_head=False):
            stream.write(piece)
        request = read_request(stream, self._limits)
        for capability in request.capabilities:
            note_client(capability, session)
        if not request.updates:
            return 0
        spool = Spool(self._packs, self._limits.pack_bytes)
        try:
            if any(update.new != ZERO_OID for update in request.updates):
                self._spool(stream, spool)
            self._answer(admit(), Push(request, spool.size, spool.pack, spool.trouble), origin, stream)
        finally:
            spool.close()
        return 0

    def _spool(self, stream: Stream, spool: Spool) -> None:
        end = _PackEnd()
        limit = self._limits.pack_bytes
        while not (stream.is_quiet() and end.is_reached) and (data := stream.read_some()):
            end.feed(data)
            spool.write([data])
            if spool.size > 2 * limit:
                raise TooLarge(f"The pack has more than {limit} bytes. Push fewer commits at a time, large files with git lfs.")
        spool.finish()

    def _answer(self, visit: Admission, push: Push, origin: str, stream: Stream) -> None:
        progress, principal = _Progress(push.request, stream), visit.holder.principal
        repo = visit.found
        if self._creation is not None:
            if repo is None and any(update.new != ZERO_OID for update in push.request.updates):
                repo = self._creation.create(principal, visit.name)
            if repo is not None and (news := self._creation.news(repo, origin)):
                progress.tell(news)
        result = self._reception.take(repo or visit.repo, principal, push, progress.tell)
        for piece in report(push.request, result):
            stream.write(piece)


class _PackEnd:
    """A pack ends with the SHA-1 of all before it: so its end is seen without inflating anything."""

    def __init__(self) -> None:
        self._digest = hashlib.sha1(usedforsecurity=False)
        self._tail = b""

    def feed(self, data: bytes) -> None:
        data = self._tail + data
        cut = max(0, len(data) - _TRAILER)
        self._digest.update(data[:cut])
        self._tail = data[cut:]

    @property
    def is_reached(self) -> bool:
        return self._tail == self._digest.digest()


class _Progress:
    """Lines on side-band 2 while the work runs. A client that goes away does not end it: what it pushed is still finished."""

    def __init__(self, request: PushRequest, stream: Stream) -> None:
        self._stream = stream
        self._is_on = request.has(b"side-band-64k")
        self._is_quiet = request.has(b"quiet")

    def tell(self, text: str) -> None:
        """Counts are left out for a quiet client; reasons never are."""
        if not self._is_on or (self._is_quiet and text.startswith("Checking objects")):
            return
        try:
            self._stream.write(b"".join(side_band(2, text.encode())))
            self._stream.flush()
        except ConnectionError:
            self._is_on = False

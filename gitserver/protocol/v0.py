"""Protocol v0 and v1: the advertisement, and rounds of want, have and pack (gitprotocol-pack)."""

from collections.abc import Generator, Iterator

from gitserver.fetch.pack_job import Wanted
from gitserver.fetch.session import FetchSession
from gitserver.protocol.answer import pack_order, send_pack, shallow_lines, shallow_plan
from gitserver.protocol.bands import LARGE_BAND, SMALL_BAND, Bands
from gitserver.protocol.pktline import FLUSH, ByteStream, pkt, read_pkt
from gitserver.protocol.request import FLAGS, FetchRequest
from gitserver.protocol.sessions import note_client
from storage.errors import Invalid
from storage.limits import Limits
from storage.records import ZERO_OID, Oid
from storage.versions.base import Refs

_MULTI = frozenset((b"multi_ack", b"multi_ack_detailed"))


def advertise(refs: Refs, capabilities: bytes, *, with_head: bool) -> Iterator[bytes]:
    """Every ref, the capabilities behind the first; `with_head` (upload-pack) adds HEAD and what tags lead to."""
    lines: list[bytes] = []
    head = refs.get(refs.head)
    if with_head and head is not None:
        lines.append(b"%s HEAD" % _hex(head.oid))
    for ref in refs.refs:
        lines.append(b"%s %s" % (_hex(ref.oid), ref.name))
        if with_head and ref.peeled is not None:
            lines.append(b"%s %s^{}" % (_hex(ref.peeled), ref.name))
    lines = lines or [b"%s capabilities^{}" % _hex(ZERO_OID)]
    yield pkt(b"%s\0%s\n" % (lines[0], capabilities))
    for start in range(1, len(lines), 1000):
        yield b"".join(pkt(line + b"\n") for line in lines[start : start + 1000])
    yield FLUSH


class UploadPack:
    """Args, then acks, then the pack. Stateless it is one POST, and the client repeats what earlier rounds agreed on; else it is a
    whole connection, with all rounds. `name` is our own session id.
    """

    def __init__(self, session: FetchSession, body: ByteStream, limits: Limits, name: str = "", *, is_stateless: bool = True) -> None:
        self._session = session
        self._body = body
        self._is_stateless = is_stateless
        self._request = FetchRequest(limits)
        self._capabilities: frozenset[bytes] = frozenset()
        self._last = ZERO_OID
        self._has_common = self._has_other = False  # in this round
        self._has_said_ready = self._ready = False
        self._asked_with = 0
        self._name = name

    def answer(self) -> Iterator[bytes]:
        request = self._request
        if not self._read_wants():
            return
        wanted = self._session.wanted(request.wants)
        plan = shallow_plan(self._session, request, wanted)
        if request.is_deepening:
            yield b"".join(pkt(line) for line in shallow_lines(plan)) + FLUSH
        is_end = yield from self._negotiate(wanted)
        if is_end:
            return
        order = pack_order(request, wanted, self._session.common(request.haves), plan)
        size = LARGE_BAND if b"side-band-64k" in self._capabilities else SMALL_BAND if b"side-band" in self._capabilities else 0
        yield from send_pack(self._session, order, Bands(size, progress=not request.has(b"no-progress")))
        if size:
            yield FLUSH

    def _read_wants(self) -> bool:
        """Up to the first flush; False when there is nothing to do."""
        while isinstance(packet := read_pkt(self._body), bytes):
            line = packet.rstrip(b"\n")
            if line.startswith(b"want ") and not self._request.wants:
                self._capabilities = frozenset(line[45:].split())
                self._request.flags |= self._capabilities & FLAGS
                for capability in self._capabilities:
                    note_client(capability, self._name)
                line = line[:45]
            if line.startswith((b"want ", b"shallow ", b"deepen", b"filter ")):
                self._request.take(line.rstrip())
            else:
                raise Invalid(f"git upload-pack: protocol error, expected to get object ID, not '{line[:80].decode(errors='replace')}'")
        self._request.check()
        return bool(self._request.wants)

    def _negotiate(self, wanted: Wanted) -> Generator[bytes, None, bool]:
        """Acks for each have up to done, stateless up to a flush too. Returns True when this answer ends here: the client goes on with
        another, or has what it wanted.
        """
        common: dict[Oid, None] = {}
        started = False
        while (packet := read_pkt(self._body)) is not None:
            started = True
            if not isinstance(packet, bytes):
                is_end = yield from self._flush(wanted, common)
                if self._is_stateless or not is_end:
                    return is_end
                continue
            line = packet.rstrip(b"\n")
            if line == b"done":
                yield self._done(common)
                return False
            if not line.startswith(b"have "):
                raise Invalid(f"git upload-pack: expected SHA1 list, got '{line[:80].decode(errors='replace')}'")
            self._request.take(line)
            oid = self._request.haves[-1]
            yield from self._ack(oid, common) if self._session.common((oid,)) else self._enough(oid, wanted, common)
        if self._is_stateless and started:
            return (yield from self._flush(wanted, common))
        return True  # the client only wanted the shallow lines, or is gone

    def _ack(self, oid: Oid, common: dict[Oid, None]) -> Iterator[bytes]:
        common[oid] = None
        self._last = oid
        self._has_common = True
        if b"multi_ack_detailed" in self._capabilities:
            yield pkt(b"ACK %s common\n" % _hex(oid))
        elif b"multi_ack" in self._capabilities:
            yield pkt(b"ACK %s continue\n" % _hex(oid))
        elif len(common) == 1:
            yield pkt(b"ACK %s\n" % _hex(oid))

    def _enough(self, oid: Oid, wanted: Wanted, common: dict[Oid, None]) -> Iterator[bytes]:
        """For one that is not here. Once no more haves can make the pack smaller, it is acknowledged too: so the client stops looking."""
        self._has_other = True
        if not (self._capabilities & _MULTI and self._is_ready(wanted, common)):
            return
        if b"multi_ack_detailed" in self._capabilities:
            self._has_said_ready = True
            yield pkt(b"ACK %s ready\n" % _hex(oid))
        else:
            yield pkt(b"ACK %s continue\n" % _hex(oid))

    def _flush(self, wanted: Wanted, common: dict[Oid, None]) -> Generator[bytes, None, bool]:
        """The end of a round of haves; True when more may come. Ready is said here where every have of the round was here."""
        is_detailed = b"multi_ack_detailed" in self._capabilities
        if is_detailed and self._has_common and not self._has_other and self._is_ready(wanted, common):
            self._has_said_ready = True
            yield pkt(b"ACK %s ready\n" % _hex(self._last))
        self._has_common = self._has_other = False
        if not common or self._capabilities & _MULTI:
            yield pkt(b"NAK\n")
        if self._has_said_ready and b"no-done" in self._capabilities:
            yield pkt(b"ACK %s\n" % _hex(self._last))
            return False
        return True

    def _is_ready(self, wanted: Wanted, common: dict[Oid, None]) -> bool:
        """Asked again only when there is a new common one."""
        if self._asked_with != len(common):
            self._asked_with = len(common)
            self._ready = self._session.is_ready(wanted, common)
        return self._ready

    def _done(self, common: dict[Oid, None]) -> bytes:
        if not common:
            return pkt(b"NAK\n")
        return pkt(b"ACK %s\n" % _hex(self._last)) if self._capabilities & _MULTI else b""


def _hex(oid: Oid) -> bytes:
    return oid.hex().encode()

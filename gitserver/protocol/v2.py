"""Protocol v2: one command a POST (gitprotocol-v2). `fetch` is a machine with the states args, acks, pack, done, as in upload-pack.c."""

from collections.abc import Callable, Generator, Iterator, Sequence
from enum import Enum, auto

from gitserver.fetch.pack_job import Wanted
from gitserver.fetch.session import FetchSession
from gitserver.objects.store import Objects
from gitserver.protocol.answer import pack_order, send_pack, shallow_lines, shallow_plan
from gitserver.protocol.bands import LARGE_BAND, Bands
from gitserver.protocol.bundle_uri import BundleLink, bundle_list, nothing_offered
from gitserver.protocol.capabilities import V2
from gitserver.protocol.pktline import DELIM, FLUSH, ByteStream, Special, pkt, read_pkt
from gitserver.protocol.request import FetchRequest, parse_oid
from gitserver.protocol.sessions import note_client, session_line
from storage.errors import Invalid, ObjectNotFound, TooLarge
from storage.limits import Limits
from storage.records import Oid
from storage.versions.base import Ref, Refs

_MOST_PREFIXES = 2048  # a client may send more; then it is told of all refs, which the protocol allows
_MOST_CAPABILITIES = 1000


def advertise(session: str) -> bytes:
    return pkt(b"version 2\n") + b"".join(pkt(row.line) for row in V2) + pkt(session_line(session) + b"\n") + FLUSH


class V2Command:
    """One request: `command=`, the client's capabilities, and the arguments behind the delimiter. `session` is our own name of it."""

    def __init__(
        self,
        objects: Objects,
        refs: Refs,
        body: ByteStream,
        limits: Limits,
        new_session: Callable[[], FetchSession],
        offers: Callable[[], Sequence[BundleLink]] = nothing_offered,
        session: str = "",
    ) -> None:
        self.objects = objects
        self.refs = refs
        self.limits = limits
        self.new_session = new_session
        self.offers = offers
        self._body = body
        self._session = session
        self.is_empty = False  # a lone flush, or nothing at all: by which a client ends a connection

    def answer(self) -> Iterator[bytes]:
        name, has_arguments = self._read_head()
        self.is_empty = not name
        if name:
            arguments = self._arguments() if has_arguments else iter(())
            yield from _COMMANDS[name](self, arguments)

    def _read_head(self) -> tuple[bytes, bool]:
        name = b""
        for _ in range(_MOST_CAPABILITIES):
            packet = read_pkt(self._body)
            if not isinstance(packet, bytes):
                break
            line = packet.rstrip(b"\n")
            name = _check_capability(line, name)
            note_client(line, self._session)
        else:
            raise TooLarge(f"The request names more than {_MOST_CAPABILITIES} capabilities.")
        if not name and packet is Special.DELIM:
            raise Invalid("no command requested")
        return name, packet is Special.DELIM

    def _arguments(self) -> Iterator[bytes]:
        while isinstance(packet := read_pkt(self._body), bytes):
            yield packet.rstrip(b"\n")
        if packet is not Special.FLUSH:
            raise Invalid("expected flush after the arguments")


def _check_capability(line: bytes, name: bytes) -> bytes:
    """The command's name as far as it is known; raises Invalid for a capability that was not advertised."""
    key, _, value = line.partition(b"=")
    if key == b"command":
        if value not in _COMMANDS:
            raise Invalid(f"invalid command '{value[:80].decode(errors='replace')}'")
        if name:
            raise Invalid("command requested twice")
        return value
    if key == b"object-format" and value != b"sha1":
        raise Invalid("mismatched object format: server sha1; client " + value[:20].decode(errors="replace"))
    if key != b"session-id" and not any(row.name == key and not row.is_command for row in V2):
        raise Invalid(f"unknown capability '{line[:80].decode(errors='replace')}'")
    return name


def ls_refs(command: V2Command, arguments: Iterator[bytes]) -> Iterator[bytes]:
    flags: set[bytes] = set()
    prefixes: list[bytes] = []
    for line in arguments:
        if line.startswith(b"ref-prefix "):
            if len(prefixes) <= _MOST_PREFIXES:
                prefixes.append(line[11:])
        elif line in (b"peel", b"symrefs", b"unborn"):
            flags.add(line)
        else:
            raise Invalid(f"unexpected line: '{line[:80].decode(errors='replace')}'")
    wanted = tuple(prefixes) if 0 < len(prefixes) <= _MOST_PREFIXES else (b"",)
    lines = [*_head_line(command.refs, flags)] if b"HEAD".startswith(wanted) else []
    lines += [_ref_line(ref, flags) for ref in command.refs.refs if ref.name.startswith(wanted)]
    for start in range(0, len(lines), 1000):
        yield b"".join(map(pkt, lines[start : start + 1000]))
    yield FLUSH


def _head_line(refs: Refs, flags: set[bytes]) -> Iterator[bytes]:
    head = refs.get(refs.head)
    symref = b" symref-target:" + refs.head if b"symrefs" in flags else b""
    if head is not None:
        yield _hex(head.oid) + b" HEAD" + symref + b"\n"
    elif b"unborn" in flags:
        yield b"unborn HEAD" + symref + b"\n"


def _ref_line(ref: Ref, flags: set[bytes]) -> bytes:
    peeled = b" peeled:" + _hex(ref.peeled) if b"peel" in flags and ref.peeled is not None else b""
    return _hex(ref.oid) + b" " + ref.name + peeled + b"\n"


def object_info(command: V2Command, arguments: Iterator[bytes]) -> Iterator[bytes]:
    """Sizes of objects. An unknown object has an empty size."""
    wants_size = False
    oids: list[Oid] = []
    for line in arguments:
        if line == b"size":
            wants_size = True
        elif line.startswith(b"oid ") and len(oids) < command.limits.wants:
            oids.append(parse_oid(line[4:], "oid"))
        else:
            raise Invalid(f"object-info: unexpected line: '{line[:80].decode(errors='replace')}'")
    if wants_size:
        yield pkt(b"size")
        yield from (pkt(_hex(oid) + b" " + _size(command.objects, oid)) for oid in oids)
    yield FLUSH


def bundle_uri(command: V2Command, arguments: Iterator[bytes]) -> Iterator[bytes]:
    yield from bundle_list(command.offers(), arguments)


def _size(objects: Objects, oid: Oid) -> bytes:
    try:
        return b"%d" % objects.header(oid)[1]
    except ObjectNotFound:
        return b""


class V2State(Enum):
    ARGS = auto()
    ACKS = auto()
    PACK = auto()
    DONE = auto()


class Fetch:
    """The fetch command. Sections come in the order that clients read: acknowledgments, shallow-info, wanted-refs, packfile."""

    def __init__(self, session: FetchSession, request: FetchRequest) -> None:
        self._session = session
        self._request = request
        self._wanted = Wanted((), (), (), ())
        self._want_refs: list[Ref] = []
        self._common: tuple[Oid, ...] = ()

    def answer(self) -> Iterator[bytes]:
        steps = {V2State.ARGS: self._args, V2State.ACKS: self._acks, V2State.PACK: self._pack}
        state = V2State.ARGS
        while state is not V2State.DONE:
            state = yield from steps[state]()

    def _args(self) -> Generator[bytes, None, V2State]:
        yield from ()
        request = self._request
        request.check()
        self._want_refs = [self._named(name) for name in request.want_refs]
        self._wanted = self._session.wanted([*request.wants, *(ref.oid for ref in self._want_refs)])
        self._common = self._session.common(request.haves)
        if not (request.wants or self._want_refs or request.has(b"wait-for-done")):
            return V2State.DONE
        return V2State.ACKS if request.haves and not request.has(b"done") else V2State.PACK

    def _acks(self) -> Generator[bytes, None, V2State]:
        yield self._line(b"acknowledgments\n")
        yield b"".join(self._line(b"ACK %s\n" % _hex(oid)) for oid in self._common) or self._line(b"NAK\n")
        if not self._request.has(b"wait-for-done") and self._session.is_ready(self._wanted, self._common):
            yield self._line(b"ready\n") + DELIM
            return V2State.PACK
        yield FLUSH
        return V2State.DONE

    def _pack(self) -> Generator[bytes, None, V2State]:
        request = self._request
        plan = shallow_plan(self._session, request, self._wanted)
        if request.is_deepening or plan.client:
            yield self._line(b"shallow-info\n") + b"".join(map(self._line, shallow_lines(plan))) + DELIM
        if self._want_refs:
            lines = (self._line(b"%s %s\n" % (_hex(ref.oid), ref.name)) for ref in self._want_refs)
            yield self._line(b"wanted-refs\n") + b"".join(lines) + DELIM
        yield self._line(b"packfile\n")
        order = pack_order(request, self._wanted, self._common, plan)
        yield from send_pack(self._session, order, Bands(LARGE_BAND, progress=not request.has(b"no-progress")))
        yield FLUSH
        return V2State.DONE

    def _line(self, data: bytes) -> bytes:
        return pkt(b"\1" + data) if self._request.has(b"sideband-all") else pkt(data)

    def _named(self, name: bytes) -> Ref:
        ref = self._session.ref_or_former(name)
        if ref is None:
            raise Invalid(f"unknown ref {name[:200].decode(errors='replace')}")
        return Ref(name, ref.oid, ref.peeled)


def fetch(command: V2Command, arguments: Iterator[bytes]) -> Iterator[bytes]:
    request = FetchRequest(command.limits)
    try:
        for line in arguments:
            request.take(line)
        yield from Fetch(command.new_session(), request).answer()
    except Invalid as error:
        if not request.has(b"sideband-all"):
            raise
        yield Bands(LARGE_BAND, progress=False).fatal(error.message)


_COMMANDS: dict[bytes, Callable[[V2Command, Iterator[bytes]], Iterator[bytes]]] = {
    b"ls-refs": ls_refs,
    b"fetch": fetch,
    b"object-info": object_info,
    b"bundle-uri": bundle_uri,
}


def _hex(oid: Oid) -> bytes:
    return oid.hex().encode()

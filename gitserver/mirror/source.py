"""Somebody else's repository over smart HTTP, protocol v2 (gitprotocol-v2): its refs, and a pack of what is missing here."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

from gitserver.protocol.pktline import DELIM, FLUSH, Special, pkt, read_pkt
from gitserver.update.namespaces import is_open
from storage.errors import HubError, Invalid, TooLarge, Unavailable
from storage.limits import MIB, Limits
from storage.outbound.client import Outbound, OutboundReply, Request, check_status
from storage.outbound.url import Url, UrlCredentials
from storage.records import Oid
from storage.versions.base import Ref

_SERVICE = "/info/refs?service=git-upload-pack"
_OID = rb"[0-9a-f]{40}"
_REF = re.compile(rb"(%s|unborn) ([^ \n]+)((?: [^ \n]+)*)\n?" % _OID)
_CAPABILITIES_BYTES = 1 << 20
_NO_SHALLOW = "The source is a shallow clone, so its history has no beginning. Name the repository that it was cloned from."


@dataclass(frozen=True, slots=True)
class Listing:
    """What the source shows: `head` is what its HEAD points to, empty if nothing; `skipped` counts refs that are not taken."""

    head: bytes
    refs: tuple[Ref, ...]
    skipped: int


class MirrorSource:
    """Every call raises HubErrors in words about the source, and whatever `check` raises in between."""

    def __init__(self, outbound: Outbound, url: Url, login: UrlCredentials | None, limits: Limits, check: Callable[[], None]) -> None:
        self._outbound = outbound
        self._limits = limits
        self._check = check
        self._login_origin = url.origin
        self._login = login
        self._format: tuple[bytes, ...] = ()
        self._can_unborn = False
        self.base = url

    def login_for(self, url: Url) -> UrlCredentials | None:
        """The credentials go nowhere but where they were given for."""
        return self._login if url.origin == self._login_origin else None

    def open(self) -> None:
        """The first step: where the repository really is, and whether it speaks our protocol."""
        url = Url(self.base.scheme, self.base.host, self.base.port, self.base.target.rstrip("/") + _SERVICE)
        request = Request("GET", url, {"Git-Protocol": "version=2"}, login=self.login_for(url))
        with self._outbound.send(request, _CAPABILITIES_BYTES, self._check) as reply:
            check_status(reply, "The source cannot be read")
            if reply.content_type != "application/x-git-upload-pack-advertisement" or not reply.url.target.endswith(_SERVICE):
                raise Invalid(f"There is no git repository at {self.base.shown}, or only over the old dumb protocol.")
            lines = [line for line in packets(reply) if isinstance(line, bytes)]
            self.base = Url(reply.url.scheme, reply.url.host, reply.url.port, reply.url.target.removesuffix(_SERVICE))
        self._read_capabilities([line.rstrip(b"\n") for line in lines])

    def list(self) -> Listing:
        head, refs, skipped = b"", [], 0
        arguments = [b"peel\n", b"symrefs\n", *([b"unborn\n"] if self._can_unborn else [])]
        with self._command(b"ls-refs", arguments, self._limits.import_refs_bytes) as reply:
            for line in packets(reply):
                match = _REF.fullmatch(line) if isinstance(line, bytes) else None
                if match is None:
                    break
                more = dict(word.partition(b":")[::2] for word in match[3].split())
                if match[2] == b"HEAD":
                    head = more.get(b"symref-target", b"")
                elif is_open(match[2]) and match[1] != b"unborn":
                    refs.append(Ref(match[2], bytes.fromhex(match[1].decode())))
                else:
                    skipped += 1
        if len(refs) > self._limits.import_refs:
            raise TooLarge(
                f"The source has {len(refs)} branches, tags and other refs; {self._limits.import_refs} are taken (limit import_refs)."
            )
        return Listing(head, tuple(refs), skipped)

    def fetch(self, wants: Sequence[Oid], haves: Iterable[Oid], pack: IO[bytes], progress: Callable[[str], None]) -> None:
        """Write a pack of what `wants` need beyond `haves`. Raises TooLarge for more than `pack_bytes`."""
        arguments = [b"ofs-delta\n", *(b"want %s\n" % oid.hex().encode() for oid in wants)]
        arguments += [*(b"have %s\n" % oid.hex().encode() for oid in haves), b"done\n"]
        most = self._limits.pack_bytes
        received = 0
        with self._command(b"fetch", arguments, most * 2 + MIB) as reply:
            for data in self._pack_data(packets(reply), progress):
                received += len(data)
                if received > most:
                    raise TooLarge(f"The pack of the source has more than {most} bytes. The operator can raise the limit pack_bytes.")
                pack.write(data)
        if not received:
            raise Unavailable(f"{self.base.shown} sent no pack.")

    def _pack_data(self, packets: Iterator[bytes | Special], progress: Callable[[str], None]) -> Iterator[bytes]:
        """What stands on side-band 1 of the section `packfile`; the sections before say nothing that we asked for."""
        for line in packets:
            if line == b"packfile\n":
                break
            if isinstance(line, bytes) and line.startswith(b"shallow "):
                raise Invalid(_NO_SHALLOW)
        for packet in packets:
            if not isinstance(packet, bytes):
                return
            if packet[:1] == b"\1":
                yield packet[1:]
            elif packet[:1] == b"\2":
                progress(plain(packet[1:]))
            else:
                raise Unavailable(f"The source gave up: {plain(packet[1:])}")

    def _read_capabilities(self, lines: Sequence[bytes]) -> None:
        if b"version 2" not in lines:
            raise Invalid(f"{self.base.shown} does not speak git's protocol version 2 (git 2.18 or newer).")
        formats = [line.partition(b"=")[2] for line in lines if line.startswith(b"object-format=")]
        if formats not in ([], [b"sha1"]):
            raise Invalid("The source's objects have SHA-256 ids; this hub keeps repositories with SHA-1 ids.")
        self._format = tuple(b"object-format=%s" % name for name in formats)
        self._can_unborn = any(line.startswith(b"ls-refs=") and b"unborn" in line for line in lines)

    @contextmanager
    def _command(self, name: bytes, arguments: Sequence[bytes], most: int) -> Iterator[OutboundReply]:
        target = f"{self.base.target}/git-upload-pack"
        url = Url(self.base.scheme, self.base.host, self.base.port, target)
        head = [pkt(b"command=" + name), *map(pkt, self._format), DELIM]
        body = b"".join([*head, *map(pkt, arguments), FLUSH])
        kind = "application/x-git-upload-pack-"
        headers = {"Git-Protocol": "version=2", "Content-Type": kind + "request", "Accept": kind + "result"}
        with self._outbound.send(Request("POST", url, headers, body, self.login_for(url)), most, self._check) as reply:
            check_status(reply, "The source cannot be read")
            yield reply


def packets(reply: OutboundReply) -> Iterator[bytes | Special]:
    """Raises Unavailable when the source says ERR or breaks off."""
    file = cast(BinaryIO, reply)  # read_pkt only reads
    while True:
        try:
            packet = read_pkt(file)
        except (Unavailable, TooLarge):
            raise
        except HubError as error:
            raise Unavailable(f"{reply.url.shown} does not speak git: {error.message}") from error
        if packet is None:
            return
        if isinstance(packet, bytes) and packet.startswith(b"ERR "):
            raise Unavailable(f"The source says: {plain(packet[4:])}")
        yield packet


def plain(data: bytes) -> str:
    """Text of the source's, fit for one line of ours."""
    text = " ".join(data[:300].decode("utf-8", "replace").split())
    return "".join(char if char.isprintable() else "?" for char in text)

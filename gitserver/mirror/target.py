"""Somebody else's repository as the target of a push over smart HTTP (gitprotocol-pack, protocol v0)."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from gitserver.mirror.source import packets, plain
from gitserver.protocol.pktline import FLUSH, pkt
from storage.errors import Conflict, Invalid
from storage.limits import MIB, Limits
from storage.outbound.client import Outbound, Request, check_status
from storage.outbound.url import Url, UrlCredentials
from storage.records import Oid, RefUpdate

_SERVICE = "/info/refs?service=git-receive-pack"
_LINE = re.compile(rb"([0-9a-f]{40}) ([^\0\n]+)(?:\0([^\n]*))?\n?")
_REPORT_BYTES = 16 * MIB


@dataclass(frozen=True, slots=True)
class Shown:
    """The refs of the target, and what it can do."""

    refs: dict[bytes, Oid]
    capabilities: frozenset[bytes]


class Target:
    """Every call raises HubErrors in words about the target, and whatever `check` raises in between."""

    def __init__(self, outbound: Outbound, url: Url, login: UrlCredentials | None, limits: Limits, check: Callable[[], None]) -> None:
        self._outbound = outbound
        self._login = login
        self._limits = limits
        self._check = check
        self.base = url

    def login_for(self, url: Url) -> UrlCredentials | None:
        return self._login if url.origin == self.base.origin else None

    def open(self) -> Shown:
        request = Request("GET", self._url(_SERVICE), {}, login=self._login)
        refs: dict[bytes, Oid] = {}
        capabilities = b""
        with self._outbound.send(request, self._limits.import_refs_bytes, self._check) as reply:
            check_status(reply, "The target cannot be pushed to")
            if reply.content_type != "application/x-git-receive-pack-advertisement":
                raise Invalid(f"There is no git repository that takes pushes at {self.base.shown}.")
            if str(reply.url) != str(request.url):
                raise Invalid(f"{self.base.shown} redirects. Give the address that it leads to.")
            for line in packets(reply):
                match = _LINE.fullmatch(line) if isinstance(line, bytes) else None
                if match is not None:
                    refs[match[2]] = bytes.fromhex(match[1].decode())
                    capabilities = match[3] or capabilities
        if b"report-status" not in capabilities.split() or b"object-format=sha256" in capabilities.split():
            raise Invalid(f"{self.base.shown} does not take pushes as git does, or has SHA-256 ids.")
        refs.pop(b"capabilities^{}", None)
        return Shown(refs, frozenset(capabilities.split()))

    def push(self, updates: Sequence[RefUpdate], pack: IO[bytes] | None) -> dict[bytes, str]:
        """The refs that the target refuses, each with its words; the others have moved. Raises Conflict when it refuses the pack."""
        commands = [b"%s %s %s" % (update.old.hex().encode(), update.new.hex().encode(), update.ref) for update in updates]
        commands[0] += b"\0 report-status agent=git/kohakuhub"
        body = _Body(b"".join([*map(pkt, commands), FLUSH]), pack, self._check)
        headers = {"Content-Type": "application/x-git-receive-pack-request", "Content-Length": str(body.size)}
        request = Request("POST", self._url("/git-receive-pack"), headers, body, self._login)
        with self._outbound.send(request, _REPORT_BYTES, self._check) as reply:
            check_status(reply, "The target does not take the push")
            lines = [line.rstrip(b"\n") for line in packets(reply) if isinstance(line, bytes)]
        if b"unpack ok" not in lines:
            raise Conflict(f"The target does not take the pack: {plain(lines[0]) if lines else 'it does not say why'}")
        refused = [line[3:] for line in lines if line.startswith(b"ng ")]
        return {line.partition(b" ")[0]: plain(line) for line in refused}

    def _url(self, rest: str) -> Url:
        return Url(self.base.scheme, self.base.host, self.base.port, self.base.target + rest)


class _Body:
    """Commands, then the pack; `check` is asked for each piece that goes out."""

    def __init__(self, head: bytes, pack: IO[bytes] | None, check: Callable[[], None]) -> None:
        self._pieces = self._read(head, pack)
        self._check = check
        self.size = len(head)
        if pack is not None:
            self.size += pack.seek(0, 2)
            pack.seek(0)

    def read(self, size: int = 0) -> bytes:
        """Some bytes, however many are asked for; empty at the end."""
        self._check()
        return next(self._pieces, b"")

    def _read(self, head: bytes, pack: IO[bytes] | None) -> Iterator[bytes]:
        yield head
        while pack is not None and (data := pack.read(MIB // 8)):
            yield data

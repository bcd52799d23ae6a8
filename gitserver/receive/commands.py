"""The head of a push (gitprotocol-pack, "Reference Update Request"): commands, capabilities, push options; then comes the pack."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from gitserver.protocol.pktline import ByteStream, Special, read_pkt
from storage.errors import Invalid, TooLarge
from storage.limits import Limits
from storage.records import RefUpdate

_COMMAND = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) ([^\0\n]+)\n?")
_LENGTH = re.compile(rb"[0-9a-fA-F]{4}")
_SHALLOW = re.compile(rb"shallow [0-9a-f]{40}\n?")


@dataclass(frozen=True, slots=True)
class PushRequest:
    updates: tuple[RefUpdate, ...] = ()
    capabilities: frozenset[bytes] = field(default_factory=frozenset)

    def has(self, capability: bytes) -> bool:
        return capability in self.capabilities


class CommandReader:
    """Fed with the body as it arrives, until the head is complete; `rest` then holds what belongs to the pack."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._at = 0  # where the next packet begins
        self._lines: list[bytes] = []
        self._commands: PushRequest | None = None
        self.request: PushRequest | None = None
        self.rest = b""

    def feed(self, data: bytes) -> None:
        """Raises Invalid for what is no push, TooLarge over a limit."""
        self._buffer += data
        while self.request is None and (packet := self._packet()) is not None:
            self._take(packet)
        if self.request is not None:
            self.rest = bytes(self._buffer[self._at :])
            self._buffer.clear()
        elif len(self._buffer) > self._limits.command_bytes:
            raise TooLarge(_too_large(self._limits, in_options=self._commands is not None))

    def _packet(self) -> bytes | Special | None:
        """The next one that is here whole."""
        head = bytes(self._buffer[self._at : self._at + 4])
        size = max(4, int(head, 16)) if _LENGTH.fullmatch(head) else 4
        if len(self._buffer) - self._at < size:
            return None
        packet = read_pkt(io.BytesIO(self._buffer[self._at : self._at + size]))
        self._at += size
        return packet

    def _take(self, packet: bytes | Special) -> None:
        if isinstance(packet, bytes):
            self._lines.append(packet)
        elif packet is not Special.FLUSH:
            raise Invalid("The push has a delimiter packet where only commands may stand.")
        elif self._commands is None:
            self._commands = request = _parse(self._lines)
            self.request = None if request.has(b"push-options") and request.updates else request
        else:
            self.request = self._commands


def read_request(file: ByteStream, limits: Limits) -> PushRequest:
    """The same from a stream, which stands at the pack then. Raises Invalid, TooLarge."""
    request = _parse(list(_lines(file, limits)))
    if request.has(b"push-options") and request.updates:
        for _ in _lines(file, limits, in_options=True):
            pass
    return request


def _lines(file: ByteStream, limits: Limits, *, in_options: bool = False) -> Iterator[bytes]:
    """The packets up to a flush, or to the client's end before the first one."""
    size = 0
    while (packet := read_pkt(file)) is not Special.FLUSH:
        if packet is None and not size:
            return
        if not isinstance(packet, bytes):
            raise Invalid("The push ends, or has a delimiter packet, where only commands may stand.")
        size += len(packet) + 4
        if size > limits.command_bytes:
            raise TooLarge(_too_large(limits, in_options=in_options))
        yield packet


def _too_large(limits: Limits, *, in_options: bool) -> str:
    most = f"{limits.command_bytes} bytes"
    if in_options:
        return f"The push options, with the commands of the push, come to more than {most}. Push with fewer or shorter ones (git push -o)."
    return f"The commands of the push come to more than {most}. Push fewer refs at a time."


def _parse(lines: list[bytes]) -> PushRequest:
    updates: list[RefUpdate] = []
    capabilities: frozenset[bytes] = frozenset()
    for number, line in enumerate(lines):
        command, nul, words = line.partition(b"\0")
        if nul and (number == 0 or not capabilities):
            capabilities = frozenset(words.split())
        if _SHALLOW.fullmatch(command):
            continue  # where the client's own history ends; connectivity is judged by what is stored here
        match = _COMMAND.fullmatch(command)
        if match is None:
            raise Invalid(f"protocol error: expected old/new/ref, got '{command[:80].decode(errors='replace')}'")
        updates.append(RefUpdate(match[3], bytes.fromhex(match[1].decode()), bytes.fromhex(match[2].decode())))
    return PushRequest(tuple(updates), capabilities)

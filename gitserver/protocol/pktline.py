"""pkt-lines: the framing of every git protocol message (gitprotocol-common, gitprotocol-v2)."""

from collections.abc import Iterator
from enum import Enum
from typing import Protocol

from storage.errors import Invalid

FLUSH = b"0000"
DELIM = b"0001"
MAX_DATA = 65516  # a pkt-line is at most 65520 bytes with its length
MAX_BAND = MAX_DATA - 1


class ByteStream(Protocol):
    def read(self, size: int, /) -> bytes:
        """`size` bytes, fewer only at the end."""


class Special(Enum):
    """The packets without data."""

    FLUSH = 0
    DELIM = 1
    RESPONSE_END = 2


def pkt(data: bytes) -> bytes:
    return b"%04x%s" % (len(data) + 4, data)


def read_pkt(file: ByteStream) -> bytes | Special | None:
    """The next packet, or None at the end of the stream. Raises Invalid for anything that is no pkt-line."""
    head = file.read(4)
    if not head:
        return None
    size = _size(head)
    if size < 3:
        return Special(size)
    data = file.read(size - 4)
    if len(data) != size - 4:
        raise Invalid("The request ends inside a pkt-line. Send it again.")
    return data


def _size(head: bytes) -> int:
    if len(head) != 4 or not all(c in b"0123456789abcdefABCDEF" for c in head):
        raise Invalid(f"bad line length character: {head!r} is no pkt-line length.")
    size = int(head, 16)
    if size == 3 or size > MAX_DATA + 4:
        raise Invalid(f"bad pkt-line length {size}: lengths are 0, 1, 2 or 4 to {MAX_DATA + 4}.")
    return size


def side_band(channel: int, data: bytes) -> Iterator[bytes]:
    """`data` on side-band-64k `channel`: 1 pack or report, 2 progress, 3 fatal error."""
    for start in range(0, len(data), MAX_BAND):
        yield pkt(bytes((channel,)) + data[start : start + MAX_BAND])

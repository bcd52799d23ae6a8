"""The headers and numbers of pack entries and of deltas (gitformat-pack), read and written."""

from mmap import mmap
from typing import NamedTuple

from storage.records import Oid

OFS_DELTA = 6
REF_DELTA = 7


class EntryHeader(NamedTuple):
    """The head of a pack entry: `size` is that of the inflated data (of the delta, for deltas)."""

    kind_or_delta: int
    size: int
    data_offset: int
    base_offset: int | None = None
    base_oid: Oid | None = None


def read_size(data: mmap | bytes | memoryview, offset: int) -> tuple[int, int]:
    """A size of variable length, and where it ends. No more than 64 bits are read: a larger one is refused for what it is,
    or for what follows it. Raises IndexError where the data ends.
    """
    byte = data[offset]
    size, shift = byte & 0x7F, 7
    offset += 1
    while byte & 0x80 and shift < 64:
        byte = data[offset]
        size |= (byte & 0x7F) << shift
        shift += 7
        offset += 1
    return size, offset


def size_bytes(size: int) -> bytes:
    """A size of variable length, as `read_size` reads it."""
    out = bytearray()
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)


def read_entry_header(data: mmap | bytes | memoryview, offset: int) -> EntryHeader:
    """The header of the entry at `offset` of pack bytes."""
    byte = data[offset]
    start = offset
    kind, size = (byte >> 4) & 7, byte & 15
    offset += 1
    if byte & 0x80:
        rest, offset = read_size(data, offset)
        size |= rest << 4
    if kind == OFS_DELTA:
        byte = data[offset]
        offset += 1
        distance = byte & 0x7F
        while byte & 0x80 and distance < 1 << 64:
            byte = data[offset]
            distance = ((distance + 1) << 7) | (byte & 0x7F)
            offset += 1
        return EntryHeader(kind, size, offset, base_offset=start - distance)
    if kind == REF_DELTA:
        return EntryHeader(kind, size, offset + 20, base_oid=bytes(data[offset : offset + 20]))
    return EntryHeader(kind, size, offset)


def entry_header(kind: int, size: int) -> bytes:
    """Type and size of a pack entry."""
    first = (kind << 4) | (size & 15)
    return bytes([first | 0x80]) + size_bytes(size >> 4) if size > 15 else bytes([first])


def offset_bytes(distance: int) -> bytes:
    """The distance of an OFS_DELTA."""
    out = [distance & 0x7F]
    distance >>= 7
    while distance:
        distance -= 1
        out.append(0x80 | (distance & 0x7F))
        distance >>= 7
    return bytes(reversed(out))

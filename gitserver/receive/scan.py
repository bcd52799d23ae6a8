"""One pass over a pushed pack: where each entry lies, and its inflated data. Sizes are judged before anything is inflated."""

import mmap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from gitserver.objects.entries import OFS_DELTA, read_entry_header
from gitserver.objects.store import Kind
from storage.errors import BadPack, TooLarge
from storage.limits import MIB, Limits
from storage.records import Oid

_HEADER = 12
_TRAILER = 20
_PIECE = MIB
_MOST_EXPANSION = 1040  # deflate cannot make more than this many bytes of one


@dataclass(slots=True)
class PackEntry:
    """One entry of the pack. `kind` and `oid` of a delta are known after it was resolved; `size` is its inflated size."""

    offset: int
    data_offset: int
    end: int
    size: int
    crc: int
    kind: Kind | None
    base: "PackEntry | None" = None
    base_oid: Oid | None = None
    oid: Oid = b""


@dataclass(frozen=True, slots=True)
class Scanned:
    """`data` is whole, or empty when the entry is a blob too large to keep; then `pieces` streams it once."""

    entry: PackEntry
    data: bytes


class PackScan:
    """The pack as mapped bytes. Raises BadPack for anything that is no complete pack, TooLarge over a limit."""

    def __init__(self, data: mmap.mmap, limits: Limits) -> None:
        self.view = memoryview(data)
        self._data = data
        self._limits = limits
        self._inflated = 0
        self.count = 0
        self._by_offset: dict[int, PackEntry] = {}

    def read_header(self) -> None:
        """The first step: how many objects the pack claims to have."""
        if len(self.view) < _HEADER + _TRAILER or bytes(self.view[:4]) != b"PACK":
            raise BadPack("The pushed data is no git pack, or it is cut off. Push again.")
        version = int.from_bytes(self.view[4:8], "big")
        count = int.from_bytes(self.view[8:12], "big")
        if version not in (2, 3):
            raise BadPack(f"Pack version {version} is not known; versions 2 and 3 are.")
        if count > self._limits.pack_objects:
            raise TooLarge(
                f"The pack holds {count} objects; at most {self._limits.pack_objects} are taken in one push. Push fewer commits at a time."
            )
        if count * 9 > len(self.view):
            raise BadPack(f"The pack claims {count} objects but has only {len(self.view)} bytes.")
        self.count = count

    def _entry(self, offset: int) -> Scanned:
        limit = len(self.view) - _TRAILER
        try:
            head = read_entry_header(self._data, offset)
        except IndexError as error:
            raise BadPack(f"The pack ends inside the entry at offset {offset}. Push again.") from error
        number = head.kind_or_delta
        if number in (0, 5):
            raise BadPack(f"The entry at offset {offset} has the unknown type {number}.")
        if head.size > self._limits.object_bytes:
            raise too_large(offset, head.size, self._limits)
        self.count_inflated(head.size)
        is_delta = number >= OFS_DELTA
        data, end = self._inflate_new(head.data_offset, head.size, limit, keep=is_delta or number != Kind.BLOB or head.size <= MIB)
        entry = PackEntry(
            offset,
            head.data_offset,
            end,
            head.size,
            zlib.crc32(self.view[offset:end]),
            None if is_delta else Kind(number),
            None,
            head.base_oid,
        )
        if head.base_offset is not None:
            entry.base = self._by_offset.get(head.base_offset)
            if entry.base is None:
                raise BadPack(f"The delta at offset {offset} has its base at {head.base_offset}, where no entry begins.")
        self._by_offset[offset] = entry
        return Scanned(entry, data)

    def entries(self) -> Iterator[Scanned]:
        """Every entry in order; small ones with their data."""
        position = _HEADER
        for _ in range(self.count):
            scanned = self._entry(position)
            position = scanned.entry.end
            yield scanned
        if position != len(self.view) - _TRAILER:
            raise BadPack(f"The pack has {len(self.view) - _TRAILER - position} bytes after its last object.")
        self._by_offset.clear()

    def inflate(self, entry: PackEntry) -> bytes:
        """The entry's whole data again; it was checked by the pass."""
        return zlib.decompress(self.view[entry.data_offset : entry.end], bufsize=entry.size or 1)

    def stream(self, entry: PackEntry) -> Iterator[bytes]:
        """The same in pieces."""
        inflater = zlib.decompressobj()
        for start in range(entry.data_offset, entry.end, _PIECE):
            pending: bytes | memoryview = self.view[start : min(start + _PIECE, entry.end)]
            while pending:
                if piece := inflater.decompress(pending, _PIECE):
                    yield piece
                pending = inflater.unconsumed_tail
        if piece := inflater.flush():
            yield piece

    def count_inflated(self, size: int) -> None:
        """Raises TooLarge when all objects together come to too much."""
        self._inflated += size
        if self._inflated > self._limits.pack_inflated_bytes:
            raise TooLarge(
                f"The objects of the pack come to more than {self._limits.pack_inflated_bytes} bytes. Push fewer commits at a time."
            )

    def _inflate_new(self, start: int, size: int, limit: int, *, keep: bool) -> tuple[bytes, int]:
        """(data if it is kept, where the compressed bytes end)."""
        if size > (limit - start) * _MOST_EXPANSION + 64:
            raise BadPack(f"The object at offset {start} claims {size} bytes, more than its compressed data can hold.")
        inflater = zlib.decompressobj()
        pieces: list[bytes] = []
        total, position, step = 0, start, min(size + (size >> 9) + 64, _PIECE)
        try:
            while not inflater.eof:
                if position >= limit and not inflater.unconsumed_tail:
                    raise BadPack(f"The pack ends inside the object at offset {start}. Push again.")
                fed = self.view[position : min(position + step, limit)]
                position += len(fed)
                pending: bytes | memoryview = bytes(inflater.unconsumed_tail) + fed if inflater.unconsumed_tail else fed
                piece = inflater.decompress(pending, size - total + 1)
                total += len(piece)
                if total > size:
                    break
                if keep:
                    pieces.append(piece)
        except zlib.error as error:
            raise BadPack(f"The object at offset {start} is corrupt ({error}). Run git fsck, and push again.") from error
        if total != size:
            raise BadPack(f"The object at offset {start} is {total} bytes or more, its header says {size}.")
        return b"".join(pieces), position - len(inflater.unused_data)


def too_large(offset: int, size: int, limits: Limits) -> TooLarge:
    """Of the object at `offset`, whose id nobody knows before it is inflated."""
    most = limits.object_bytes
    shown, above = (f"{most // MIB} MiB", f"{most // MIB}MiB") if most % MIB == 0 else (f"{most} bytes", f"{most}b")
    return TooLarge(
        f"The object at offset {offset} of the pack has {size} bytes ({size / MIB:.1f} MiB); this hub takes {shown} for what is not in"
        f" Git LFS. Its owner moves such files there, also in the history (git lfs migrate import --everything --above={above}),"
        " or the operator raises object_bytes in KOHAKU_HUB_LIMITS."
    )

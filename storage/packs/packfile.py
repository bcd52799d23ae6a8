"""Reading one stored pack and its index (gitformat-pack)."""

import bisect
import hashlib
import mmap
import os
import struct
import sys
import threading
import weakref
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from dulwich.object_format import DEFAULT_OBJECT_FORMAT
from dulwich.pack import PackIndex, load_pack_index_file

from storage.packs.base import Ending
from storage.records import Oid, PackInfo

_TRAILER = 20
_SMALL_BYTES = 64 * 1024
_SMALL = 512  # the index of so few objects is kept as a dict: many small pushes make many misses
_OPEN_BYTES, _SMALL_ROW, _LARGE_ROW = 4096, 200, 8  # of an open pack, and of each of its objects
_INDEX_HEAD, _INDEX_ROW = 8 + 256 * 4, 20 + 4 + 4
_NEAR = 64  # ids on both sides of where one should be
_FAR = 1 << 31  # an object behind this has a longer row


class StoredEntry(NamedTuple):
    """A row of a stored index; sorts in pack order. `crc` is the CRC-32 of the entry's bytes."""

    offset: int
    oid: Oid
    crc: int


class PackFile:
    """One stored pack in memory: offsets by id, and the raw compressed bytes of entries. `paths` are those of its two files, which
    may be gone by now.
    """

    def __init__(self, info: PackInfo, pack: BinaryIO, index: BinaryIO) -> None:
        """Both files become this object's own."""
        self.info = info
        self.paths = str(pack.name), str(index.name)
        with pack:
            self.data: mmap.mmap | bytes = _contents(pack, info)
        self._index = _load(index)
        self._file = index  # open as long as the index is
        self._offsets: array[int] | None = None
        self._small: dict[Oid, int] | None = None
        self._ids: _Ids | None = None
        self._lock = threading.Lock()
        if info.objects <= _SMALL:
            columns = _columns(index)
            self._small = dict(zip(columns.oids(), columns.offsets, strict=True))
            self._index.close()
        else:
            weakref.finalize(self, self._index.close)

    @property
    def held_bytes(self) -> int:
        """About what it may take of this process's memory, mapped files aside."""
        read = self.info.size if isinstance(self.data, bytes) else 0
        return _OPEN_BYTES + read + self.info.objects * (_SMALL_ROW if self._small is not None else _LARGE_ROW)

    def offset(self, oid: Oid) -> int | None:
        """Where the entry of `oid` begins, or None."""
        if self._small is not None:
            return self._small.get(oid)
        if self._ids is None:
            self._ids = _Ids(self._file)
        return self._ids.offset(oid)

    def offsets(self) -> "array[int]":
        """All entry offsets in pack order, then the offset of the trailer; an entry ends where the next begins."""
        with self._lock:
            if self._offsets is None:
                offsets = self._small.values() if self._small is not None else _columns(self._file).offsets
                self._offsets = array("Q", sorted(offsets))
                self._offsets.append(len(self.data) - _TRAILER)
            return self._offsets

    def end(self, offset: int) -> int:
        """Where the entry that begins at `offset` ends."""
        offsets = self.offsets()
        return offsets[bisect.bisect_right(offsets, offset)]

    def oids(self) -> list[tuple[int, Oid]]:
        """(offset, id) of every object, in pack order."""
        if self._small is not None:
            return sorted((offset, oid) for oid, offset in self._small.items())
        columns = _columns(self._file)
        return sorted(zip(columns.offsets, columns.oids(), strict=True))

    def with_prefix(self, digits: str) -> list[Oid]:
        """Ids whose hex form begins with `digits`."""
        return [oid for _, oid in self.oids() if oid.hex().startswith(digits)]


def open_pack(info: PackInfo, pack: str, index: str) -> PackFile:
    """By the paths of its files. Raises FileNotFoundError."""
    with ExitStack() as opened:
        files = [opened.enter_context(Path(path).open("rb")) for path in (pack, index)]
        made = PackFile(info, *files)
        opened.pop_all()
        return made


def read_entries(index: BinaryIO) -> Sequence[StoredEntry]:
    """The index as a whole, in pack order; the file is closed."""
    with closing(_load(index)):
        columns = _columns(index)
        return sorted(map(StoredEntry, columns.offsets, columns.oids(), columns.crcs))


def file_size(info: PackInfo, ending: Ending) -> int | None:
    """Bytes of the pack or of its index; None for an index that only its writer knows, that of a pack of 2 GiB or more."""
    if ending == "pack":
        return info.size
    return _INDEX_HEAD + _INDEX_ROW * info.objects + 2 * _TRAILER if info.size < _FAR else None


def is_sound(file: BinaryIO, info: PackInfo, ending: Ending) -> bool:
    """Whether the file holds what the pack's id stands for. Every byte is looked at."""
    size = os.fstat(file.fileno()).st_size
    if size < 2 * _TRAILER or size != (file_size(info, ending) or size):
        return False
    with (
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        memoryview(data) as view,
        view[:-_TRAILER] as summed,
        view[-_TRAILER:] as own,
        view[-2 * _TRAILER : -_TRAILER] as of_the_pack,
    ):
        is_whole = hashlib.sha1(summed, usedforsecurity=False).digest() == own
        return is_whole and (own if ending == "pack" else of_the_pack).hex() == info.id


class _Ids:
    """The ids of a mapped index and their offsets. Ids are spread evenly: one look at where an id should be finds almost all of them,
    in a third of the time of a binary search.
    """

    def __init__(self, index: BinaryIO) -> None:
        self._data = mmap.mmap(index.fileno(), 0, access=mmap.ACCESS_READ)
        self._bounds = (0, *struct.unpack_from(">256I", self._data, 8))  # of the ids by their first byte
        self._offsets_at = _INDEX_HEAD + 24 * self._bounds[-1]

    def offset(self, oid: Oid) -> int | None:
        low, high = self._bounds[oid[0]], self._bounds[oid[0] + 1]
        guess = low + ((high - low) * int.from_bytes(oid[1:4]) >> 24)
        left, right = max(low, guess - _NEAR), min(high, guess + _NEAR)
        if (left > low and self._id(left) > oid) or (right < high and self._id(right) <= oid):
            left, right = low, high
        place = self._search(oid, left, right)
        return None if place is None else self._offset(place)

    def _search(self, oid: Oid, left: int, right: int) -> int | None:
        if right - left > 2 * _NEAR:
            place = bisect.bisect_left(range(left, right), oid, key=self._id) + left
            return place if place < right and self._id(place) == oid else None
        at = self._data.find(oid, _INDEX_HEAD + 20 * left, _INDEX_HEAD + 20 * right)
        while at >= 0 and (at - _INDEX_HEAD) % 20:  # the end of one id and the start of the next
            at = self._data.find(oid, at + 1, _INDEX_HEAD + 20 * right)
        return (at - _INDEX_HEAD) // 20 if at >= 0 else None

    def _id(self, place: int) -> bytes:
        at = _INDEX_HEAD + 20 * place
        return self._data[at : at + 20]

    def _offset(self, place: int) -> int:
        at = self._offsets_at + 4 * place
        offset = int.from_bytes(self._data[at : at + 4])
        if offset < _FAR:
            return offset
        at = self._offsets_at + 4 * self._bounds[-1] + 8 * (offset - _FAR)
        return int.from_bytes(self._data[at : at + 8])


class _Columns(NamedTuple):
    """An index in order of ids."""

    ids: bytes
    crcs: "array[int]"
    offsets: "array[int]"

    def oids(self) -> Iterator[Oid]:
        return (self.ids[at : at + 20] for at in range(0, len(self.ids), 20))


def _columns(index: BinaryIO) -> _Columns:
    """Of an index that was opened, and so is whole. Read at once: row by row dulwich takes ten times as long for the offsets."""
    fd = index.fileno()
    count = int.from_bytes(os.pread(fd, 4, _INDEX_HEAD - 4), "big")
    at = _INDEX_HEAD + 20 * count
    ids = os.pread(fd, 20 * count, _INDEX_HEAD)
    crcs, offsets = (_numbers("I", os.pread(fd, 4 * count, start)) for start in (at, at + 4 * count))
    if count and max(offsets) >= _FAR:
        far = _numbers("Q", os.pread(fd, 8 * sum(offset >= _FAR for offset in offsets), at + 8 * count))
        offsets = array("Q", (far[offset - _FAR] if offset >= _FAR else offset for offset in offsets))
    return _Columns(ids, crcs, offsets)


def _numbers(code: Literal["I", "Q"], data: bytes) -> "array[int]":
    numbers = array(code, data)
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def _load(index: BinaryIO) -> PackIndex:
    try:
        return load_pack_index_file(index.name, index, DEFAULT_OBJECT_FORMAT)
    except BaseException:
        index.close()
        raise


def _contents(pack: BinaryIO, info: PackInfo) -> mmap.mmap | bytes:
    """Mapped; a small pack is read instead, since a repository of many pushes has many and each map holds a file descriptor."""
    return mmap.mmap(pack.fileno(), 0, access=mmap.ACCESS_READ) if info.size > _SMALL_BYTES else pack.read()

"""Reading one stored pack and its index (gitformat-pack)."""

import bisect
import hashlib
import mmap
import os
import sys
import threading
import weakref
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from dulwich.object_format import DEFAULT_OBJECT_FORMAT
from dulwich.objects import RawObjectID
from dulwich.pack import PackIndex, load_pack_index_file

from storage.packs.base import Ending
from storage.records import Oid, PackInfo

_TRAILER = 20
_SMALL_BYTES = 64 * 1024
_SMALL = 512  # the index of so few objects is kept as a dict: many small pushes make many misses
_INDEX_HEAD, _INDEX_ROW = 8 + 256 * 4, 20 + 4 + 4
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
        self._lock = threading.Lock()
        if info.objects <= _SMALL:
            columns = _columns(index)
            self._small = dict(zip(columns.oids(), columns.offsets, strict=True))
            self._index.close()
        else:
            weakref.finalize(self, self._index.close)

    def offset(self, oid: Oid) -> int | None:
        """Where the entry of `oid` begins, or None."""
        if self._small is not None:
            return self._small.get(oid)
        try:
            return int(self._index.object_offset(RawObjectID(oid)))
        except KeyError:
            return None

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

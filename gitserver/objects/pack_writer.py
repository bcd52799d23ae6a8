"""A pack of whole objects, written while they are made."""

import hashlib
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from gitserver.objects.entries import entry_header
from gitserver.objects.store import RawObject, object_id
from storage.limits import MIB
from storage.records import Oid

_HEADER = struct.Struct(">4sII")


class PackWriter:
    """`close` makes it a pack; an object that comes twice is written once. `bases` are stored trees from which trees in it were made."""

    def __init__(self, path: Path) -> None:
        self.bases: list[Oid] = []
        self._file = path.open("w+b")
        self._file.write(_HEADER.pack(b"PACK", 2, 0))
        self._oids: set[Oid] = set()

    def add(self, raw: RawObject, *, unless: Callable[[Oid], bool] = lambda oid: False) -> Oid:
        """The object's id; it is left out where `unless` says that it is stored already."""
        oid = object_id(raw.kind, raw.data)
        if oid not in self._oids and not unless(oid):
            self._oids.add(oid)
            self._file.write(pack_entry(raw))
        return oid

    def close(self) -> None:
        """Write the count and the trailer."""
        with self._file as file:
            file.seek(0)
            file.write(_HEADER.pack(b"PACK", 2, len(self._oids)))
            file.seek(0)
            digest = hashlib.sha1(usedforsecurity=False)
            while data := file.read(MIB):
                digest.update(data)
            file.write(digest.digest())


def pack_entry(raw: RawObject) -> bytes:
    """An object as a whole pack entry (gitformat-pack)."""
    return entry_header(raw.kind, len(raw.data)) + zlib.compress(raw.data, 3)

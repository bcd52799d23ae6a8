"""Packs of blobs, made without the hub's own code."""

import hashlib
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from dulwich.pack import write_pack_index_v2

from storage.records import PackInfo


@dataclass(frozen=True)
class Made:
    """A pack's files, what is in them by id, and its bytes."""

    info: PackInfo
    pack: Path
    index: Path
    blobs: dict[bytes, bytes]
    data: bytes


def make_pack(folder: Path, *blobs: bytes) -> Made:
    data = bytearray(b"PACK" + struct.pack(">II", 2, len(blobs)))
    rows = []
    for blob in blobs:
        entry = _head(len(blob)) + zlib.compress(blob, 1)
        rows.append((hashlib.sha1(b"blob %d\0" % len(blob) + blob).digest(), len(data), zlib.crc32(entry)))
        data += entry
    trailer = hashlib.sha1(data).digest()
    data += trailer
    pack, index = folder / f"{trailer.hex()}.pack", folder / f"{trailer.hex()}.idx"
    pack.write_bytes(data)
    with index.open("wb") as out:
        write_pack_index_v2(out, sorted(rows), trailer)
    by_id = {oid: blob for (oid, _, _), blob in zip(rows, blobs, strict=True)}
    return Made(PackInfo(trailer.hex(), len(blobs), len(data)), pack, index, by_id, bytes(data))


def _head(size: int) -> bytes:
    byte, size, out = 0x30 | size & 15, size >> 4, bytearray()
    while size:
        out.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    return bytes([*out, byte])

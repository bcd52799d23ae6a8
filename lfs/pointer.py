"""LFS pointer files (git-lfs docs/spec.md): a small blob that names a large object by sha256 and size."""

import re
from dataclasses import dataclass

from storage.records import BlobRef

MOST_BYTES = 1023  # a pointer is smaller than 1024 bytes
VERSION = b"https://git-lfs.github.com/spec/v1"
_VERSIONS = frozenset({VERSION, b"https://hawser.github.com/spec/v1", b"http://git-media.io/v/2"})
_OID = re.compile(rb"sha256:([0-9a-f]{64})")
_KEY = re.compile(rb"[a-z0-9.-]+")


@dataclass(frozen=True, slots=True)
class Pointer:
    """`oid` is lower-case hex SHA-256; `size` in bytes."""

    oid: str
    size: int

    @property
    def blob(self) -> BlobRef:
        return BlobRef(self.oid, self.size)


def parse(data: bytes) -> Pointer | None:
    """The pointer that `data` is, or None for any other content."""
    if len(data) > MOST_BYTES or not data.startswith(b"version "):
        return None
    fields: dict[bytes, bytes] = {}
    for line in data.rstrip(b"\n").split(b"\n"):
        key, space, value = line.rstrip(b"\r").partition(b" ")
        if not space or not _KEY.fullmatch(key) or key in fields:
            return None
        fields[key] = value
    oid = _OID.fullmatch(fields.get(b"oid", b""))
    size = fields.get(b"size", b"")
    if fields[b"version"] not in _VERSIONS or oid is None or not size.isdigit() or len(size) > 18:
        return None
    return Pointer(oid[1].decode(), int(size))


def serialize(pointer: Pointer) -> bytes:
    """The canonical bytes, as git-lfs writes them."""
    return b"version %s\noid sha256:%s\nsize %d\n" % (VERSION, pointer.oid.encode(), pointer.size)

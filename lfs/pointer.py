"""LFS pointer files (git-lfs docs/spec.md): a small blob that names a large object by sha256 and size.

What counts as one is what git-lfs 3.6.1 reads (`git lfs pointer --check`), which is more than what the specification lets programs write.
"""

import re
from dataclasses import dataclass

from storage.records import BlobRef

MOST_BYTES = 1023  # a pointer is smaller than 1024 bytes
VERSION = b"https://git-lfs.github.com/spec/v1"
_VERSIONS = frozenset({VERSION, b"https://hawser.github.com/spec/v1", b"http://git-media.io/v/2"})
_OID = re.compile(rb"sha256:([0-9a-f]{64})")
_SIZE = re.compile(rb"[+-]?[0-9]+")
_EXTENSION = re.compile(rb"ext-([0-9])-[0-9A-Za-z_]")
_KEYS = (b"version", b"oid", b"size")  # in this order, with extensions before any of them
_MOST_SIZE = 2**63 - 1
# White space around the whole in Go's sense: the characters that Unicode says, in UTF-8.
_SPACE = rb"(?:[\t-\r ]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)"
_LEADING = re.compile(_SPACE + rb"*")
_TRAILING = re.compile(_SPACE + rb"*\Z")


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
    if len(data) > MOST_BYTES or b"sha256:" not in data:
        return None
    fields = _fields(_trimmed(data))
    if fields is None or fields.get(b"version") not in _VERSIONS:
        return None
    oid = _OID.fullmatch(fields.get(b"oid", b""))
    size = _size(fields.get(b"size", b""))
    return Pointer(oid[1].decode(), size) if oid is not None and size is not None else None


def serialize(pointer: Pointer) -> bytes:
    """The canonical bytes, as git-lfs writes them."""
    return b"version %s\noid sha256:%s\nsize %d\n" % (VERSION, pointer.oid.encode(), pointer.size)


def _trimmed(data: bytes) -> bytes:
    leading = _LEADING.match(data)
    assert leading is not None
    trailing = _TRAILING.search(data, leading.end())
    assert trailing is not None
    return data[leading.end() : trailing.start()]


def _fields(data: bytes) -> dict[bytes, bytes] | None:
    """The three lines by their keys; None where another line stands between or behind them."""
    fields: dict[bytes, bytes] = {}
    extensions: dict[bytes, bytes] = {}
    for line in data.split(b"\n"):
        line = line.removesuffix(b"\r")
        if not line:
            continue
        key, space, value = line.partition(b" ")
        if not space or len(fields) == len(_KEYS):
            return None
        if key == _KEYS[len(fields)]:
            fields[key] = value
        elif _EXTENSION.match(key):
            extensions[key] = value
        else:
            return None
    return fields if _are_good(extensions) else None


def _are_good(extensions: dict[bytes, bytes]) -> bool:
    """Each names an object, and no two have the same priority."""
    priorities = {key[:5] for key in extensions}  # `ext-N`
    return len(priorities) == len(extensions) and all(_OID.fullmatch(value) for value in extensions.values())


def _size(text: bytes) -> int | None:
    """With a sign or zeros in front, as Go's ParseInt takes it."""
    digits = text.lstrip(b"+-").lstrip(b"0") or b"0"
    if not _SIZE.fullmatch(text) or len(digits) > len(str(_MOST_SIZE)):
        return None
    size = -int(digits) if text.startswith(b"-") else int(digits)
    return size if 0 <= size <= _MOST_SIZE else None

"""Shards (huggingface.co/docs/xet/shard): which runs of chunks make which file. Read with care, and written for dedup answers.

Of an uploaded shard only the files are believed, and those only after every hash in them was made again from chunks that were hashed
here. What it says about xorbs is passed over.
"""

import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lfs.xet.hashes import HASH_BYTES, Chunks, XetHash, to_text
from storage.errors import Invalid, TooLarge
from storage.limits import Limits

_HEADER = struct.Struct("<32sQQ")
_TAG = b"HFRepoMetaData\x00" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
_VERSION = 2
_FOOTER_BYTES, _FOOTER_VERSION = 200, 1
_BOOKEND = b"\xff" * HASH_BYTES
_HAS_RANGE_HASHES = 1 << 31
_HAS_SHA256 = 1 << 30
_FILE = struct.Struct("<32sII8x")
_TERM = struct.Struct("<32sIIII")
_XORB = struct.Struct("<32sIIII")
_CHUNK = struct.Struct("<32sII8x")
_HASH = struct.Struct("<32s16x")


@dataclass(frozen=True, slots=True)
class Term:
    """Chunks `first` up to but without `end` of a xorb, `size` raw bytes; `range_hash` proves that the sender knows them."""

    xorb: XetHash
    first: int
    end: int
    size: int
    range_hash: XetHash


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A file by its Xet hash; `sha256` in lower-case hex is what the sender claims."""

    hash: XetHash
    sha256: str
    terms: tuple[Term, ...]

    @property
    def size(self) -> int:
        return sum(term.size for term in self.terms)


def parse_shard(data: bytes, limits: Limits) -> list[ShardFile]:
    """Raises Invalid for anything that is no upload shard, TooLarge over a limit."""
    reader = _Reader(data)
    tag, version, _ = reader.take(_HEADER)
    if tag != _TAG or version != _VERSION:
        raise Invalid("The body is no shard of version 2. Check the client.")
    files: list[ShardFile] = []
    terms = 0
    while (head := reader.take(_FILE))[0] != _BOOKEND:
        terms += head[2]
        if len(files) >= limits.xet_shard_files or terms > limits.xet_shard_terms:
            raise TooLarge(
                f"The shard names more than {limits.xet_shard_files} files or {limits.xet_shard_terms} terms. Send fewer at once."
            )
        files.append(_read_file(reader, *head))
    _skip_xorbs(reader)
    return files


def write_dedup_shard(xorbs: Sequence[tuple[XetHash, Chunks]], expires: int) -> bytes:
    """What a client may refer to instead of sending it; no files, and a footer with the time when it ends (seconds)."""
    head = _HEADER.pack(_TAG, _VERSION, _FOOTER_BYTES)
    no_files = _HASH.pack(_BOOKEND)
    body = b"".join(_xorb_records(xorbs)) + _HASH.pack(_BOOKEND)
    files_at, xorbs_at = len(head), len(head) + len(no_files)
    end = xorbs_at + len(body)
    # Version; where files and xorbs begin; three empty look-up tables; no HMAC key; made; ends; counters; where this footer begins.
    footer = struct.pack(
        "<3Q6Q32s2Q9QQ", _FOOTER_VERSION, files_at, xorbs_at, end, 0, end, 0, end, 0, bytes(32), int(time.time()), expires, *[0] * 9, end
    )
    return head + no_files + body + footer


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, record: struct.Struct) -> tuple[Any, ...]:
        self.skip(record.size)
        return record.unpack_from(self._data, self._position - record.size)

    def all(self, record: struct.Struct, count: int) -> list[tuple[Any, ...]]:
        start = self._position
        self.skip(record.size * count)
        return list(record.iter_unpack(memoryview(self._data)[start : self._position]))

    def skip(self, size: int) -> None:
        self._position += size
        if self._position > len(self._data):
            raise Invalid("The shard is cut off. Send it again.")


def _read_file(reader: _Reader, value: XetHash, flags: int, count: int) -> ShardFile:
    if not flags & _HAS_RANGE_HASHES or not flags & _HAS_SHA256:
        raise Invalid("A file of the shard has no range hashes or no SHA-256; git repositories need both. Use a newer client.")
    entries = reader.all(_TERM, count)
    proofs = reader.all(_HASH, count)
    (sha256,) = reader.all(_HASH, 1)[0]
    runs = zip(entries, proofs, strict=True)
    terms = [Term(xorb, first, end, size, proof) for (xorb, _, size, first, end), (proof,) in runs]
    # The client keeps the digest as a Xet hash, so that its text is the usual hex.
    return ShardFile(value, to_text(sha256), tuple(terms))


def _skip_xorbs(reader: _Reader) -> None:
    while True:
        value, _, count, _, _ = reader.take(_XORB)
        if value == _BOOKEND:
            return
        reader.skip(count * _CHUNK.size)


def _xorb_records(xorbs: Sequence[tuple[XetHash, Chunks]]) -> Iterator[bytes]:
    for value, chunks in xorbs:
        yield _XORB.pack(value, 0, len(chunks), chunks.size, 0)
        position = 0
        for index, size in enumerate(chunks.sizes):
            yield _CHUNK.pack(chunks.hash_at(index), position, size)
            position += size

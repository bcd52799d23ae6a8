"""Makes xorbs and shards from the format pages (huggingface.co/docs/xet), whole and broken ones, and sends them."""

import hashlib
import random
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import lz4.frame

from lfs.xet.hashes import Chunks, chunk_hash, file_hash, from_text, is_dedup_eligible, range_hash, to_text, xorb_hash

RAW, LZ4, GROUPED = 0, 1, 2
TAG = b"HFRepoMetaData\0" + bytes([85, 105, 103, 69, 106, 123, 129, 87, 131, 165, 189, 217, 92, 205, 209, 74, 169])
BOOKEND = b"\xff" * 32 + bytes(16)
BOTH = 3 << 30  # range hashes and SHA-256


@dataclass(frozen=True)
class Made:
    """A xorb of `parts`, each a raw chunk."""

    parts: tuple[bytes, ...]
    scheme: int = RAW

    @property
    def chunks(self) -> Chunks:
        return Chunks(b"".join(chunk_hash(part) for part in self.parts), array("I", [len(part) for part in self.parts]))

    @property
    def hash(self) -> bytes:
        return xorb_hash(self.chunks)

    @property
    def name(self) -> str:
        return to_text(self.hash)

    @property
    def body(self) -> bytes:
        return b"".join(chunk_record(part, self.scheme) for part in self.parts)

    def of(self, first: int, end: int) -> "Run":
        return Run(self, first, end)


@dataclass(frozen=True)
class Run:
    xorb: Made
    first: int
    end: int

    @property
    def data(self) -> bytes:
        return b"".join(self.xorb.parts[self.first : self.end])

    @property
    def chunks(self) -> Chunks:
        return self.xorb.chunks[self.first : self.end]


@dataclass(frozen=True)
class Told:
    """What a shard says of a file; `told` makes an honest one, `replace` a liar."""

    hash: bytes
    sha256: str
    terms: tuple[tuple[bytes, int, int, int], ...]  # xorb, bytes, first, end
    proofs: tuple[bytes, ...]
    flags: int = BOTH


def told(*runs: Run, **lies: Any) -> Told:
    data = b"".join(run.data for run in runs)
    terms = tuple((run.xorb.hash, len(run.data), run.first, run.end) for run in runs)
    proofs = tuple(range_hash(run.chunks) for run in runs)
    return replace(Told(file_hash([run.chunks for run in runs]), hashlib.sha256(data).hexdigest(), terms, proofs), **lies)


def shard(*files: Told, version: int = 2, xorbs: bytes = b"", tail: bytes = b"") -> bytes:
    body = b"".join(map(_file, files))
    return TAG + struct.pack("<QQ", version, 0) + body + BOOKEND + xorbs + BOOKEND + tail


def _file(file: Told) -> bytes:
    head = file.hash + struct.pack("<II8x", file.flags, len(file.terms))
    terms = b"".join(xorb + struct.pack("<IIII", 0, size, first, end) for xorb, size, first, end in file.terms)
    proofs = b"".join(proof + bytes(16) for proof in file.proofs) if file.flags >> 31 else b""
    extension = from_text(file.sha256) + bytes(16) if file.flags >> 30 & 1 else b""
    return head + terms + proofs + extension


def chunk_record(part: bytes, scheme: int = RAW) -> bytes:
    packed = part if scheme == RAW else lz4.frame.compress(part if scheme == LZ4 else grouped(part))
    return header(len(packed), scheme, len(part)) + packed


def header(packed: int, scheme: int, raw: int, version: int = 0) -> bytes:
    return bytes([version]) + packed.to_bytes(3, "little") + bytes([scheme]) + raw.to_bytes(3, "little")


def grouped(data: bytes) -> bytes:
    return data[0::4] + data[1::4] + data[2::4] + data[3::4]


def parts(seed: int, count: int = 3, size: int = 1000) -> tuple[bytes, ...]:
    """Different chunks, of slightly different sizes."""
    source = random.Random(seed)
    return tuple(source.randbytes(size + index) for index in range(count))


def eligible(seed: int) -> bytes:
    """A chunk that clients ask the server for wherever it stands."""
    source = random.Random(seed)
    while not is_dedup_eligible(chunk_hash(data := source.randbytes(40))):
        pass
    return data


def send(ingest: Any, xorb: Made, user_id: int, pieces: Sequence[bytes] = ()) -> bool:
    """Upload through the service; whether the hub says it is new."""
    upload = ingest.receive()
    try:
        upload.feed(pieces or [xorb.body])
        return bool(upload.finish(xorb.name, user_id))
    finally:
        upload.abort()


def register(ingest: Any, repo_id: str, user_id: int, *files: Told) -> None:
    ingest.register(repo_id, user_id, ingest.read(shard(*files), user_id), lambda done: None)

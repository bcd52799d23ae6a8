"""The Xet hashes (huggingface.co/docs/xet/hashing): BLAKE3 keyed for chunks, tree nodes and ranges, 32 bytes each.

As text a hash is four little-endian 64-bit numbers in hex, not its bytes in order.
"""

import struct
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from blake3 import blake3

from storage.errors import Invalid

XetHash: TypeAlias = bytes

HASH_BYTES = 32
_CHUNK_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_RANGE_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
_FILE_KEY = bytes(32)
_SHORTEST_GROUP, _LONGEST_GROUP = 3, 9
_DEDUP_MODULUS = 1024
_NUMBERS = struct.Struct("<4Q")
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Chunks:
    """A run of chunks: their hashes one behind the other, and the raw size of each in bytes."""

    hashes: bytes
    sizes: "array[int]"

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, span: slice) -> "Chunks":
        first, last, _ = span.indices(len(self.sizes))
        return Chunks(self.hashes[first * HASH_BYTES : last * HASH_BYTES], self.sizes[first:last])

    def hash_at(self, index: int) -> XetHash:
        return self.hashes[index * HASH_BYTES : (index + 1) * HASH_BYTES]

    @property
    def size(self) -> int:
        return sum(self.sizes)


def to_text(value: XetHash) -> str:
    return "{:016x}{:016x}{:016x}{:016x}".format(*_NUMBERS.unpack(value))


def from_text(text: str) -> XetHash:
    """Raises Invalid."""
    if len(text) != 64 or not _HEX.issuperset(text):
        raise Invalid(f"{text[:80]!r} is no Xet hash: 64 lower-case hex digits are needed.")
    return _NUMBERS.pack(*(int(text[start : start + 16], 16) for start in range(0, 64, 16)))


def chunk_hash(data: bytes | memoryview) -> XetHash:
    return blake3(data, key=_CHUNK_KEY).digest()


def xorb_hash(chunks: Chunks) -> XetHash:
    """The root of the tree over a xorb's chunks."""
    return _root([chunks]) or bytes(HASH_BYTES)


def file_hash(parts: Iterable[Chunks]) -> XetHash:
    """The root over all chunks of a file, keyed once more. The parts are taken one by one and not kept."""
    root = _root(parts)
    return blake3(root, key=_FILE_KEY).digest() if root is not None else bytes(HASH_BYTES)


def range_hash(chunks: Chunks) -> XetHash:
    """What a shard must show for each run of chunks that it names: only who knows the chunks can make it."""
    return blake3(chunks.hashes, key=_RANGE_KEY).digest()


def is_dedup_eligible(value: XetHash) -> bool:
    """Whether clients ask the server for this chunk when it is not the first of a file."""
    return int.from_bytes(value[24:], "little") % _DEDUP_MODULUS == 0


def _root(parts: Iterable[Chunks]) -> XetHash | None:
    tree = _Tree()
    for part in parts:
        for index, size in enumerate(part.sizes):
            tree.add(0, (part.hash_at(index), size))
    return tree.root()


@dataclass(slots=True)
class _Level:
    """`group` is what is not merged yet of the `count` nodes that came."""

    group: list[tuple[XetHash, int]] = field(default_factory=list)
    count: int = 0


class _Tree:
    """Groups of 3 to 9 nodes, cut behind a node whose hash divides by four, become a node of the level above, until one is left.

    Only the open group of each level is held: a shard may name any number of chunks.
    """

    def __init__(self) -> None:
        self._levels: list[_Level] = []

    def add(self, number: int, node: tuple[XetHash, int]) -> None:
        if number == len(self._levels):
            self._levels.append(_Level())
        level = self._levels[number]
        level.group.append(node)
        level.count += 1
        size = len(level.group)
        if size == _LONGEST_GROUP or (size >= _SHORTEST_GROUP and node[0][24] & 3 == 0):
            self._close(number)

    def root(self) -> XetHash | None:
        """None when no node came."""
        number = 0
        while number < len(self._levels):
            level = self._levels[number]
            if level.count == 1:
                return level.group[0][0]
            if level.group:  # the last group of a level may be shorter
                self._close(number)
            number += 1
        return None

    def _close(self, number: int) -> None:
        node = _merge(self._levels[number].group)
        self._levels[number].group = []
        self.add(number + 1, node)


def _merge(nodes: list[tuple[XetHash, int]]) -> tuple[XetHash, int]:
    text = "".join([f"{to_text(value)} : {size}\n" for value, size in nodes])
    return blake3(text.encode(), key=_NODE_KEY).digest(), sum(size for _, size in nodes)

"""What a git delta says (gitformat-pack): the sizes of base and result, then instructions that copy from the base or insert bytes."""

from collections.abc import Iterator
from typing import NamedTuple

from dulwich.errors import ApplyDeltaError
from dulwich.pack import apply_delta

from gitserver.objects.entries import read_size, size_bytes
from storage.errors import BadPack
from storage.records import Oid

# Inserts zeros, as many as one instruction can at the most. If the one before lacks bytes and takes some of these, a zero is left over
# where an instruction should be, and that is none.
_END = b"\x7f" + bytes(127)


class Sizes(NamedTuple):
    """`result_at` is where the second number begins, `end` where the instructions do."""

    base: int
    result: int
    result_at: int
    end: int


class DeltaCopy(NamedTuple):
    """`size` bytes of the base at `offset` stand in the result at `at`."""

    at: int
    offset: int
    size: int


class Patch(NamedTuple):
    """A delta that was applied already to the object `base`; `start` is where its instructions begin."""

    base: Oid
    delta: bytes
    start: int

    def copies(self) -> Iterator[DeltaCopy]:
        """In the order of the result."""
        delta, at, position = self.delta, 0, self.start
        while position < len(delta):
            code = delta[position]
            position += 1
            if code < 0x80:
                position += code
                at += code
                continue
            offset = size = 0
            for bit in range(4):
                if code & (1 << bit):
                    offset |= delta[position] << (bit << 3)
                    position += 1
            for bit in range(3):
                if code & (0x10 << bit):
                    size |= delta[position] << (bit << 3)
                    position += 1
            size = size or 0x10000
            yield DeltaCopy(at, offset, size)
            at += size


def read_sizes(delta: bytes, offset: int) -> Sizes:
    """Raises BadPack for a delta that ends within them; `offset` is where it lies in the pack."""
    try:
        base, middle = read_size(delta, 0)
        result, end = read_size(delta, middle)
    except IndexError as error:
        raise BadPack(f"The delta at offset {offset} is cut off. Run git fsck, and push again.") from error
    return Sizes(base, result, middle, end)


def patched(base: bytes, delta: bytes, sizes: Sizes, offset: int) -> bytes:
    """Base and delta to result. An instruction more is put at the end: dulwich passes over a bad copy that is the last and over one that
    is cut off, and other programs could not read what is stored then. Raises BadPack for a delta that does not fit.
    """
    longer = b"".join((delta[: sizes.result_at], size_bytes(sizes.result + _END[0]), delta[sizes.end :], _END))
    try:
        data = b"".join(apply_delta(base, longer))
    except (ApplyDeltaError, AssertionError, IndexError, ValueError) as error:
        raise BadPack(f"The delta at offset {offset} does not fit its base. Run git fsck, and push again.") from error
    return data[: -_END[0]]

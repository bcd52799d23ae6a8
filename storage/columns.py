"""A file of columns of numbers behind a head, mapped: each column begins at a multiple of eight bytes, in this machine's own byte order."""

import mmap
import struct
from array import array
from typing import BinaryIO, Literal

Code = Literal["B", "I", "Q", "q"]


def padded(column: "array[int] | bytearray") -> bytes:
    """The bytes of one column as they stand in the file."""
    data = bytes(memoryview(column).cast("B"))
    return data + bytes(-len(data) % 8)


class Columns:
    """Read in the order in which they were written. The file is closed; what is mapped stays."""

    def __init__(self, file: BinaryIO, head_bytes: int) -> None:
        with file:
            self.view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        self._at = head_bytes

    def next(self, code: Code, count: int) -> "memoryview[int]":
        """Raises ValueError where the file ends before."""
        size = count * struct.calcsize(code)
        found = self.view[self._at : self._at + size].cast(code) if len(self.view) - self._at >= size else None
        if found is None:
            raise ValueError("the file is cut off")
        self._at += size + -size % 8
        return found

"""Sets of objects of one pack: a byte for each position in the pack's order, 1 for what is in the set.

Whole sets are joined and taken apart as large integers, at memory speed; one object is looked up as a byte.
"""

from typing import TypeAlias

Marks: TypeAlias = bytearray


def joined(one: bytes | Marks, other: bytes | Marks) -> Marks:
    return _marks(_number(one) | _number(other), len(one))


def both(one: bytes | Marks, other: bytes | Marks) -> Marks:
    return _marks(_number(one) & _number(other), len(one))


def without(one: bytes | Marks, other: bytes | Marks) -> Marks:
    return _marks(_number(one) & ~_number(other), len(one))


def _number(marks: bytes | Marks) -> int:
    return int.from_bytes(marks, "little")


def _marks(number: int, size: int) -> Marks:
    return bytearray(number.to_bytes(size, "little"))

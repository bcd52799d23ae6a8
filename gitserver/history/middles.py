"""What two trees have between their common beginning and end: of a folder of thousands of entries a commit changes a few, and the
others need not be parsed. Where entries begin is known from the neighbour that was looked at before.
"""

from array import array
from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import TypeAlias

from gitserver.objects.parse import TREE_ENTRIES
from gitserver.objects.store import Objects
from storage.records import Oid

_SMALL = 4096  # bytes of a tree that is parsed faster than compared
_HELD = 4  # trees
_Starts: TypeAlias = "array[int]"  # of the entries, and where the last one ends


class TreeMiddles:
    """Of one run of neighbouring commits."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._starts: dict[Oid, _Starts] = {}

    def middles(self, tree: Oid, other: Oid) -> tuple[bytes, bytes]:
        """Whole entries of both, with all that are not in the other. Raises ObjectNotFound."""
        here, there = self._objects.tree_data(tree), self._objects.tree_data(other)
        if here == there:
            return b"", b""
        if min(len(here), len(there)) < _SMALL:
            return here, there
        if tree not in self._starts and other in self._starts:
            return self.middles(other, tree)[::-1]
        starts = self._starts.get(tree) or _parsed(here)
        self._hold(tree, starts)
        low, high, end = _bounds(starts, here, there)
        derived = _derived(starts, low, high, there, end)
        if derived is None:
            return here, there
        self._hold(other, derived)
        return here[starts[low] : starts[high]], there[starts[low] : end]

    def _hold(self, tree: Oid, starts: _Starts) -> None:
        self._starts.pop(tree, None)
        self._starts[tree] = starts
        while len(self._starts) > _HELD:
            del self._starts[next(iter(self._starts))]


def _bounds(starts: _Starts, data: bytes, other: bytes) -> tuple[int, int, int]:
    """Of the entries of `data` the first that `other` may not have, the first behind them that both end with, and where in `other`
    that one is."""
    most = min(len(data), len(other))
    begin = _common(data[:most], other[:most])
    low = bisect_right(starts, begin) - 1
    left = most - starts[low]
    end = _common(data[len(data) - left :][::-1], other[len(other) - left :][::-1])
    high = bisect_left(starts, len(data) - end)
    return low, high, len(other) - (len(data) - starts[high])


def _derived(starts: _Starts, low: int, high: int, other: bytes, end: int) -> "_Starts | None":
    """Those of `other`, of which only the middle is parsed; None where its entries do not end where the middle does, since ids
    may read like entries."""
    begin = starts[low]
    middle = _parsed(other[begin:end])
    if begin + middle[-1] != end:
        return None
    shift = end - starts[high]
    behind = starts[high:] if shift == 0 else array("Q", (at + shift for at in starts[high:]))
    return starts[:low] + array("Q", (begin + at for at in middle[:-1])) + behind


def _parsed(data: bytes) -> _Starts:
    sizes = (len(mode) + len(name) + 22 for mode, name, _ in TREE_ENTRIES.findall(data))
    return array("Q", accumulate(sizes, initial=0))


def _common(one: bytes, other: bytes) -> int:
    """How many bytes both begin with; they are of one length."""
    if one == other:
        return len(one)
    low, high = 0, len(one)  # the first `low` are the same, of the first `high` some differ
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low

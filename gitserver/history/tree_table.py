"""A tree of any size, held as its bytes and where its entries begin: a folder of 200,000 files takes 9 MB, not 60."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from gitserver.parse import TREE_ENTRIES, TreeItem

_OVERHEAD = 400


class TreeTable:
    """The entries in git's order, which every stored tree has."""

    __slots__ = ("_data", "_starts")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._starts = array("I", (entry.start() for entry in TREE_ENTRIES.finditer(data)))

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def bytes_held(self) -> int:
        return _OVERHEAD + len(self._data) + 4 * len(self._starts)

    def get(self, name: bytes) -> TreeItem | None:
        for key in (name, name + b"/"):
            at = bisect_left(self._starts, key, key=self._key)
            if at < len(self) and self._key(self._starts[at]) == key:
                return self._item(self._starts[at])
        return None

    def items(self, after: bytes = b"") -> Iterator[TreeItem]:
        """Those behind the sort key `after`."""
        first = bisect_right(self._starts, after, key=self._key) if after else 0
        return (self._item(self._starts[at]) for at in range(first, len(self)))

    def _key(self, start: int) -> bytes:
        return self._item(start).sort_key

    def _item(self, start: int) -> TreeItem:
        data = self._data
        space = data.index(b" ", start)
        nul = data.index(b"\0", space)
        return TreeItem(int(data[start:space], 8), data[space + 1 : nul], data[nul + 1 : nul + 21])

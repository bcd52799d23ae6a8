"""A tree of any size, held as its bytes and where its entries begin: a folder of 200,000 files takes 9 MB, not 60."""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate

from gitserver.objects.parse import TreeItem

_ENTRY = re.compile(rb"[0-7]+ [^\0]+\0.{20}", re.DOTALL)  # stored trees have nothing else in them
_OVERHEAD = 400
_ZERO = ord("0")


class TreeTable:
    """The entries in git's order, which every stored tree has."""

    __slots__ = ("_data", "_starts")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._starts = array("I", accumulate(map(len, _ENTRY.findall(data)), initial=0))  # and where the last one ends

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __contains__(self, name: object) -> bool:
        return isinstance(name, bytes) and self._place(name) is not None

    @property
    def bytes_held(self) -> int:
        return _OVERHEAD + len(self._data) + 4 * len(self._starts)

    def get(self, name: bytes) -> TreeItem | None:
        place = self._place(name)
        return self._item(self._starts[place]) if place is not None else None

    def items(self, after: bytes = b"") -> Iterator[TreeItem]:
        """Those behind the sort key `after`."""
        first = bisect_right(self._starts, after, 0, len(self), key=self._key) if after else 0
        return (self._item(self._starts[at]) for at in range(first, len(self)))

    def with_changes(self, changes: Mapping[bytes, TreeItem | None]) -> bytes:
        """The bytes of the tree with other entries under some names, or none. What is not changed is copied in long pieces."""
        if any(self._data[start] == _ZERO for start in self._starts[:-1]):  # modes of old programs, which nobody writes any more
            return self._written_anew(changes)
        edits: list[tuple[int, bytes, bytes]] = []  # before which entry, in which order, what
        dropped = set()
        for name, item in changes.items():
            if (old := self._place(name)) is not None:
                dropped.add(old)
            if item is not None:
                edits.append((self._bisect(item.sort_key), item.sort_key, _entry(item)))
        edits += [(place, b"", b"") for place in dropped]
        pieces, done = [], 0
        for place, key, entry in sorted(edits, key=lambda edit: (edit[0], edit[1] == b"", edit[1])):
            pieces.append(self._data[done : self._starts[place]])
            pieces.append(entry)
            done = self._starts[place] if key else self._starts[place + 1]
        pieces.append(self._data[done:])
        return b"".join(pieces)

    def _written_anew(self, changes: Mapping[bytes, TreeItem | None]) -> bytes:
        kept = [item for item in self.items() if item.name not in changes]
        items = [*kept, *(item for item in changes.values() if item is not None)]
        return b"".join(_entry(item) for item in sorted(items, key=lambda item: item.sort_key))

    def _place(self, name: bytes) -> int | None:
        for key in (name, name + b"/"):
            at = self._bisect(key)
            if at < len(self) and self._key(self._starts[at]) == key:
                return at
        return None

    def _bisect(self, key: bytes) -> int:
        return bisect_left(self._starts, key, 0, len(self), key=self._key)

    def _key(self, start: int) -> bytes:
        """What the entry is sorted by: a folder by its name with a slash."""
        space = self._data.index(b" ", start)
        name = self._data[space + 1 : self._data.index(b"\0", space)]
        return name + b"/" if self._data.startswith((b"4", b"04"), start) else name

    def _item(self, start: int) -> TreeItem:
        data = self._data
        space = data.index(b" ", start)
        nul = data.index(b"\0", space)
        return TreeItem(int(data[start:space], 8), data[space + 1 : nul], data[nul + 1 : nul + 21])


def _entry(item: TreeItem) -> bytes:
    return b"%o %s\0%s" % (item.mode, item.name, item.oid)

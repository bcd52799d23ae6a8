"""How many paths differ between two trees, without going through them: a small pack can hold more paths than anybody can write down."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from gitserver.objects.parse import TreeItem
from gitserver.objects.store import Objects
from storage.errors import TooLarge
from storage.records import Oid

_MANY = 10**15  # larger numbers are not told apart
_MOST_PAIRS = 200_000  # of folders on both sides; with only one side each tree is looked at once
_Pair: TypeAlias = tuple[Oid | None, Oid | None]


@dataclass(slots=True)
class _Visit:
    """A pair of folders that is being counted: what of it is left, and how many paths were counted in what is not."""

    pair: _Pair
    left: Iterator[_Pair]
    count: int = field(default=0)


class PathCount:
    """Counts each pair of folders once, however many paths lead to it."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._counted: dict[_Pair, int] = {}
        self._on_both = 0

    def of(self, before: Oid | None, after: Oid | None) -> int:
        """None stands for the empty tree. Raises TooLarge where even this takes too many steps."""
        if before == after:
            return 0
        root = self._visit((before, after))
        stack = [root]
        while stack:
            visit = stack[-1]
            pair = next(visit.left, None)
            if pair is None:
                stack.pop()
                self._counted[visit.pair] = visit.count
                if stack:
                    stack[-1].count = min(stack[-1].count + visit.count, _MANY)
            elif pair in self._counted:
                visit.count = min(visit.count + self._counted[pair], _MANY)
            else:
                stack.append(self._visit(pair))
        return root.count

    def _visit(self, pair: _Pair) -> _Visit:
        self._on_both += None not in pair
        if self._on_both > _MOST_PAIRS:
            raise TooLarge(f"The update changes more than {_MOST_PAIRS} folders. Push it in several steps.")
        olds, news = self._items(pair[0]), self._items(pair[1])
        folders, files = [], 0
        for name in olds.keys() | news.keys():
            old, new = olds.get(name), news.get(name)
            if old == new:
                continue
            files += any(item is not None and not item.is_tree for item in (old, new))
            below = _tree_of(old), _tree_of(new)
            if below[0] != below[1]:
                folders.append(below)
        return _Visit(pair, iter(folders), files)

    def _items(self, tree: Oid | None) -> dict[bytes, TreeItem]:
        return {item.name: item for item in self._objects.tree(tree)} if tree is not None else {}


def _tree_of(item: TreeItem | None) -> Oid | None:
    return item.oid if item is not None and item.is_tree else None


def check_paths(objects: Objects, before: Oid | None, after: Oid | None, most: int) -> None:
    """Raises TooLarge with the number and the limit."""
    count = PathCount(objects).of(before, after)
    if count > most:
        shown = f"{count:,}" if count < _MANY else f"{_MANY:,} or more"
        raise TooLarge(f"the update changes {shown} paths, {most:,} are taken at once; push it in several steps")

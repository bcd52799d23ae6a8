"""Entries of trees as sets: what differs between two trees is found at the speed of a set, and each tree is read once where it is met
as the new one and soon after as the old one.
"""

from typing import TypeAlias

from gitserver.objects.parse import TREE, TREE_ENTRIES
from gitserver.objects.store import Objects
from storage.records import Oid

Entries: TypeAlias = frozenset[tuple[bytes, bytes, Oid]]  # mode, name, id
_MOST_HELD = 8000  # entries, of about 200 bytes each


class TreeReader:
    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._held: dict[Oid, Entries] = {}
        self._count = 0

    def entries(self, tree: Oid) -> Entries:
        """Raises ObjectNotFound."""
        found = self._held.get(tree)
        if found is None:
            found = frozenset(TREE_ENTRIES.findall(self._objects.get(tree).data))
            self._held[tree] = found
            self._count += len(found)
            while self._count > _MOST_HELD and len(self._held) > 2:
                self._count -= len(self._held.pop(next(iter(self._held))))
        return found


def subtrees(entries: Entries) -> dict[bytes, Oid]:
    """By name."""
    return {name: oid for mode, name, oid in entries if mode == TREE}

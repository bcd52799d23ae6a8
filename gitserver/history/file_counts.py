"""How many files a tree has, folders and all, without going through them: a small pack can hold more than anybody can list."""

from dataclasses import dataclass

from gitserver.history.browser import Snapshot
from gitserver.objects.parse import GITLINK, TREE, TREE_ENTRIES
from gitserver.objects.store import Objects
from storage.limits import MIB
from storage.lru import Recent
from storage.records import Oid

_PLAIN = b"100644"  # of most files
_KEPT_BYTES, _COUNT_BYTES = 4 * MIB, 250


@dataclass(slots=True)
class _Visit:
    """A tree that is being counted: the folders that are left, and the files of what is not."""

    tree: Oid
    left: list[Oid]
    count: int


class FileCounts:
    """Each tree is counted once, however many paths lead to it; after a commit only what is new."""

    def __init__(self) -> None:
        self._known: Recent[tuple[str, Oid], int] = Recent(_KEPT_BYTES, lambda count: _COUNT_BYTES)

    def of(self, snapshot: Snapshot, most: int) -> int:
        """Submodules do not count. Where there are more than `most`, any number above that. Raises ObjectNotFound."""
        objects, counted = snapshot.objects, dict[Oid, int]()
        root = self._visit(objects, snapshot.tree)
        stack, seen = [root], root.count  # in trees that were looked at: there are at least so many
        while stack and seen <= most:
            visit = stack[-1]
            if not visit.left:
                counted[visit.tree] = visit.count
                self._known.keep((objects.repo_id, visit.tree), visit.count)
                stack.pop()
                if stack:
                    stack[-1].count += visit.count
                continue
            tree = visit.left.pop()
            known = counted.get(tree)
            if known is None:
                stack.append(self._visit(objects, tree))
                seen += stack[-1].count
            else:
                visit.count += known
        return max(root.count, seen)

    def _visit(self, objects: Objects, tree: Oid) -> _Visit:
        known = self._known.get((objects.repo_id, tree))
        if known is not None:
            return _Visit(tree, [], known)
        entries = TREE_ENTRIES.findall(objects.tree_data(tree))
        if all(mode == _PLAIN for mode, _, _ in entries):
            return _Visit(tree, [], len(entries))
        folders, files = [], 0
        for padded, _, oid in entries:
            mode = padded.lstrip(b"0")
            if mode == TREE:
                folders.append(oid)
            elif mode != GITLINK:
                files += 1
        return _Visit(tree, folders, files)

"""Which locked files an update of a ref changes: the locks of others refuse it by path, whichever dialect it came by.

A commit changes a path when it has another entry there than each of its parents. Commits that a ref leads to already bring nothing new:
what the holder of a lock has pushed may be merged by everybody.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gitserver.fetch.graph import RevisionWalk, unreachable
from gitserver.history.tree_table import TreeTable
from gitserver.objects.parse import TreeItem
from gitserver.objects.store import Kind, Objects
from lfs.locks.locks import FileLock, shown
from storage.limits import MIB
from storage.lru import Recent
from storage.records import ZERO_OID, Oid, RefUpdate
from storage.versions.base import Refs

_HEADS = b"refs/heads/"
_NOTES = b"refs/notes/"  # their trees hold no files of the repository
_TREES_BYTES = 16 * MIB
_NONE = TreeTable(b"")
_MOST_NAMED = 5


@dataclass(slots=True)
class _Folder:
    """Locked names below one path; `locks` are those of the path itself."""

    locks: list[FileLock] = field(default_factory=list)
    names: "dict[bytes, _Folder]" = field(default_factory=dict)


class LockedPaths:
    """`objects` has what is stored and what comes with the update; `refs` is where refs stood before."""

    def __init__(self, objects: Objects, refs: Refs, locks: Sequence[FileLock]) -> None:
        self._objects = objects
        self._refs = refs
        self._root = _Folder()
        self._trees: Recent[Oid, TreeTable] = Recent(_TREES_BYTES, lambda table: table.bytes_held)
        for lock in locks:
            folder = self._root
            for name in lock.path.split(b"/"):
                folder = folder.names.setdefault(name, _Folder())
            folder.locks.append(lock)

    def refusal(self, update: RefUpdate, target: Oid) -> str:
        """Why the ref may not move to the commit `target`, in words for the client; empty when it may."""
        if update.ref.startswith(_NOTES):
            return ""
        touched = self._by_commits(target) | self._by_rewind(update, target)
        return _told(sorted(touched, key=lambda lock: lock.path)) if touched else ""

    def _by_commits(self, target: Oid) -> set[FileLock]:
        """What new commits change. A wrong clock may make old ones look new: those that change locked files are looked for at every ref."""
        difference = RevisionWalk(self._objects)
        heads = (ref.oid for ref in self._refs.refs if ref.name.startswith(_HEADS))
        for _ in difference.run([target], heads):
            pass
        changed: dict[Oid, set[FileLock]] = {}
        for node in difference.commits:
            trees = [self._objects.commit(parent).tree for parent in node.parents]
            if locks := set.intersection(*(self._changed(self._root, tree, node.tree) for tree in trees or (None,))):
                changed[node.oid] = locks
        if not changed:
            return set()
        new = unreachable(self._objects, changed.keys(), self._tips())
        return {lock for oid in new for lock in changed[oid]}

    def _by_rewind(self, update: RefUpdate, target: Oid) -> set[FileLock]:
        """What a branch shows otherwise when it is moved off its history. Other branches may take what the default branch has."""
        if update.old == ZERO_OID or not update.ref.startswith(_HEADS) or not unreachable(self._objects, {update.old}, [target]):
            return set()
        tree = self._objects.commit(target).tree
        changed = self._changed(self._root, self._objects.commit(update.old).tree, tree)
        default = self._refs.get(self._refs.head)
        if changed and default is not None and default.name != update.ref:
            changed &= self._changed(self._root, self._objects.commit(default.oid).tree, tree)
        return changed

    def _tips(self) -> list[Oid]:
        oids = {ref.peeled or ref.oid for ref in self._refs.refs if not ref.name.startswith(_NOTES)}
        return [oid for oid in oids if self._objects.header(oid)[0] is Kind.COMMIT]

    def _changed(self, folder: _Folder, before: Oid | None, after: Oid | None) -> set[FileLock]:
        """The locks of `folder` whose paths differ between two trees. Folders that are the same are not looked into."""
        if before == after:
            return set()
        olds, news = self._items(before), self._items(after)
        found: set[FileLock] = set()
        for name, below in folder.names.items():
            old, new = olds.get(name), news.get(name)
            if old != new:
                found.update(below.locks)
                found |= self._changed(below, _tree_of(old), _tree_of(new)) if below.names else set()
        return found

    def _items(self, tree: Oid | None) -> TreeTable:
        if tree is None:
            return _NONE
        table = self._trees.get(tree)
        if table is None:
            table = TreeTable(self._objects.tree_data(tree))
            self._trees.keep(tree, table)
        return table


def _tree_of(item: TreeItem | None) -> Oid | None:
    return item.oid if item is not None and item.is_tree else None


def _told(locks: Sequence[FileLock]) -> str:
    named = ", ".join(f"{shown(lock.path)} is locked by {lock.owner}" for lock in locks[:_MOST_NAMED])
    more = f", and {len(locks) - _MOST_NAMED} more files are locked" if len(locks) > _MOST_NAMED else ""
    holders = _listed({lock.owner for lock in locks})
    return f"{named}{more}; ask {holders} to unlock (git lfs unlock), or the owner of the repository to do so with --force"


def _listed(names: Iterable[str]) -> str:
    found = sorted(names)
    return ", ".join(found[:_MOST_NAMED]) + (" and others" if len(found) > _MOST_NAMED else "")

"""A tree with changes: only the folders that lead to a changed path are read and written anew."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gitserver.history.tree_table import TreeTable
from gitserver.objects.parse import TreeItem
from gitserver.objects.store import Kind, RawObject, object_id
from storage.errors import BadPath
from storage.records import Oid

_TREE = 0o40000
_FILE, _EXECUTABLE = 0o100644, 0o100755
_NO_OID = bytes(20)  # of a folder that has none yet


class _Items:
    """What is in a folder: as it stood, and what was changed since."""

    def __init__(self, data: bytes = b"") -> None:
        self._table = TreeTable(data)
        self._changes: dict[bytes, TreeItem | None] = {}

    def get(self, name: bytes) -> TreeItem | None:
        return self._changes[name] if name in self._changes else self._table.get(name)

    def put(self, item: TreeItem) -> None:
        self._changes[item.name] = item

    def pop(self, name: bytes) -> TreeItem | None:
        found = self.get(name)
        if found is not None:
            self._changes[name] = None
        return found

    def all(self) -> Iterator[TreeItem]:
        yield from (item for item in self._table.items() if item.name not in self._changes)
        yield from (item for item in self._changes.values() if item is not None)

    def is_empty(self) -> bool:
        return next(self.all(), None) is None

    def data(self) -> bytes:
        """The tree as it is now."""
        return self._table.with_changes(self._changes)


@dataclass(slots=True)
class _Folder:
    """`items` are changed in place; `opened` are the subfolders that were looked into."""

    items: _Items
    oid: Oid | None
    opened: dict[bytes, "_Folder"] = field(default_factory=dict)


class TreeEdit:
    """`read` gives the bytes of a tree; `root` is None for an empty one."""

    def __init__(self, read: Callable[[Oid], bytes], root: Oid | None) -> None:
        self._read = read
        self._root = self._folder(root)

    def find(self, path: bytes) -> TreeItem | None:
        """What is at `path` now; the id of a changed folder is that from before."""
        folder, _, name = path.rpartition(b"/")
        found = self._open(folder)
        return found.items.get(name) if found is not None else None

    def remove(self, path: bytes) -> bool:
        """Take a file or a whole folder out; False when nothing is there."""
        folder, _, name = path.rpartition(b"/")
        found = self._open(folder)
        if found is None or found.items.pop(name) is None:
            return False
        found.opened.pop(name, None)
        return True

    def is_empty(self, path: bytes) -> bool:
        """Whether everything in the folder at `path` was removed."""
        folder, _, name = path.rpartition(b"/")
        found = self._open(folder)
        return found is not None and self._is_empty(found, name)

    def put(self, path: bytes, oid: Oid, mode: int | None = None) -> None:
        """Set a file. Without a mode an executable stays one. Raises BadPath where a file and a folder would share a name."""
        *folders, name = path.split(b"/")
        at = self._root
        for folder in folders:
            at = self._enter(at, folder, path)
        old = at.items.get(name)
        if old is not None and old.is_tree and not self._is_empty(at, name):
            raise BadPath(f"{_shown(path)} is a folder; delete it in this commit to put a file in its place.")
        at.opened.pop(name, None)
        kept = _EXECUTABLE if old is not None and old.mode == _EXECUTABLE else _FILE
        at.items.put(TreeItem(mode or kept, name, oid))

    def opened(self) -> list[Oid]:
        """The stored trees that were looked into."""
        found, waiting = [], [self._root]
        while waiting:
            folder = waiting.pop()
            waiting += folder.opened.values()
            if folder.oid is not None:
                found.append(folder.oid)
        return found

    def write(self) -> tuple[Oid, list[RawObject]]:
        """The root's id, and the trees that are new."""
        made: list[RawObject] = []
        return _write(self._root, made), made

    def _enter(self, at: _Folder, name: bytes, path: bytes) -> _Folder:
        item = at.items.get(name)
        if item is not None and not item.is_tree:
            raise BadPath(f"{_shown(path)} cannot be in {_shown(name)}: that is a file. Delete it in this commit to make a folder of it.")
        if name not in at.opened:
            at.opened[name] = self._folder(item.oid if item is not None else None)
            if item is None:
                at.items.put(TreeItem(_TREE, name, _NO_OID))
        return at.opened[name]

    def _folder(self, oid: Oid | None) -> _Folder:
        return _Folder(_Items(self._read(oid)) if oid is not None else _Items(), oid)

    def _open(self, path: bytes) -> _Folder | None:
        at = self._root
        for name in path.split(b"/") if path else ():
            item = at.items.get(name)
            if item is None or not item.is_tree:
                return None
            at = self._enter(at, name, path)
        return at

    def _is_empty(self, at: _Folder, name: bytes) -> bool:
        """Whether everything in the folder was removed."""
        opened = at.opened.get(name)
        return opened is not None and all(item.is_tree and self._is_empty(opened, item.name) for item in opened.items.all())


def _write(folder: _Folder, made: list[RawObject]) -> Oid:
    for name, opened in folder.opened.items():
        oid = _write(opened, made)
        if opened.items.is_empty():
            folder.items.pop(name)
        else:
            folder.items.put(TreeItem(_TREE, name, oid))
    raw = RawObject(Kind.TREE, folder.items.data())
    oid = object_id(raw.kind, raw.data)
    if oid != folder.oid:
        made.append(raw)
    return oid


def _shown(path: bytes) -> str:
    return repr(path[:200].decode(errors="replace"))

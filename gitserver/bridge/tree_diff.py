"""The paths that differ between two trees. Folders that are the same are not looked into."""

from collections.abc import Iterator
from dataclasses import dataclass

from gitserver.objects.parse import TreeItem
from gitserver.objects.store import Objects
from storage.records import Oid


@dataclass(frozen=True, slots=True)
class Changed:
    """`old` and `new` are no folders; None where the path is not."""

    path: bytes
    old: TreeItem | None
    new: TreeItem | None


def differences(objects: Objects, before: Oid | None, after: Oid | None, most_bytes: int) -> Iterator[Changed]:
    """None stands for the empty tree. What lies deeper than paths of `most_bytes` can reach comes as one change of the folder there."""
    waiting: list[tuple[bytes, Oid | None, Oid | None]] = [(b"", before, after)]
    while waiting:
        prefix, left, right = waiting.pop()
        olds, news = _items(objects, left), _items(objects, right)
        for name in sorted(olds.keys() | news.keys()):
            old, new = olds.get(name), news.get(name)
            if old == new:
                continue
            path = prefix + name
            folders = [item.oid if item is not None and item.is_tree else None for item in (old, new)]
            if any(folders) and len(path) < most_bytes:
                waiting.append((path + b"/", folders[0], folders[1]))
            files = [item if item is not None and not (item.is_tree and len(path) < most_bytes) else None for item in (old, new)]
            if any(files):
                yield Changed(path, files[0], files[1])


def _items(objects: Objects, tree: Oid | None) -> dict[bytes, TreeItem]:
    return {item.name: item for item in objects.tree(tree)} if tree is not None else {}

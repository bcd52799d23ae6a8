"""Lines of .gitattributes for what became a pointer without a pattern, so that git takes it for a large file.

A line goes into the nearest .gitattributes above its file, since deeper ones win over it, and to the end, since
later lines win (decision 0024).
"""

import urllib.parse
from collections.abc import Iterable, Iterator

from gitserver.commit.attributes import Attributes, attributes_path, track_nearest
from gitserver.commit.draft import Draft
from gitserver.objects.parse import TreeItem
from gitserver.objects.store import Kind, Objects, RawObject
from gitserver.receive.fsck import gitattributes_faults
from lfs.pointer import MOST_BYTES, parse
from storage.errors import TooLarge
from storage.limits import Limits
from storage.records import Oid

ATTRIBUTES = b".gitattributes"
_SYMLINK = 0o120000
_MOST_ENTRIES = 1_000_000  # of a tree whose pointers are looked for; it decides on ids, so it is no setting
_TRAILER = "Hub-Attributes: "


def cover(draft: Draft, paths: Iterable[bytes], limits: Limits) -> set[bytes]:
    """Add a line for each of `paths` that is a pointer and that nothing tracks; the files that were written."""
    attributes = Attributes(lambda folder: attributes_of(draft, folder), limits)
    untracked = []
    for path in sorted(set(paths)):
        item = draft.edit.find(path)
        if item is not None and _is_file(item) and not is_tracked(attributes, path):
            untracked.append(path)
    written = set()
    for path, text in track_nearest(lambda folder: attributes_of(draft, folder), untracked).items():
        item = draft.edit.find(path)
        was_pointer = item is not None and parse(draft.blob(item.oid)) is not None
        if not was_pointer and not any(True for _ in gitattributes_faults(text)):  # else git does not read it
            draft.edit.put(path, draft.add(RawObject(Kind.BLOB, text), remember=True))
            written.add(path)
    return written


def pointers_below(objects: Objects, tree: Oid | None, folders: Iterable[bytes]) -> Iterator[bytes]:
    """The paths in `tree` of LFS pointers below any of `folders` (b"" is the root)."""
    wanted = tuple(folder + b"/" if folder else b"" for folder in folders)
    waiting = [(b"", tree)] if tree is not None and wanted else []
    seen: dict[Oid, bool] = {}
    entries = 0
    while waiting:
        above, at = waiting.pop()
        for item in objects.tree(at):
            path = above + item.name
            entries += 1
            if entries > _MOST_ENTRIES:
                return
            if item.is_tree:
                if (path + b"/").startswith(wanted) or any(one.startswith(path + b"/") for one in wanted):
                    waiting.append((path + b"/", item.oid))
            elif _is_file(item) and path.startswith(wanted):
                if item.oid not in seen:
                    seen[item.oid] = _is_pointer(objects, item.oid)
                if seen[item.oid]:
                    yield path


def is_tracked(attributes: Attributes, path: bytes) -> bool:
    """Patterns that take too long to match say nothing."""
    try:
        return attributes.is_lfs(path)
    except TooLarge:
        return False


def attributes_of(draft: Draft, folder: bytes) -> bytes | None:
    item = draft.edit.find(attributes_path(folder))
    return draft.blob(item.oid) if item is not None and _is_file(item) else None


def trailers(paths: Iterable[bytes]) -> list[str]:
    """Lines of a commit message: which .gitattributes are not as LakeFS has them."""
    return [_TRAILER + urllib.parse.quote(path) for path in sorted(paths)]


def told_by(objects: Objects, commit: Oid | None) -> set[bytes]:
    """What the trailers of a commit say."""
    if commit is None:
        return set()
    lines = objects.get(commit).data.partition(b"\n\n")[2].split(b"\n")
    start = _TRAILER.encode()
    paths = [urllib.parse.unquote_to_bytes(line[len(start) :]) for line in lines if line.startswith(start)]
    return set(filter(says_attributes, paths))


def says_attributes(path: bytes) -> bool:
    return path.rpartition(b"/")[2] == ATTRIBUTES


def _is_file(item: TreeItem) -> bool:
    return not item.is_tree and not item.is_gitlink and item.mode != _SYMLINK


def _is_pointer(objects: Objects, oid: Oid) -> bool:
    kind, size = objects.header(oid)
    return kind is Kind.BLOB and 0 < size <= MOST_BYTES and parse(objects.get(oid).data) is not None

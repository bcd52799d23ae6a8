"""A repository as files: revisions, entries, listings. Serves every dialect that shows paths instead of git objects."""

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from gitserver.fetch.graph import peel
from gitserver.objects import Kind, Objects, ObjectStores
from gitserver.parse import TreeItem
from lfs.pointer import MOST_BYTES, parse
from lfs.possession import Possession
from storage.errors import EntryNotFound, Invalid, ObjectNotFound, RevisionNotFound
from storage.records import FileEntry, Oid, Repo
from storage.versions.base import VersionStore

_SHA = re.compile(r"[0-9a-f]{40}")
_SHORT = re.compile(r"[0-9a-f]{7,39}")
_TREE = 0o40000
_KEPT_TREES = 2000
_PREFIXES = ("", "refs/heads/", "refs/tags/", "refs/")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One commit of one repository; what is read through it never changes."""

    repo: Repo
    objects: Objects
    commit: Oid
    tree: Oid


def is_text(value: str) -> bool:
    """JSON can hold halves of characters, which have no bytes; what comes from a URL always has."""
    return not any(0xD800 <= ord(char) < 0xDC80 or 0xDCFF < ord(char) < 0xE000 for char in value)


class Browser:
    def __init__(self, objects: ObjectStores, versions: VersionStore, possession: Possession) -> None:
        self._objects = objects
        self._versions = versions
        self._possession = possession
        self._trees: OrderedDict[tuple[str, Oid], dict[bytes, TreeItem]] = OrderedDict()
        self._lock = threading.Lock()

    def at(self, repo: Repo, revision: str) -> Snapshot:
        """The commit that `revision` names: branch, tag, full ref, full or short id. Raises RevisionNotFound."""
        objects = self._objects.of(repo.id)
        try:
            _, oid, kind = peel(objects, self._named(repo, objects, revision))
            if kind is Kind.COMMIT:
                return Snapshot(repo, objects, oid, objects.commit(oid).tree)
        except ObjectNotFound:
            pass
        raise RevisionNotFound(f"Invalid rev id: {revision[:200]}. {repo.name.full} has no such branch, tag or commit.")

    def branch(self, repo: Repo, revision: str) -> bytes:
        """The full name of the branch to write to; the default branch of an empty repository is there before its first commit.

        Raises RevisionNotFound, and Invalid for a tag or a commit: those do not move.
        """
        refs = self._versions.refs(repo.id)
        name = revision.removeprefix("refs/heads/").encode("utf-8", "surrogateescape")
        full = refs.head if revision == "HEAD" else b"refs/heads/" + name
        if refs.get(full) is not None or (full == refs.head and not refs.refs):
            return full
        self.at(repo, revision)
        raise Invalid(f"{revision[:200]} is a tag or a commit. Commits go onto branches: name one, or create it first.")

    def default(self, repo: Repo) -> Snapshot | None:
        """Where HEAD points; None while the repository is empty."""
        refs = self._versions.refs(repo.id)
        return self.at(repo, refs.head.decode("utf-8", "surrogateescape")) if refs.get(refs.head) is not None else None

    def entry(self, snapshot: Snapshot, path: bytes) -> FileEntry:
        """The file or folder at `path` (b"" is the root). Raises EntryNotFound."""
        item = TreeItem(_TREE, b"", snapshot.tree)
        for name in path.split(b"/") if path else ():
            found = self._names(snapshot, item.oid).get(name) if item.is_tree else None
            if found is None:
                shown = path.decode(errors="replace")[:300]
                raise EntryNotFound(f'"{shown}" does not exist in {snapshot.repo.name.full} at this revision.', snapshot.commit.hex())
            item = found
        return self._file(snapshot, path, item)

    def children(self, snapshot: Snapshot, path: bytes, *, recursive: bool, after: bytes = b"") -> Iterator[FileEntry]:
        """What lies in the folder `path`, in git's order, folders before what is in them; resumes behind the path `after`.

        Raises EntryNotFound when there is no such folder.
        """
        root = self.entry(snapshot, path)
        if root.mode != _TREE:
            raise EntryNotFound(f'"{path.decode(errors="replace")[:300]}" is a file, not a folder.', snapshot.commit.hex())
        prefix = path + b"/" if path else b""
        behind = after[len(prefix) :].split(b"/") if after.startswith(prefix) and after else []
        return self._walk(snapshot, root.oid, prefix, behind, recursive=recursive)

    def names(self, snapshot: Snapshot, path: bytes) -> dict[bytes, TreeItem]:
        """The entries of the folder `path`, or nothing where there is none."""
        try:
            root = self.entry(snapshot, path)
        except EntryNotFound:
            return {}
        return self._names(snapshot, root.oid) if root.mode == _TREE else {}

    def _walk(self, snapshot: Snapshot, tree: Oid, prefix: bytes, behind: list[bytes], *, recursive: bool) -> Iterator[FileEntry]:
        stack = [iter(self._resume(snapshot, tree, prefix, behind))]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                continue
            path, item, rest, is_shown = step
            if is_shown:
                yield self._file(snapshot, path, item)
            if recursive and item.is_tree:
                stack.append(iter(self._resume(snapshot, item.oid, path + b"/", rest)))

    def _resume(
        self, snapshot: Snapshot, tree: Oid, prefix: bytes, behind: list[bytes]
    ) -> Iterator[tuple[bytes, TreeItem, list[bytes], bool]]:
        """Entries behind the path `behind`; the folder that it leads through comes again, not to be shown."""
        names = self._names(snapshot, tree)
        first = names.get(behind[0]) if behind else None
        last_key = first.sort_key if first is not None else b"".join(behind[:1])
        for name, item in names.items():
            if item is first:
                yield prefix + name, item, behind[1:], False
            elif item.sort_key > last_key:
                yield prefix + name, item, [], True

    def _names(self, snapshot: Snapshot, tree: Oid) -> dict[bytes, TreeItem]:
        key = (snapshot.repo.id, tree)
        with self._lock:
            names = self._trees.get(key)
            if names is not None:
                self._trees.move_to_end(key)
                return names
        names = {item.name: item for item in snapshot.objects.tree(tree)}
        with self._lock:
            self._trees[key] = names
            while len(self._trees) > _KEPT_TREES:
                self._trees.popitem(last=False)
        return names

    def _file(self, snapshot: Snapshot, path: bytes, item: TreeItem) -> FileEntry:
        if item.is_tree or item.is_gitlink:
            return FileEntry(path, item.mode, item.oid, 0)
        _, size = snapshot.objects.header(item.oid)
        lfs = None
        if size <= MOST_BYTES and (pointer := parse(snapshot.objects.get(item.oid).data)):
            have = self._possession.has(snapshot.repo.id, pointer.oid)
            lfs = have if have == pointer.blob else None
        return FileEntry(path, item.mode, item.oid, size, lfs)

    def _named(self, repo: Repo, objects: Objects, revision: str) -> Oid:
        if _SHA.fullmatch(revision):
            return bytes.fromhex(revision)
        if not is_text(revision):
            raise ObjectNotFound(revision)
        refs = self._versions.refs(repo.id)
        if revision == "HEAD":
            revision = refs.head.decode("utf-8", "surrogateescape")
        for prefix in _PREFIXES:
            name = prefix + revision
            ref = refs.get(name.encode("utf-8", "surrogateescape")) if name.startswith("refs/") else None
            if ref is not None:
                return ref.oid
        if _SHORT.fullmatch(revision):
            found = {oid for pack in objects.packs() for oid in pack.with_prefix(revision)}
            commits = [oid for oid in found if objects.header(oid)[0] is Kind.COMMIT]
            if len(commits) == 1:
                return commits[0]
        raise ObjectNotFound(revision)

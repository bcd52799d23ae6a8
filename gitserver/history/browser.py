"""A repository as files: revisions, entries, listings. Serves every dialect that shows paths instead of git objects."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from gitserver.fetch.graph import peel
from gitserver.history.listing import list_files, list_paths
from gitserver.history.tree_table import TreeTable
from gitserver.objects.parse import TreeItem
from gitserver.objects.store import Kind, Objects, ObjectStores
from lfs.objects.possession import Possession
from lfs.pointer import MOST_BYTES, parse
from storage.errors import EntryNotFound, Invalid, ObjectNotFound, RevisionNotFound
from storage.limits import MIB
from storage.lru import Recent
from storage.records import FileEntry, Oid, Repo
from storage.spelling import named, spelled
from storage.versions.base import VersionStore

_SHA = re.compile(r"[0-9a-f]{40}")
_SHORT = re.compile(r"[0-9a-f]{7,39}")
_HEAD = b"HEAD"
_TREE = 0o40000
_EMPTY = TreeTable(b"")
_TREES_BYTES = 48 * MIB
_TIPS_BYTES, _TIP_BYTES = 4 * MIB, 400
_FILES_BYTES, _FILE_BYTES = 8 * MIB, 700  # an entry besides its path, which is held twice
_SHOWN = (b"refs/heads/", b"refs/tags/", b"refs/convert/", b"refs/pr/")  # refs elsewhere are git's alone


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


@dataclass(frozen=True, slots=True)
class _Tip:
    """The commit that an object id leads to, and its tree."""

    commit: Oid
    tree: Oid


class Browser:
    """What is remembered here hangs on a repository's id and an object's, which name the same bytes for ever; where refs stand and
    what the repository possesses is asked each time, so that what any process wrote shows at once.
    """

    def __init__(self, objects: ObjectStores, versions: VersionStore, possession: Possession) -> None:
        self._objects = objects
        self._versions = versions
        self._possession = possession
        self._tips: Recent[tuple[str, Oid], _Tip] = Recent(_TIPS_BYTES, lambda tip: _TIP_BYTES)
        self._trees: Recent[tuple[str, Oid], TreeTable] = Recent(_TREES_BYTES, lambda table: table.bytes_held)
        self._files: Recent[tuple[str, Oid, bytes], FileEntry] = Recent(_FILES_BYTES, lambda entry: _FILE_BYTES + 2 * len(entry.path))

    def at(self, repo: Repo, revision: str) -> Snapshot:
        """The commit that `revision` names: branch, tag, full ref, full or short id. Raises RevisionNotFound."""
        objects = self._objects.of(repo.id)
        try:
            tip = self._tip(repo, objects, self._named(repo, objects, revision))
        except ObjectNotFound as error:
            message = f"Invalid rev id: {revision[:200]}. {repo.name.full} has no such branch, tag or commit."
            raise RevisionNotFound(message) from error
        return Snapshot(repo, objects, tip.commit, tip.tree)

    def branch(self, repo: Repo, revision: str) -> bytes:
        """The full name of the branch to write to; the default branch of an empty repository is there before its first commit.

        Raises RevisionNotFound, and Invalid for a tag or a commit: those do not move.
        """
        refs = self._versions.refs(repo.id, fresh=False)
        name = revision.removeprefix("refs/heads/").encode("utf-8", "surrogateescape")
        full = refs.head if revision == "HEAD" else b"refs/heads/" + name
        if (found := refs.find(full)) is not None:
            return found.name
        if full == refs.head and not refs.refs:
            return full
        self.at(repo, revision)
        raise Invalid(f"{revision[:200]} is a tag or a commit. Commits go onto branches: name one, or create it first.")

    def default(self, repo: Repo) -> Snapshot | None:
        """Where HEAD points; None while the repository is empty."""
        ref = self._versions.find(repo.id, [_HEAD])
        return self.at(repo, ref.name.decode("utf-8", "surrogateescape")) if ref is not None else None

    def entry(self, snapshot: Snapshot, path: bytes) -> FileEntry:
        """The file or folder at `path` (b"" is the root), or spelled so. Raises EntryNotFound."""
        key = (snapshot.repo.id, snapshot.tree, path)
        found = self._files.get(key)
        if found is None:
            found = _described(snapshot.objects, *self._item(snapshot, path))
            self._files.keep(key, found)
        return self._possessed(snapshot.repo, found)

    def spelling(self, snapshot: Snapshot, path: bytes) -> str:
        """`path` as text for clients, by which `entry` and `stored` find it again (storage.spelling)."""
        try:
            return path.decode()
        except UnicodeDecodeError:
            return "/".join(spelled(name, beside) for name, beside in self._beside(snapshot, path))

    def stored(self, snapshot: Snapshot, path: bytes) -> bytes:
        """`path` as git has it; what is not there yet stays as it was asked for."""
        if b"%" not in path:
            return path
        return b"/".join(name for name, _ in self._beside(snapshot, path))

    def page(self, snapshot: Snapshot, path: bytes, most: int, *, is_recursive: bool, after: bytes = b"") -> list[FileEntry]:
        """At most so many of what lies in the folder `path`, in git's order, folders before what is in them, from behind
        the path `after`; no submodules, whose files are elsewhere.

        Raises EntryNotFound when there is no such folder.
        """
        root = self.entry(snapshot, path)
        if root.mode != _TREE:
            raise EntryNotFound(f'"{path.decode(errors="replace")[:300]}" is a file, not a folder.', snapshot.commit.hex())
        prefix = root.path + b"/" if path else b""
        behind = after[len(prefix) :].split(b"/") if after.startswith(prefix) and after else []
        walked = self._walk(snapshot, root.oid, prefix, behind, is_recursive=is_recursive)
        found = islice((step for step in walked if not step[1].is_gitlink), most)
        return self._all_possessed(snapshot.repo, [_described(snapshot.objects, path, item) for path, item in found])

    def file_paths(self, snapshot: Snapshot) -> Iterator[list[bytes]]:
        """The paths of all files, in git's order, some at a time."""
        return list_paths(snapshot.objects, snapshot.tree)

    def files(self, snapshot: Snapshot) -> Iterator[list[FileEntry]]:
        """The same with what is known of each."""
        objects = snapshot.objects
        for run in list_files(objects, snapshot.tree):
            items = [(file.path, TreeItem(int(file.mode, 8), b"", file.oid)) for file in run]
            yield self._all_possessed(snapshot.repo, [_described(objects, path, item) for path, item in items])

    def _item(self, snapshot: Snapshot, path: bytes) -> tuple[bytes, TreeItem]:
        """What is at `path`, and its path in git."""
        item = TreeItem(_TREE, b"", snapshot.tree)
        names = []
        for name, beside in self._beside(snapshot, path) if path else ():
            found = beside.get(name)
            if found is None:
                shown = path.decode(errors="replace")[:300]
                raise EntryNotFound(f'"{shown}" does not exist in {snapshot.repo.name.full} at this revision.', snapshot.commit.hex())
            item = found
            names.append(name)
        return b"/".join(names), item

    def _beside(self, snapshot: Snapshot, path: bytes) -> Iterator[tuple[bytes, TreeTable]]:
        """Each name of `path` as git has it, with the folder that it lies in; missing folders are empty."""
        beside = self._table(snapshot, snapshot.tree)
        for asked in path.split(b"/"):
            name = named(asked, beside)
            yield name, beside
            item = beside.get(name)
            beside = self._table(snapshot, item.oid) if item is not None and item.is_tree else _EMPTY

    def _walk(
        self, snapshot: Snapshot, tree: Oid, prefix: bytes, behind: list[bytes], *, is_recursive: bool
    ) -> Iterator[tuple[bytes, TreeItem]]:
        stack = [iter(self._resume(snapshot, tree, prefix, behind))]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                continue
            path, item, rest, is_shown = step
            if is_shown:
                yield path, item
            if is_recursive and item.is_tree:
                stack.append(iter(self._resume(snapshot, item.oid, path + b"/", rest)))

    def _resume(
        self, snapshot: Snapshot, tree: Oid, prefix: bytes, behind: list[bytes]
    ) -> Iterator[tuple[bytes, TreeItem, list[bytes], bool]]:
        """Entries behind the path `behind`; the folder that it leads through comes again, not to be shown."""
        table = self._table(snapshot, tree)
        first = table.get(behind[0]) if behind else None
        if first is not None:
            yield prefix + first.name, first, behind[1:], False
        for item in table.items(first.sort_key if first is not None else b"".join(behind[:1])):
            yield prefix + item.name, item, [], True

    def _table(self, snapshot: Snapshot, tree: Oid) -> TreeTable:
        key = (snapshot.repo.id, tree)
        table = self._trees.get(key)
        if table is None:
            table = TreeTable(snapshot.objects.tree_data(tree))
            self._trees.keep(key, table)
        return table

    def _possessed(self, repo: Repo, entry: FileEntry) -> FileEntry:
        """`entry`, as a plain file where its pointer names what the repository was not given."""
        if entry.lfs is None or self._possession.has(repo.id, entry.lfs.sha256) == entry.lfs:
            return entry
        return replace(entry, lfs=None)

    def _all_possessed(self, repo: Repo, entries: list[FileEntry]) -> list[FileEntry]:
        named = {entry.lfs.sha256 for entry in entries if entry.lfs is not None}
        held = self._possession.held(repo.id, named) if named else {}
        return [entry if entry.lfs is None or held.get(entry.lfs.sha256) == entry.lfs else replace(entry, lfs=None) for entry in entries]

    def _tip(self, repo: Repo, objects: Objects, oid: Oid) -> _Tip:
        key = (repo.id, oid)
        tip = self._tips.get(key)
        if tip is None:
            commit = peel(objects, oid)[1]
            tip = _Tip(commit, objects.commit(commit).tree)
            self._tips.keep(key, tip)
        return tip

    def _named(self, repo: Repo, objects: Objects, revision: str) -> Oid:
        if _SHA.fullmatch(revision):
            return bytes.fromhex(revision)
        if not is_text(revision):
            raise ObjectNotFound(revision)
        name = revision.encode("utf-8", "surrogateescape")
        names = _names_of(name)
        ref = self._versions.find(repo.id, names) if names else None
        if ref is None and b"%" in name:
            refs = self._versions.refs(repo.id)
            ref = next((named_so for full in names if (named_so := refs.find(full)) is not None), None)
        if ref is not None:
            return ref.oid
        if _SHORT.fullmatch(revision):
            found = {oid for pack in objects.packs() for oid in pack.with_prefix(revision)}
            commits = [oid for oid in found if objects.header(oid)[0] is Kind.COMMIT]
            if len(commits) == 1:
                return commits[0]
        raise ObjectNotFound(revision)


def _names_of(revision: bytes) -> list[bytes]:
    """The refs that a revision may mean, in order: a branch, a tag, or what is named by its namespace."""
    if revision == _HEAD:
        return [revision]
    names = [prefix + revision for prefix in _SHOWN[:2]] + [b"refs/" + revision]
    names = [revision, *names] if revision.startswith(b"refs/") else names
    return [name for name in names if name.startswith(_SHOWN)]


def _described(objects: Objects, path: bytes, item: TreeItem) -> FileEntry:
    """What the objects say of it; `lfs` is what a pointer names, possessed or not."""
    if item.is_tree or item.is_gitlink:
        return FileEntry(path, item.mode, item.oid, 0)
    size, data = objects.measure(item.oid, MOST_BYTES)
    pointer = parse(data) if data is not None else None
    return FileEntry(path, item.mode, item.oid, size, pointer.blob if pointer else None)

"""A repository as files: revisions, entries, listings. Serves every dialect that shows paths instead of git objects."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from gitserver.fetch.graph import peel
from gitserver.objects import Kind, Objects, ObjectStores
from gitserver.parse import TreeItem
from lfs.pointer import MOST_BYTES, parse
from lfs.possession import Possession
from storage.errors import EntryNotFound, Invalid, ObjectNotFound, RevisionNotFound
from storage.recent import Recent
from storage.records import FileEntry, Oid, Repo
from storage.spelling import named, spelled
from storage.versions.base import VersionStore

_SHA = re.compile(r"[0-9a-f]{40}")
_SHORT = re.compile(r"[0-9a-f]{7,39}")
_HEAD = b"HEAD"
_TREE = 0o40000
_KEPT_TREES = 2000
_KEPT_TIPS = 10_000
_KEPT_FILES = 20_000
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
        self._tips: Recent[tuple[str, Oid], _Tip] = Recent(_KEPT_TIPS)
        self._trees: Recent[tuple[str, Oid], dict[bytes, TreeItem]] = Recent(_KEPT_TREES)
        self._files: Recent[tuple[str, Oid, bytes], FileEntry] = Recent(_KEPT_FILES)

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

    def children(self, snapshot: Snapshot, path: bytes, *, recursive: bool, after: bytes = b"") -> Iterator[FileEntry]:
        """What lies in the folder `path`, in git's order, folders before what is in them; resumes behind the path `after`.

        Raises EntryNotFound when there is no such folder.
        """
        root = self.entry(snapshot, path)
        if root.mode != _TREE:
            raise EntryNotFound(f'"{path.decode(errors="replace")[:300]}" is a file, not a folder.', snapshot.commit.hex())
        prefix = root.path + b"/" if path else b""
        behind = after[len(prefix) :].split(b"/") if after.startswith(prefix) and after else []
        return self._walk(snapshot, root.oid, prefix, behind, recursive=recursive)

    def names(self, snapshot: Snapshot, path: bytes) -> dict[bytes, TreeItem]:
        """The entries of the folder `path`, or nothing where there is none."""
        try:
            root = self.entry(snapshot, path)
        except EntryNotFound:
            return {}
        return self._names(snapshot, root.oid) if root.mode == _TREE else {}

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

    def _beside(self, snapshot: Snapshot, path: bytes) -> Iterator[tuple[bytes, Mapping[bytes, TreeItem]]]:
        """Each name of `path` as git has it, with the folder that it lies in; missing folders are empty."""
        beside: Mapping[bytes, TreeItem] = self._names(snapshot, snapshot.tree)
        for asked in path.split(b"/"):
            name = named(asked, beside)
            yield name, beside
            item = beside.get(name)
            beside = self._names(snapshot, item.oid) if item is not None and item.is_tree else {}

    def _walk(self, snapshot: Snapshot, tree: Oid, prefix: bytes, behind: list[bytes], *, recursive: bool) -> Iterator[FileEntry]:
        stack = [iter(self._resume(snapshot, tree, prefix, behind))]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                continue
            path, item, rest, is_shown = step
            if is_shown:
                yield self._possessed(snapshot.repo, _described(snapshot.objects, path, item))
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
        names = self._trees.get(key)
        if names is None:
            names = {item.name: item for item in snapshot.objects.tree(tree)}
            self._trees.keep(key, names)
        return names

    def _possessed(self, repo: Repo, entry: FileEntry) -> FileEntry:
        """`entry`, as a plain file where its pointer names what the repository was not given."""
        if entry.lfs is None or self._possession.has(repo.id, entry.lfs.sha256) == entry.lfs:
            return entry
        return replace(entry, lfs=None)

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
    _, size = objects.header(item.oid)
    pointer = parse(objects.get(item.oid).data) if size <= MOST_BYTES else None
    return FileEntry(path, item.mode, item.oid, size, pointer.blob if pointer else None)

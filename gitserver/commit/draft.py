"""One commit on its way: changes applied to the parent's tree, blobs written to a pack as they are met.

What .gitattributes tracks becomes a pointer here whichever way it came, and what came as a large file becomes tracked, so that git, git-lfs
and the Hugging Face client agree on every file.
"""

import hashlib
from collections.abc import Callable, Mapping
from functools import partial

from gitserver.commit.attributes import Attributes, attributes_path, track_nearest
from gitserver.commit.changes import CommitRequest, CopiedFile, Put, PutLarge, Remove
from gitserver.commit.trees import TreeEdit
from gitserver.history.browser import Browser, Snapshot
from gitserver.objects.pack_writer import PackWriter
from gitserver.objects.store import Kind, Objects, RawObject
from lfs.objects.large_files import LargeFiles
from lfs.pointer import MOST_BYTES, Pointer, parse, serialize
from storage.errors import EntryNotFound, Invalid, ObjectNotFound
from storage.limits import Limits
from storage.records import BlobRef, FileEntry, Oid, Principal, Repo

_ATTRIBUTES = b".gitattributes"
_SYMLINK = 0o120000


class Draft:
    """The tree of a commit to be. Objects that are in the repository already are not written again."""

    def __init__(self, objects: Objects, writer: PackWriter, root: Oid | None) -> None:
        self._objects = objects
        self._writer = writer
        self._made: dict[Oid, RawObject] = {}
        self.edit = TreeEdit(objects.tree_data, root)

    def add(self, raw: RawObject, *, remember: bool = False) -> Oid:
        """Write what is new; what is to be remembered can be read through the draft."""
        oid = self._writer.add(raw, unless=lambda oid: self._objects.peek(oid) is not None)
        if remember:
            self._made[oid] = raw
        return oid

    def add_blob(self, data: bytes) -> Oid:
        return self.add(RawObject(Kind.BLOB, data))

    def blob(self, oid: Oid) -> bytes:
        return (self._made.get(oid) or self._objects.get(oid)).data

    def finish(self) -> Oid:
        """Write the new trees; the root's id."""
        self._writer.bases += self.edit.opened()
        root, trees = self.edit.write()
        for tree in trees:
            self.add(tree)
        return root


class ChangeSet:
    """Applies a request to a draft: removals first, then copies, then files."""

    def __init__(self, repo: Repo, principal: Principal, request: CommitRequest, large: LargeFiles, limits: Limits) -> None:
        self._repo = repo
        self._principal = principal
        self._request = request
        self._large = large
        self._limits = limits
        self._named: list[BlobRef] = []  # by pointers that came as text
        self._kept: list[Callable[[], bytes]] = []  # contents that belong in large storage
        self._copied: dict[bytes, FileEntry] = {}

    def apply(self, draft: Draft, browser: Browser, parent: Snapshot | None) -> None:
        """Raises EntryNotFound, BadPath, Invalid."""
        commit = parent.commit.hex() if parent is not None else ""
        for change in self._request.changes:
            if isinstance(change, Remove) and not draft.edit.remove(change.path):
                raise EntryNotFound(f"A file with this name doesn't exist: {_shown(change.path)}. Nothing was committed.", commit)
        for change in self._request.changes:
            if isinstance(change, CopiedFile):
                self._copy(draft, browser, parent, change)
        self._put(draft)

    def _copy(self, draft: Draft, browser: Browser, parent: Snapshot | None, change: CopiedFile) -> None:
        source = browser.at(self._repo, change.revision) if change.revision else parent
        if source is None:
            raise EntryNotFound(f"A file with this name doesn't exist: {_shown(change.source)}. Nothing was committed.")
        entry = browser.entry(source, change.source)
        if not entry.mode & 0o100000:
            raise Invalid(f"{_shown(change.source)} is a folder; copy its files one by one.")
        draft.edit.put(change.path, entry.oid, entry.mode)
        self._copied[change.path] = entry

    def _put(self, draft: Draft) -> None:
        puts = {change.path: change for change in self._request.changes if isinstance(change, Put | PutLarge)}
        attributes = Attributes(lambda folder: self._attributes(draft, puts, folder), self._limits)
        blobs = self._sized([change for change in puts.values() if isinstance(change, PutLarge)])
        untracked = self._settle_copies(draft, puts, attributes)
        for path, change in puts.items():
            if isinstance(change, PutLarge):
                draft.edit.put(path, draft.add_blob(_pointer(blobs[change.sha256])))
                if not attributes.is_lfs(path):
                    untracked.append(path)
            else:
                draft.edit.put(path, draft.add_blob(self._stored(change, attributes)))
        if untracked:
            for path, text in track_nearest(lambda folder: self._attributes(draft, puts, folder), untracked).items():
                draft.edit.put(path, draft.add_blob(text))
        self._own(list(blobs.values()))

    def _settle_copies(self, draft: Draft, puts: Mapping[bytes, Put | PutLarge], attributes: Attributes) -> list[bytes]:
        """A copy under another name may be tracked where its source is not; the paths of large ones that nothing tracks yet."""
        untracked = []
        for path, entry in self._copied.items():
            if path in puts:
                continue
            is_lfs = entry.size > 0 and path.rpartition(b"/")[2] != _ATTRIBUTES and attributes.is_lfs(path)
            if entry.lfs is not None and not is_lfs:
                untracked.append(path)
            elif entry.lfs is None and is_lfs and entry.mode != _SYMLINK:
                draft.edit.put(path, draft.add_blob(self._large_text(partial(draft.blob, entry.oid))))
        return untracked

    def _large_text(self, read: Callable[[], bytes]) -> bytes:
        """The pointer for contents that the repository is given at the end."""
        data = read()
        self._kept.append(read)
        return _pointer(BlobRef(hashlib.sha256(data).hexdigest(), len(data)))

    def _stored(self, change: Put, attributes: Attributes) -> bytes:
        """The blob for a file that came inline: itself, or a pointer to it."""
        data = self._request.content(change)
        pointer = parse(data) if len(data) <= MOST_BYTES else None
        if pointer is not None:
            self._named.append(pointer.blob)
            return data
        if not data or change.path.rpartition(b"/")[2] == _ATTRIBUTES or not attributes.is_lfs(change.path):
            return data
        return self._large_text(lambda: self._request.content(change))

    def _sized(self, changes: list[PutLarge]) -> dict[str, BlobRef]:
        """Possession before reference (I7): each was sent to this repository, or is readable to the caller elsewhere. What is somebody
        else's is refused like what nobody has, in the same place and words.
        """
        sized = self._large.sized({change.sha256: change.size for change in changes})
        blobs = {sha256: blob for sha256, blob in sized.items() if blob is not None}
        missing = set(self._large.missing(self._principal, self._repo, list(blobs.values())))
        for change in changes:
            if change.sha256 not in blobs or blobs[change.sha256] in missing:
                raise _not_here(change.sha256, change.path)
        return blobs

    def _own(self, blobs: list[BlobRef]) -> None:
        """Last, when no change can be refused any more: the repository gets what the new files name."""
        missing = self._large.claim(self._principal, self._repo, [*blobs, *self._named])
        if missing:
            raise _not_here(missing[0].sha256, b"")
        for read in self._kept:
            self._large.keep(self._repo, read())

    def _attributes(self, draft: Draft, puts: Mapping[bytes, Put | PutLarge], folder: bytes) -> bytes | None:
        """As they will be after the commit."""
        path = attributes_path(folder)
        change = puts.get(path)
        if isinstance(change, Put):
            return self._request.content(change)
        item = draft.edit.find(path)
        if item is None or item.is_tree or item.is_gitlink:
            return None
        try:
            return draft.blob(item.oid)
        except ObjectNotFound:
            return None


def _pointer(blob: BlobRef) -> bytes:
    return serialize(Pointer(blob.sha256, blob.size))


def _not_here(sha256: str, path: bytes) -> Invalid:
    where = f" for {_shown(path)}" if path else ""
    return Invalid(f"Large file {sha256}{where} was not uploaded to this repository. Upload it first, then commit again.")


def _shown(path: bytes) -> str:
    return repr(path[:200].decode(errors="replace"))

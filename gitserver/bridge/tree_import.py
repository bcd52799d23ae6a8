"""The files of one LakeFS commit put into a draft, in the order of their keys."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice

from gitserver.bridge.coverage import attributes_of, cover, is_tracked, says_attributes
from gitserver.commit.attributes import Attributes
from gitserver.commit.draft import Draft
from gitserver.commit.paths import name_fault
from gitserver.objects.store import Kind, RawObject
from gitserver.receive.fsck import gitattributes_faults, gitmodules_faults
from gitserver.receive.names import GITATTRIBUTES, GITIGNORE, GITMODULES, MAILMAP
from lfs.pointer import Pointer, serialize
from storage.blobs.base import BlobStore
from storage.errors import Unavailable
from storage.limits import MIB, Limits
from storage.records import BlobRef
from storage.versions.git_side import Reader
from storage.versions.lakefs.records import LakeDifference, LakeObject

# These decide on ids, so they are no settings.
_REGULAR_BYTES = 10 * MIB
_LIMITS = Limits()
_TARGET_BYTES = 4096  # of a symbolic link
_MOST_PATHS = 1_000_000
_PIECE = 8 * MIB
_AT_ONCE = 16
_FILE, _EXECUTABLE, _SYMLINK = 0o100644, 0o100755, 0o120000
_MODES = {f"{mode:o}": mode for mode in (_FILE, _EXECUTABLE, _SYMLINK)}
_CONTROL_FILES = (GITMODULES, GITATTRIBUTES, GITIGNORE, MAILMAP)


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A file of the commit: its bytes, or the large object that they are."""

    path: bytes
    mode: int | None
    data: bytes | None
    large: BlobRef | None


class Taking:
    """`own` is told of each large object that the repository has from now on. `is_covered` as in `Foreign` (I1)."""

    def __init__(self, draft: Draft, reader: Reader, blobs: BlobStore, own: Callable[[BlobRef], None], *, is_covered: bool = False) -> None:
        self._draft = draft
        self._reader = reader
        self._blobs = blobs
        self._own = own
        self._is_covered = is_covered
        self._skipped = 0
        self._large: list[bytes] = []
        self.attributes: set[bytes] = set()  # the .gitattributes that LakeFS changed

    def apply(self, differences: Iterable[LakeDifference]) -> int:
        """How many keys were left out. Raises Unavailable."""
        found = list(islice(differences, _MOST_PATHS + 1))
        if len(found) > _MOST_PATHS:
            raise Unavailable(f"A commit in LakeFS changes more than {_MOST_PATHS} paths. Split it.")
        wanted = []
        for one in found:
            path = one.path.encode("utf-8", "surrogatepass")
            if says_attributes(path):
                self.attributes.add(path)
            if one.is_removed:
                self._remove(path)
            elif _is_possible(path):
                wanted.append(path)
            else:
                self._skipped += 1
        self._put_all([path for path in wanted if says_attributes(path)])  # they say which of the others are large
        attributes = Attributes(lambda folder: attributes_of(self._draft, folder), _LIMITS, has_macros=self._is_covered)
        self._put_all([path for path in wanted if not says_attributes(path)], attributes)
        return self._skipped

    def cover(self, others: Iterable[bytes]) -> set[bytes]:
        """Track what became a pointer, and `others` if they are some; the .gitattributes that were written."""
        return cover(self._draft, chain(self._large, others), _LIMITS)

    def _remove(self, path: bytes) -> None:
        item = self._draft.edit.find(path) if path else None
        if item is not None and not item.is_tree and not item.is_gitlink:
            self._draft.edit.remove(path)

    def _put_all(self, paths: Sequence[bytes], attributes: Attributes | None = None) -> None:
        """A few at a time: LakeFS is asked in threads, the draft is changed in this one."""
        with ThreadPoolExecutor(_AT_ONCE, "lakefs-read") as threads:
            for at in range(0, len(paths), _AT_ONCE):
                found = list(threads.map(self._stat, paths[at : at + _AT_ONCE]))
                kinds = [self._is_large(one, attributes) for one in found]
                for file in threads.map(self._fetch, found, kinds):
                    self._put(file)

    def _put(self, file: _Fetched) -> None:
        item = self._draft.edit.find(file.path)
        # Git would take the text of a pointer for patterns.
        is_unread = self._is_covered and file.large is not None and says_attributes(file.path)
        if is_unread or _is_dangerous(file) or (item is not None and item.is_tree and not self._draft.edit.is_empty(file.path)):
            self._skipped += 1  # of a file and a folder of one name the folder stays
            return
        for folder in _folders(file.path):
            above = self._draft.edit.find(folder)
            if above is not None and not above.is_tree:
                self._draft.edit.remove(folder)
                self._skipped += 1
        if file.large is not None:
            self._own(file.large)
            self._large.append(file.path)
        data = file.data if file.data is not None else _pointer(file.large)
        oid = self._draft.add(RawObject(Kind.BLOB, data), remember=says_attributes(file.path))
        self._draft.edit.put(file.path, oid, file.mode)

    def _stat(self, path: bytes) -> LakeObject:
        return self._reader.stat(path.decode("utf-8", "surrogatepass"))

    def _fetch(self, found: LakeObject, is_large: bool) -> _Fetched:
        path, mode = found.path.encode("utf-8", "surrogatepass"), _mode(found)
        if is_large:
            return _Fetched(path, mode, None, self._pooled(found) or self._hashed(found))
        return _Fetched(path, mode, self._reader.read(found.path, 0, found.size) if found.size else b"", None)

    def _is_large(self, found: LakeObject, attributes: Attributes | None) -> bool:
        kind = found.metadata.get("git-kind", "") if self._reader.is_pooled(found) else ""
        if _mode(found) == _SYMLINK or (kind == "blob" and found.size <= _LIMITS.object_bytes):
            return False
        if kind == "lfs" or found.size > _REGULAR_BYTES:
            return True
        return found.size > 0 and attributes is not None and is_tracked(attributes, found.path.encode("utf-8", "surrogatepass"))

    def _pooled(self, found: LakeObject) -> BlobRef | None:
        """Its bytes, where they are the pool's: nothing has to be read."""
        blob = BlobRef(found.checksum, found.size)
        return blob if self._reader.is_pooled(found) and self._blobs.exists(blob) else None

    def _hashed(self, found: LakeObject) -> BlobRef:
        """Read once for its name, and once more for the pool if that has it not."""
        digest = hashlib.sha256()
        for piece in self._pieces(found):
            digest.update(piece)
        blob = BlobRef(digest.hexdigest(), found.size)
        if self._blobs.exists(blob):
            return blob
        upload = self._blobs.upload(blob)
        try:
            for piece in self._pieces(found):
                upload.write(piece)
            upload.commit()
        finally:
            upload.abort()
        return blob

    def _pieces(self, found: LakeObject) -> Iterator[bytes]:
        for start in range(0, found.size, _PIECE):
            yield self._reader.read(found.path, start, min(start + _PIECE, found.size))


def _mode(found: LakeObject) -> int | None:
    """As a push left it. None where somebody wrote the file in LakeFS: then an executable stays one."""
    mode = _MODES.get(found.metadata.get("git-mode", ""))
    return _FILE if mode == _SYMLINK and found.size > _TARGET_BYTES else mode


def _is_possible(path: bytes) -> bool:
    """Whether a tree may hold it: no empty names (as in markers of folders), nothing that a checkout takes for git's own."""
    *folders, _ = path.split(b"/")
    is_odd = any(file.is_named(folder) for file in (GITMODULES, GITATTRIBUTES) for folder in folders)  # git refuses folders of these names
    return b"\0" not in path and not is_odd and not any(name_fault(name) for name in path.split(b"/"))


def _is_dangerous(file: _Fetched) -> bool:
    """What strict fsck refuses: it would keep everybody from fetching the branch."""
    name = file.path.rpartition(b"/")[2]
    if file.mode == _SYMLINK:
        return any(control.is_named(name) for control in _CONTROL_FILES)
    if file.data is None:
        return False
    faults = [gitmodules_faults(file.data)] if GITMODULES.is_named(name) else []
    faults += [gitattributes_faults(file.data)] if GITATTRIBUTES.is_named(name) else []
    return any(True for found in faults for _ in found)


def _folders(path: bytes) -> Iterator[bytes]:
    at = path.find(b"/")
    while at >= 0:
        yield path[:at]
        at = path.find(b"/", at + 1)


def _pointer(blob: BlobRef | None) -> bytes:
    assert blob is not None
    return serialize(Pointer(blob.sha256, blob.size))

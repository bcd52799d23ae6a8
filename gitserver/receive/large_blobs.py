"""Files that Git LFS should hold but that came as blobs: found in the newest trees of a push, and told with the commands that mend it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gitserver.commit.attributes import Attributes
from gitserver.objects.parse import TREE_ENTRIES
from storage.errors import TooLarge
from storage.limits import MIB, Limits
from storage.records import Oid

_MOST_SHOWN = 20
_ATTRIBUTES = b".gitattributes"
_TREE, _FILE = b"40000", b"100"


class NewObjects(Protocol):
    """What a push brought. Each answers None for what it did not bring."""

    def tree(self, oid: Oid) -> bytes | None:
        """A tree's data."""

    def size(self, oid: Oid) -> int | None:
        """Of a blob that is no LFS pointer."""

    def text(self, oid: Oid) -> bytes | None:
        """A blob's data; of one that is stored already too."""


@dataclass(frozen=True, slots=True)
class Misplaced:
    """`tracked` are files that .gitattributes gives to Git LFS, `large` others over the limit: name and size."""

    tracked: Mapping[bytes, int]
    large: Mapping[bytes, int]

    def lines(self, limits: Limits) -> Iterator[str]:
        if self.tracked:
            yield (
                f"{_files(self.tracked)} came as plain content, though .gitattributes gives them to Git LFS; clones show them as changed"
                ' ("should have been a pointer"):'
            )
            yield from _named(self.tracked)
            yield "Put them into Git LFS: git lfs install && git add --renormalize . && git commit"
            yield "In all commits: git lfs migrate import --everything --fixup && git push --force"
        if self.large:
            yield f"{_files(self.large)} of more than {_size(limits.regular_bytes)} came without Git LFS; each clone gets all versions:"
            yield from _named(self.large)
            yield 'Put them into Git LFS from now on: git lfs track "NAME"'
            yield f"In all commits: git lfs migrate import --everything --above={limits.regular_bytes}b && git push --force"


def misplaced(roots: Iterable[Oid], large: Mapping[Oid, int], new: NewObjects, limits: Limits) -> Misplaced:
    """`roots` are the trees of the newest commits, `large` all new blobs over the limit: those that are not found are told by their ids."""
    walk = _Walk(large, new, limits)
    for root in roots:
        walk.look(root)
    lost = {b"blob " + oid.hex().encode(): size for oid, size in large.items() if oid not in walk.met}
    return Misplaced(walk.tracked, walk.large | lost)


class _Walk:
    def __init__(self, large: Mapping[Oid, int], new: NewObjects, limits: Limits) -> None:
        self._large = large
        self._new = new
        self._limits = limits
        self._left = limits.tracked_paths
        self._seen: set[Oid] = set()
        self.met: set[Oid] = set()
        self.tracked: dict[bytes, int] = {}
        self.large: dict[bytes, int] = {}

    def look(self, root: Oid) -> None:
        """Each tree once, wherever it stands, and not more files than the limit says."""
        texts: dict[bytes, bytes | None] = {}
        attributes = Attributes(texts.get, self._limits)
        waiting = [(b"", root)]
        while waiting and self._left > 0:
            folder, tree = waiting.pop()
            data = self._new.tree(tree) if tree not in self._seen else None
            if data is None:
                continue
            self._seen.add(tree)
            entries = TREE_ENTRIES.findall(data)
            texts[folder.rstrip(b"/")] = next((self._new.text(oid) for _, name, oid in entries if name == _ATTRIBUTES), None)
            waiting += [(folder + name + b"/", oid) for mode, name, oid in entries if mode == _TREE]
            self._files(folder, [(name, oid) for mode, name, oid in entries if mode.startswith(_FILE)], attributes.is_lfs)

    def _files(self, folder: bytes, files: Sequence[tuple[bytes, Oid]], is_lfs: Callable[[bytes], bool]) -> None:
        for name, oid in files:
            size = self._new.size(oid) if name != _ATTRIBUTES else None
            if not size:
                continue
            self._left -= 1
            path = folder + name
            try:
                is_tracked = self._left >= 0 and is_lfs(path)
            except TooLarge:  # patterns that take too long say nothing
                self._left, is_tracked = 0, False
            if is_tracked:
                self.tracked[path] = size
            elif oid in self._large:
                self.large[path] = size
            self.met.add(oid)


def _files(files: Mapping[bytes, int]) -> str:
    return f"{len(files)} file{'s' if len(files) > 1 else ''}"


def _named(files: Mapping[bytes, int]) -> Iterator[str]:
    for path, size in list(files.items())[:_MOST_SHOWN]:
        yield f"  {_shown(path)} ({_size(size)})"
    if len(files) > _MOST_SHOWN:
        yield f"  and {len(files) - _MOST_SHOWN} more"


def _shown(path: bytes) -> str:
    text = path[:300].decode(errors="replace")
    return text if text.isprintable() else repr(text)


def _size(size: int) -> str:
    return f"{size / MIB:.1f} MiB" if size >= MIB // 10 else f"{size} bytes"

"""Files that are stored elsewhere, kept on the local disk up to a number of bytes; the longest unused ones go first.

Several processes share the folder, and none asks another. A file comes whole, by a rename. When it was last used is its own time of
change. One that is removed under a reader stays readable to him; one that is removed before he opens it, he fetches again. What a
process adds beyond the limit between two counts is at most a 256th of it.
"""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

_COUNTS = 256  # of the folder, while as many bytes come as it may hold


class _Kept(NamedTuple):
    """Sorts by last use."""

    used: int
    size: int
    path: str


class FileCache:
    """`root` is there, and on the same file system as what is kept. Names are `<folder>/<file>`."""

    def __init__(self, root: Path, limit: int) -> None:
        self.root = root
        self.limit = limit
        self._uncounted = limit  # the first file has the folder counted
        self._lock = threading.Lock()

    def open(self, name: str) -> BinaryIO | None:
        """None when it is not here; it is in use from now on."""
        try:
            file = (self.root / name).open("rb")
        except FileNotFoundError:
            return None
        os.utime(file.fileno())
        return file

    def has(self, name: str) -> bool:
        return (self.root / name).exists()

    def keep(self, source: Path, name: str) -> None:
        """Move a whole file of the caller's in. It may be gone again at once, as when it is larger than the cache."""
        size = source.stat().st_size
        try:
            self.folder((self.root / name).parent.name)
            source.replace(self.root / name)
        except FileNotFoundError:  # its folder was removed at this moment
            source.unlink(missing_ok=True)
            return
        with self._lock:
            self._uncounted += size
            if self._uncounted * _COUNTS >= self.limit:
                self._uncounted = 0
                self._make_room()

    def files(self, folder: str) -> list[Path]:
        """What is in a folder now, in no order; looking at it is no use of it."""
        return [Path(entry.path) for entry in _listed(self.root / folder)]

    def touch(self, name: str) -> None:
        with suppress(FileNotFoundError):
            os.utime(self.root / name)

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def remove_folder(self, folder: str) -> None:
        shutil.rmtree(self.root / folder, ignore_errors=True)

    def folder(self, folder: str) -> Path:
        """Made if need be."""
        path = self.root / folder
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _make_room(self) -> None:
        found = sorted(self._kept())
        held = sum(kept.size for kept in found)
        for kept in found:
            if held <= self.limit:
                return
            Path(kept.path).unlink(missing_ok=True)
            held -= kept.size

    def _kept(self) -> Iterator[_Kept]:
        for folder in _listed(self.root):
            for entry in _listed(folder.path):
                with suppress(FileNotFoundError):
                    stat = entry.stat(follow_symlinks=False)
                    yield _Kept(stat.st_mtime_ns, stat.st_size, entry.path)


def _listed(folder: Path | str) -> "list[os.DirEntry[str]]":
    """Nothing where it was removed: by another process, or the whole cache by the operator."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []

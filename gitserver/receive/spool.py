"""A pack on its way to the local disk, shared by HTTP and SSH. git shows a refusal only after it has sent everything, so that what
cannot be kept is read all the same, and dropped.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from storage.errors import DiskFull
from storage.packs import PackStore


class Spool:
    """`size` counts all that came; beyond `limit` it is not kept. `trouble` says why nothing is kept any more."""

    def __init__(self, packs: PackStore, limit: int, expected: int = 0) -> None:
        """`expected` is what the client announced, 0 where it did not."""
        self._packs = packs
        self._limit = limit
        self._expected = min(expected, limit)
        self._folder: Path | None = None
        self._file: BinaryIO | None = None
        self.size = 0
        self.trouble: DiskFull | None = None

    @property
    def pack(self) -> Path | None:
        """The file; None where nothing came, or nothing could be kept."""
        return self._folder / "pushed.pack" if self._folder is not None else None

    def write(self, pieces: Sequence[bytes]) -> None:
        size = sum(map(len, pieces))
        self.size += size
        if self.trouble is not None or self.size > self._limit:
            return
        try:
            with self._packs.space.guard():
                self._packs.space.check(size if self._file is not None else max(size, self._expected))
                self._opened().writelines(pieces)
        except DiskFull as error:
            self.trouble = error
            self.close()  # whatever came makes room for others

    def finish(self) -> None:
        """All that was kept is in the file."""
        try:
            with self._packs.space.guard():
                if self._file is not None:
                    self._file.close()
        except DiskFull as error:
            self.trouble = error

    def close(self) -> None:
        """Drop the file, unless it was moved away."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._folder = self._packs.quarantine()
            self._file = (self._folder / "pushed.pack").open("wb")
        return self._file

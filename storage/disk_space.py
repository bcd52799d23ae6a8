"""How much room is left on the disk of the data directory, and the refusal of what does not fit."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import DiskFull

log = logging.getLogger(__name__)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
_NO_FILES = "no room for another file"


class DiskSpace:
    """The disk that holds `folder`. Of its free bytes `reserve` are kept for rows, logs and deletions, and not given to uploads.

    A process logs once that the disk became full, and once that there is room again.
    """

    def __init__(self, folder: Path, reserve: int = 0) -> None:
        self.folder = folder
        self._reserve = reserve
        self._is_full = False

    def check(self, size: int = 0) -> None:
        """Raise DiskFull where `size` bytes more do not fit."""
        free = self.free()
        if free < self._reserve:
            raise self.full()
        if self._is_full:
            self._is_full = False
            log.info("There is room again in %s.", self.folder)
        if free < self._reserve + size:
            raise DiskFull(f"The hub's disk is full ({self._shown()}, and {shown(size)} are to come). Ask the operator.")

    def trouble(self) -> str:
        """Why not even small uploads are taken; empty when they are. The log tells when that has changed."""
        try:
            self.check()
        except DiskFull as error:
            return error.message
        return ""

    def full(self) -> DiskFull:
        """The refusal, after something could not be written."""
        error = DiskFull(f"The hub's disk is full ({self._shown()}). Ask the operator.")
        if not self._is_full:
            self._is_full = True
            log.error("%s Writes are refused until there is room again.", error.message)
        return error

    @contextmanager
    def guard(self) -> Iterator[None]:
        """The system's word for a full disk, within the context, becomes DiskFull."""
        try:
            yield
        except OSError as error:
            if not is_full(error):
                raise
            raise self.full() from error

    def free(self) -> int:
        """What a user without privileges may still write; 0 where there is no room for another file's name either."""
        found = os.statvfs(self.folder)
        return 0 if found.f_files and not found.f_favail else found.f_bavail * found.f_frsize

    def _shown(self) -> str:
        found = os.statvfs(self.folder)
        free = _NO_FILES if found.f_files and not found.f_favail else f"{shown(found.f_bavail * found.f_frsize)} free"
        return f"{free} in {self.folder}"


def is_full(error: BaseException) -> bool:
    """Whether something failed because a disk is full, as the system or as the hub says it."""
    return isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in _FULL)


def shown(size: int) -> str:
    """Bytes for people: 12.3 MB."""
    number, unit = float(size), 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.1f} {_UNITS[unit]}" if unit else f"{size} bytes"

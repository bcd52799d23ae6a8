"""The staging area on local disk: `staged/ab/<name>`."""

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from storage.errors import Invalid, ObjectNotFound
from storage.files import publish

_NAME = re.compile(r"[0-9a-f]{64}")


class DiskStagedUpload:
    def __init__(self, store: "DiskStaging", folder: Path) -> None:
        self._store = store
        fd, name = tempfile.mkstemp(prefix="staged-", dir=folder)
        self._file = os.fdopen(fd, "wb")
        self._path = Path(name)

    def write(self, data: bytes | memoryview) -> None:
        self._file.write(data)

    def publish(self, name: str) -> None:
        self._file.close()
        publish((self._path, self._store.name_path(name)))

    def abort(self) -> None:
        self._path.unlink(missing_ok=True)
        with suppress(OSError):  # what is still buffered does not fit on a full disk
            self._file.close()


class DiskStaging:
    """StagingStore in a folder; `incoming` is on the same file system."""

    def __init__(self, root: Path, incoming: Path) -> None:
        self._root = root
        self._incoming = incoming

    def create(self) -> DiskStagedUpload:
        return DiskStagedUpload(self, self._incoming)

    def open(self, name: str) -> BinaryIO:
        try:
            return self.name_path(name).open("rb")
        except FileNotFoundError as error:
            raise ObjectNotFound(f"Staged bytes {name} are gone. Send them again.") from error

    def remove(self, name: str) -> None:
        self.name_path(name).unlink(missing_ok=True)

    def older(self, seconds: float) -> Iterator[str]:
        limit = time.time() - seconds
        for path in self._root.glob("??/" + "?" * 64):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < limit:
                    yield path.name

    def name_path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name[:80]!r} is no name of staged bytes: 64 lower-case hex digits are needed.")
        return self._root / name[:2] / name

"""Packs on the local disk, where the files are the truth: `<root>/<repo id>/pack-<id>.{pack,idx}`."""

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from storage.files import publish
from storage.packs.base import COUNT_AT, COUNT_END, ENDINGS, Ending, count_of, file_name, old_ids, whole_packs
from storage.packs.packfile import file_size
from storage.records import PackInfo


class DiskPackFiles:
    """PackFiles in a folder; what is added lies on the same file system."""

    place = "the disk"
    at_once = 1

    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, repo_id: str, info: PackInfo, pack: Path, index: Path) -> None:
        publish((pack, self._path(repo_id, info.id, "pack")), (index, self._path(repo_id, info.id, "idx")))

    def open(self, repo_id: str, info: PackInfo, ending: Ending) -> BinaryIO:
        return self._path(repo_id, info.id, ending).open("rb")

    def has(self, repo_id: str, info: PackInfo) -> bool:
        try:
            sizes = [(file_size(info, ending), self._path(repo_id, info.id, ending).stat().st_size) for ending in ENDINGS]
        except FileNotFoundError:
            return False
        return all(wanted in (None, found) for wanted, found in sizes)

    def touch(self, repo_id: str, infos: Sequence[PackInfo]) -> None:
        """Nothing is dropped here for want of use."""

    def older(self, repo_id: str, seconds: float) -> set[str]:
        try:
            with os.scandir(self.folder(repo_id)) as found:
                return old_ids(((entry.name, entry.stat(follow_symlinks=False).st_mtime) for entry in found), seconds)
        except FileNotFoundError:  # the repository is being deleted
            return set()

    def stored(self, repo_id: str) -> Iterator[PackInfo]:
        try:
            with os.scandir(self.folder(repo_id)) as found:
                sizes = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in found}
        except FileNotFoundError:
            return
        for pack_id, size in whole_packs(sizes):
            with self._path(repo_id, pack_id, "idx").open("rb") as index:
                index.seek(COUNT_AT)
                yield PackInfo(pack_id, count_of(index.read(COUNT_END - COUNT_AT)), size)

    def remove(self, repo_id: str, ids: Iterable[str]) -> None:
        for pack_id in ids:
            for ending in ENDINGS:
                self._path(repo_id, pack_id, ending).unlink(missing_ok=True)

    def remove_repo(self, repo_id: str) -> None:
        shutil.rmtree(self.folder(repo_id), ignore_errors=True)

    def folder(self, repo_id: str) -> Path:
        return self._root / repo_id

    def _path(self, repo_id: str, pack_id: str, ending: Ending) -> Path:
        return self.folder(repo_id) / file_name(pack_id, ending)

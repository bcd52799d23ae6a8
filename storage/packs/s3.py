"""Packs in a bucket, under the same keys as on disk: `git/<repo id>/pack-<id>.{pack,idx}`. Every machine has a cache of its own."""

import io
import math
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from storage.blobs.bucket import Bucket
from storage.blobs.s3 import RangedObject, pieces_of
from storage.errors import ObjectNotFound, Unavailable
from storage.filecache import FileCache
from storage.limits import MIB
from storage.lru import FACT_BYTES, Recent, fact
from storage.packs.base import COUNT_AT, COUNT_END, ENDINGS, Ending, count_of, file_name, old_ids, whole_packs
from storage.packs.packfile import file_size, is_sound
from storage.records import PackInfo

_FETCHES = 2  # of a file that comes damaged
_TOUCH_SECONDS = 60.0
_TOUCHED = 1000  # repositories


class S3PackFiles:
    """PackFiles in a bucket; `incoming` is a local folder on the same file system as the cache."""

    at_once = 8  # most of the time is waiting

    def __init__(self, bucket: Bucket, cache: FileCache, incoming: Path) -> None:
        self.place = f"bucket {bucket.config.bucket}"
        self._bucket = bucket
        self._cache = cache
        self._incoming = incoming
        self._touched: Recent[str, float] = Recent(_TOUCHED * FACT_BYTES, fact)

    def add(self, repo_id: str, info: PackInfo, pack: Path, index: Path) -> None:
        """Written though it may be there: what is being pushed must look new to a sweep. Cached only when it is in the bucket."""
        with ThreadPoolExecutor(1) as beside:
            sent = beside.submit(self._put, index, _key(repo_id, info.id, "idx"))
            self._put(pack, _key(repo_id, info.id, "pack"))
            sent.result()
        self._cache.keep(pack, _cached(repo_id, info.id, "pack"))
        self._cache.keep(index, _cached(repo_id, info.id, "idx"))

    def open(self, repo_id: str, info: PackInfo, ending: Ending) -> BinaryIO:
        file = self._cache.open(_cached(repo_id, info.id, ending))
        if file is not None:
            if file_size(info, ending) in (None, os.fstat(file.fileno()).st_size):
                return file
            file.close()  # the machine lost its power before the file was on the disk
        for _ in range(_FETCHES):
            file = self._fetch(repo_id, info, ending)
            if file is not None:
                return file
        raise Unavailable(
            f"pack {info.id} came damaged from {self.place}, and once more so. Try again in a moment; if it stays so, the operator must"
            " restore it from a backup."
        )

    def has(self, repo_id: str, info: PackInfo) -> bool:
        sizes = [(file_size(info, ending), self._bucket.size(_key(repo_id, info.id, ending))) for ending in ENDINGS]
        return all(found is not None and wanted in (None, found) for wanted, found in sizes)

    def touch(self, repo_id: str, infos: Sequence[PackInfo]) -> None:
        now = time.monotonic()
        if now - (self._touched.get(repo_id) or -math.inf) < _TOUCH_SECONDS:
            return
        self._touched.keep(repo_id, now)
        for info in infos:
            for ending in ENDINGS:
                self._cache.touch(_cached(repo_id, info.id, ending))

    def older(self, repo_id: str, seconds: float) -> set[str]:
        found = ((stored.key.rpartition("/")[2], stored.modified) for stored in self._bucket.list(_prefix(repo_id)))
        return old_ids(found, seconds)

    def stored(self, repo_id: str) -> Iterator[PackInfo]:
        sizes = {found.key.rpartition("/")[2]: found.size for found in self._bucket.list(_prefix(repo_id))}
        for pack_id, size in whole_packs(sizes):
            body = self._bucket.get(_key(repo_id, pack_id, "idx"), COUNT_AT, COUNT_END)
            try:
                yield PackInfo(pack_id, count_of(body.read(COUNT_END - COUNT_AT)), size)
            finally:
                body.close()

    def remove(self, repo_id: str, ids: Iterable[str]) -> None:
        for pack_id in ids:
            for ending in ENDINGS:
                self._cache.remove(_cached(repo_id, pack_id, ending))
                self._bucket.remove(_key(repo_id, pack_id, ending))

    def remove_repo(self, repo_id: str) -> None:
        self._cache.remove_folder(repo_id)
        for stored in self._bucket.list(_prefix(repo_id)):
            self._bucket.remove(stored.key)

    def folder(self, repo_id: str) -> Path:
        return self._cache.folder(repo_id)

    def _put(self, path: Path, key: str) -> None:
        with path.open("rb") as file:
            self._bucket.put(key, file, path.stat().st_size)

    def _fetch(self, repo_id: str, info: PackInfo, ending: Ending) -> BinaryIO | None:
        """The file as it lies in the bucket, cached; None when other bytes came than its checksums tell."""
        fd, name = tempfile.mkstemp(prefix="fetch-", dir=self._incoming)
        aside = Path(name)
        try:
            with os.fdopen(fd, "wb") as out:
                self._copy(_key(repo_id, info.id, ending), file_size(info, ending), out)
            file = aside.open("rb")  # before it is in the cache, which may drop it at once
            if not is_sound(file, info, ending):
                file.close()
                return None
            self._cache.keep(aside, _cached(repo_id, info.id, ending))
            return file
        except ObjectNotFound as error:
            raise FileNotFoundError(error.message) from error
        finally:
            aside.unlink(missing_ok=True)

    def _copy(self, key: str, size: int | None, out: BinaryIO) -> None:
        size = self._bucket.size(key) if size is None else size
        if size is None:
            raise ObjectNotFound(f"{key} is not in {self.place}.")
        out.writelines(pieces_of(io.BufferedReader(RangedObject(self._bucket, key, size), MIB)))


def _prefix(repo_id: str) -> str:
    return f"git/{repo_id}/"


def _key(repo_id: str, pack_id: str, ending: Ending) -> str:
    return _prefix(repo_id) + file_name(pack_id, ending)


def _cached(repo_id: str, pack_id: str, ending: Ending) -> str:
    return f"{repo_id}/{file_name(pack_id, ending)}"

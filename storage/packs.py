"""Git packs on disk, `git/<repo id>/pack-<id>.{pack,idx}`, immutable. A pack is part of its repository when its row exists (I4)."""

import bisect
import math
import mmap
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

from dulwich.object_format import DEFAULT_OBJECT_FORMAT
from dulwich.objects import RawObjectID
from dulwich.pack import PackIndex, load_pack_index

from storage.database.base import Database, Tx
from storage.errors import Unavailable
from storage.files import publish, try_lock
from storage.limits import MIB
from storage.records import Oid, PackInfo

_TRAILER = 20
_SMALL_BYTES = 64 * 1024
_SMALL = 512  # the index of so few objects is kept as a dict: many small pushes make many misses
_LOOKS = 10  # at the rows, while packs are merged away under the eyes
_GRACE_SECONDS = 86400  # nothing that is being pushed is older


class StoredEntry(NamedTuple):
    """A row of a stored index; sorts in pack order. `crc` is the CRC-32 of the entry's bytes."""

    offset: int
    oid: Oid
    crc: int


class PackFile:
    """One stored pack in memory: offsets by id, and the raw compressed bytes of entries."""

    def __init__(self, info: PackInfo, pack: Path, index: Path) -> None:
        self.info = info
        self.path = pack
        self.data: mmap.mmap | bytes = _contents(pack, info)
        self._index: PackIndex = load_pack_index(str(index), DEFAULT_OBJECT_FORMAT)
        self._offsets: list[int] | None = None
        self._small: dict[Oid, int] | None = None
        self._lock = threading.Lock()
        if info.objects <= _SMALL:
            self._small = {bytes(oid): offset for oid, offset, _ in self._index.iterentries()}
            self._index.close()
        else:
            weakref.finalize(self, self._index.close)

    def offset(self, oid: Oid) -> int | None:
        """Where the entry of `oid` begins, or None."""
        if self._small is not None:
            return self._small.get(oid)
        try:
            return int(self._index.object_offset(RawObjectID(oid)))
        except KeyError:
            return None

    def offsets(self) -> list[int]:
        """All entry offsets in pack order, then the offset of the trailer; an entry ends where the next begins."""
        with self._lock:
            if self._offsets is None:
                self._offsets = [*(offset for offset, _ in self.oids()), len(self.data) - _TRAILER]
            return self._offsets

    def end(self, offset: int) -> int:
        """Where the entry that begins at `offset` ends."""
        offsets = self.offsets()
        return offsets[bisect.bisect_right(offsets, offset)]

    def oids(self) -> list[tuple[int, Oid]]:
        """(offset, id) of every object, in pack order."""
        if self._small is not None:
            return sorted((offset, oid) for oid, offset in self._small.items())
        return sorted((offset, bytes(oid)) for oid, offset, _ in self._index.iterentries())

    def with_prefix(self, digits: str) -> list[Oid]:
        """Ids whose hex form begins with `digits`."""
        return [oid for _, oid in self.oids() if oid.hex().startswith(digits)]


def _contents(pack: Path, info: PackInfo) -> mmap.mmap | bytes:
    """Mapped; a small pack is read instead, since a repository of many pushes has many and each map holds a file descriptor."""
    with pack.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if info.size > _SMALL_BYTES else file.read()


Packs: TypeAlias = list[PackFile]


class PackStore:
    """Packs of all repositories below one folder."""

    def __init__(self, root: Path, incoming: Path, database: Database, open_packs: int = 256) -> None:
        self._root = root
        self._incoming = incoming
        self._database = database
        self._limit = open_packs
        self._open: OrderedDict[tuple[str, str], PackFile] = OrderedDict()
        self._lock = threading.Lock()

    def quarantine(self) -> Path:
        """A new private folder for one push, on the same file system; the caller removes it."""
        return Path(tempfile.mkdtemp(prefix="push-", dir=self._incoming))

    def spool(self) -> IO[bytes]:
        """A nameless file for a body on its way in, in memory while it is small; gone when it is closed."""
        return tempfile.SpooledTemporaryFile(MIB, dir=str(self._incoming))

    def add(self, repo_id: str, info: PackInfo, pack: Path, index: Path) -> None:
        """Move a checked pack into place, durably; it shows once `record` ran in the transaction that moves the refs."""
        publish((pack, self._file(repo_id, info.id, "pack")), (index, self._file(repo_id, info.id, "idx")))

    def record(self, tx: Tx, repo_id: str, info: PackInfo) -> None:
        """The row that makes the pack part of its repository; none if it is one already, or went into another one by a merge."""
        tx.run(
            "INSERT INTO packs (repo_id, id, objects, size, created_at) VALUES (:repo, :id, :objects, :size, :now) ON CONFLICT DO NOTHING",
            {"repo": repo_id, "id": info.id, "objects": info.objects, "size": info.size, "now": time.time_ns() // 1000},
        )

    def list(self, repo_id: str) -> list[PackInfo]:
        """The repository's packs, newest first."""
        sql = "SELECT id, objects, size FROM packs WHERE repo_id = :repo AND merged_at IS NULL ORDER BY created_at DESC, id"
        rows = self._database.all(sql, {"repo": repo_id})
        return [PackInfo(row["id"], row["objects"], row["size"]) for row in rows]

    def open(self, repo_id: str, info: PackInfo) -> PackFile:
        """The mapped pack, kept open for the next caller; the longest unused ones are let go.

        Raises Unavailable when its files are gone.
        """
        try:
            return self._opened(repo_id, info)
        except FileNotFoundError as error:
            raise _lost(info) from error

    def open_listed(self, repo_id: str, held: "Packs") -> "Packs":
        """Every pack of the repository, newest first; `held` (an earlier answer) itself when nothing changed.

        A pack may be merged away between the look at the rows and that at the disk: then the rows are read again. Raises Unavailable
        when files are gone whose row is still there.
        """
        lost: PackInfo | None = None
        for _ in range(_LOOKS):
            infos = self.list(repo_id)
            if infos == [pack.info for pack in held]:
                return held
            if lost in infos:
                raise _lost(lost)
            packs = {pack.info: pack for pack in held}
            self._let_go(repo_id, {info.id for info in packs.keys() - set(infos)})
            lost = self._open_into(packs, repo_id, infos)
            if lost is None:
                return [packs[info] for info in infos]
        raise Unavailable("The packs of this repository are being merged again and again. Try again in a moment.")

    def entries(self, repo_id: str, info: PackInfo) -> Sequence[StoredEntry]:
        """The index as a whole, in pack order. Raises Unavailable when it is gone."""
        try:
            index = load_pack_index(str(self._file(repo_id, info.id, "idx")), DEFAULT_OBJECT_FORMAT)
        except FileNotFoundError as error:
            raise _lost(info) from error
        with closing(index):
            return sorted(StoredEntry(offset, bytes(oid), crc or 0) for oid, offset, crc in index.iterentries())

    def replace(self, repo_id: str, sources: Sequence[PackInfo], merged: PackInfo) -> bool:
        """Make `merged`, which was added and holds all objects of `sources`, part of the repository in their place.

        False, and nothing is changed, when one of them is no longer there: somebody else merged it, or the repository is deleted.
        """
        now = time.time_ns() // 1000
        rows = [{"repo": repo_id, "id": source.id, "now": now} for source in sources if source.id != merged.id]

        def work(tx: Tx) -> None:
            for row in rows:
                if not tx.run("UPDATE packs SET merged_at = :now WHERE repo_id = :repo AND id = :id AND merged_at IS NULL", row):
                    raise _Gone
            self.record(tx, repo_id, merged)
            old = {"repo": repo_id, "old": now - _GRACE_SECONDS * 1_000_000}
            tx.run("DELETE FROM packs WHERE repo_id = :repo AND merged_at < :old", old)

        try:
            self._database.write(work)
        except _Gone:
            return False
        return True

    def remove(self, repo_id: str, gone: Sequence[PackInfo]) -> None:
        """The files of packs that are not listed, now and for as long as a push of them may run. Readers keep what they have open."""
        self._let_go(repo_id, {info.id for info in gone})
        for info in gone:
            for ending in ("idx", "pack"):
                self._file(repo_id, info.id, ending).unlink(missing_ok=True)

    def sweep(self, repo_id: str) -> None:
        """Remove old files that no row names: a crash left them, or a pack was pushed once more after it had been merged."""
        listed = {info.id for info in self.list(repo_id)}
        limit = time.time() - _GRACE_SECONDS
        with suppress(FileNotFoundError), os.scandir(self._root / repo_id) as found:  # the repository may be deleted meanwhile
            for entry in found:
                name, _, _ = entry.name.removeprefix("pack-").partition(".")
                if name not in listed and entry.stat(follow_symlinks=False).st_mtime < limit:
                    Path(entry.path).unlink(missing_ok=True)

    @contextmanager
    def merging(self, repo_id: str) -> Iterator[bool]:
        """Whether the caller is the only one on this machine to merge here. It saves work; `replace` is what keeps merges apart."""
        try:
            fd = os.open(self._root / repo_id, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            yield False
            return
        try:
            yield try_lock(fd)
        finally:
            os.close(fd)

    def remove_repo(self, repo_id: str) -> None:
        """Drop a deleted repository's packs; called after its rows are gone."""
        with self._lock:
            for key in [k for k in self._open if k[0] == repo_id]:
                del self._open[key]
        shutil.rmtree(self._root / repo_id, ignore_errors=True)

    def _opened(self, repo_id: str, info: PackInfo) -> PackFile:
        key = (repo_id, info.id)
        with self._lock:
            if key in self._open:
                self._open.move_to_end(key)
                return self._open[key]
            pack = PackFile(info, self._file(repo_id, info.id, "pack"), self._file(repo_id, info.id, "idx"))
            self._open[key] = pack
            if len(self._open) > self._limit:
                self._open.popitem(last=False)  # closed when its last reader lets go
            return pack

    def _open_into(self, packs: dict[PackInfo, PackFile], repo_id: str, infos: Sequence[PackInfo]) -> PackInfo | None:
        """Add those of `infos` that are not in `packs` yet; the first whose files are not there, if there is one."""
        for info in infos:
            try:
                packs[info] = packs.get(info) or self._opened(repo_id, info)
            except FileNotFoundError:
                return info
        return None

    def _let_go(self, repo_id: str, ids: AbstractSet[str]) -> None:
        with self._lock:
            for pack_id in ids:
                self._open.pop((repo_id, pack_id), None)

    def _file(self, repo_id: str, pack_id: str, ending: str) -> Path:
        return self._root / repo_id / f"pack-{pack_id}.{ending}"


class _Gone(Exception):
    """Rolls the transaction of a merge back."""


def _lost(info: PackInfo) -> Unavailable:
    return Unavailable(f"pack {info.id} is missing from the disk. The operator must restore it from a backup.")


def sweep_incoming(incoming: Path, older_than_seconds: float) -> int:
    """Remove what crashed uploads and pushes left behind; how many entries went. A folder lives while something in it is written."""
    gone = 0
    limit = time.time() - older_than_seconds
    for entry in os.scandir(incoming):
        if _last_change(entry) > limit:
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            Path(entry.path).unlink(missing_ok=True)
        gone += 1
    return gone


def _last_change(entry: os.DirEntry[str]) -> float:
    """Of a file, or of a folder and the newest thing directly in it; for ever where something went this moment, so is in use."""
    try:
        last = entry.stat(follow_symlinks=False).st_mtime
        if not entry.is_dir(follow_symlinks=False):
            return last
        with os.scandir(entry.path) as inside:
            return max([last, *(inner.stat(follow_symlinks=False).st_mtime for inner in inside)])
    except FileNotFoundError:
        return math.inf

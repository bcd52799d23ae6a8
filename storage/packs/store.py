"""The packs of all repositories, wherever their files lie. A pack is part of its repository when its row exists (I4)."""

import logging
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, BinaryIO, TypeAlias

from storage.database.base import Database, Tx
from storage.disk_space import DiskSpace
from storage.errors import Unavailable
from storage.files import claim_folder
from storage.limits import MIB
from storage.packs.base import PackFiles
from storage.packs.generations import Upkeep
from storage.packs.packfile import PackFile, StoredEntry, read_entries
from storage.records import PackInfo
from storage.singleflight import Once

log = logging.getLogger(__name__)

_LOOKS = 10  # at the rows, while packs are merged away under the eyes
_OPEN_BYTES = 64 * MIB  # that open packs may take of memory, mapped files aside
_GRACE_SECONDS = 86400  # nothing that is being pushed is older

Packs: TypeAlias = list[PackFile]


class PackStore:
    """`incoming` is a local folder for what is on its way in, on the same file system as the local files of `files`."""

    def __init__(self, files: PackFiles, incoming: Path, database: Database, open_packs: int = 256, space: DiskSpace | None = None) -> None:
        self._files = files
        self.incoming = incoming
        self.space = space or DiskSpace(incoming)
        self._database = database
        self.upkeep = Upkeep(database)
        self._limit = open_packs
        self._open: OrderedDict[tuple[str, str], PackFile] = OrderedDict()
        self._held = 0  # bytes
        self._opening: Once[tuple[str, str], PackFile] = Once()
        self._lock = threading.Lock()

    def quarantine(self) -> Path:
        """A new private folder for one push, on the same file system; the caller removes it."""
        return Path(tempfile.mkdtemp(prefix="push-", dir=self.incoming))

    def spool(self) -> IO[bytes]:
        """A nameless file for a body on its way in, in memory while it is small; gone when it is closed."""
        return tempfile.SpooledTemporaryFile(MIB, dir=str(self.incoming))

    def add(self, repo_id: str, info: PackInfo, pack: Path, index: Path) -> None:
        """Move a checked pack into place, durably; it shows once `record` ran in the transaction that moves the refs.

        Raises Unavailable where the place does not answer: nothing is shown then, and the same pack may be added again.
        """
        self._files.add(repo_id, info, pack, index)

    def record(self, tx: Tx, repo_id: str, info: PackInfo) -> None:
        """The row that makes the pack part of its repository; none if it is one already, or went into another one by a merge."""
        tx.run(
            "INSERT INTO packs (repo_id, id, objects, size, created_at) VALUES (:repo, :id, :objects, :size, :now) ON CONFLICT DO NOTHING",
            {"repo": repo_id, "id": info.id, "objects": info.objects, "size": info.size, "now": time.time_ns() // 1000},
        )

    def list(self, repo_id: str) -> list[PackInfo]:
        """The repository's packs, newest first."""
        sql = "SELECT id, objects, size, dead_since FROM packs WHERE repo_id = :repo AND merged_at IS NULL ORDER BY created_at DESC, id"
        rows = self._database.all(sql, {"repo": repo_id})
        return [PackInfo(row["id"], row["objects"], row["size"], row["dead_since"]) for row in rows]

    def open(self, repo_id: str, info: PackInfo) -> PackFile:
        """The mapped pack, kept open for the next caller; the longest unused ones are let go.

        Raises Unavailable when its files are gone.
        """
        try:
            return self._opened(repo_id, info)
        except FileNotFoundError as error:
            raise self._lost(info) from error

    def open_listed(self, repo_id: str, held: "Packs") -> "Packs":
        """Every pack of the repository, newest first; `held` (an earlier answer) itself when nothing changed.

        A pack may be merged away between the look at the rows and that at the files: then the rows are read again. Raises Unavailable
        when files are gone whose row is still there.
        """
        lost: PackInfo | None = None
        for _ in range(_LOOKS):
            infos = self.list(repo_id)
            if infos == [pack.info for pack in held]:
                self._files.touch(repo_id, infos)
                return held
            if lost in infos:
                raise self._lost(lost)
            packs = {pack.info: pack for pack in held}
            self._let_go(repo_id, {info.id for info in packs.keys() - set(infos)})
            lost = self._open_into(packs, repo_id, infos)
            if lost is None:
                return [packs[info] for info in infos]
        raise Unavailable("The packs of this repository are being merged again and again. Try again in a moment.")

    def entries(self, repo_id: str, info: PackInfo) -> Sequence[StoredEntry]:
        """The index as a whole, in pack order. Raises Unavailable when it is gone."""
        try:
            return read_entries(self._files.open(repo_id, info, "idx"))
        except FileNotFoundError as error:
            raise self._lost(info) from error

    def lost(self, repo_id: str) -> Iterator[str]:
        """A line for each listed pack that is not stored whole, though a cache may have it. Raises Unavailable."""
        for info in self.list(repo_id):
            if not self._files.has(repo_id, info) and info in self.list(repo_id):  # else it was merged away meanwhile
                yield self._lost(info).message

    def stored(self, repo_id: str) -> Sequence[PackInfo]:
        """What lies there, named in rows or not. Raises Unavailable."""
        return [*self._files.stored(repo_id)]

    def replace(self, repo_id: str, sources: Sequence[PackInfo], *made: PackInfo) -> bool:
        """Make `made`, which were added and hold all objects of `sources`, part of the repository in their place. A source that is one
        of `made` stays as that one.

        False, and nothing is changed, when one of them is no longer there: somebody else merged it, or the repository is deleted.
        """
        now = time.time_ns() // 1000
        staying = {info.id for info in made}
        rows = [{"repo": repo_id, "id": source.id, "merged": None if source.id in staying else now} for source in sources]

        def work(tx: Tx) -> None:
            for row in rows:
                if not tx.run("UPDATE packs SET merged_at = :merged WHERE repo_id = :repo AND id = :id AND merged_at IS NULL", row):
                    raise _Gone
            for info in made:
                self._put(tx, repo_id, info, now)
            old = {"repo": repo_id, "old": now - _GRACE_SECONDS * 1_000_000}
            tx.run("DELETE FROM packs WHERE repo_id = :repo AND merged_at < :old", old)

        try:
            self._database.write(work)
        except _Gone:
            return False
        return True

    def discard(self, repo_id: str, gone: Sequence[PackInfo]) -> None:
        """The files of packs that were replaced or dropped. One that was made or pushed again since is looked at, and stays."""
        self._let_go(repo_id, {info.id for info in gone})
        listed = "SELECT id FROM packs WHERE repo_id = :repo AND id = :id AND merged_at IS NULL"
        for info in gone:
            if self._database.one(listed, {"repo": repo_id, "id": info.id}) is None:
                self._files.remove(repo_id, [info.id])

    def files(self, repo_id: str, info: PackInfo) -> tuple[BinaryIO, BinaryIO]:
        """The pack and its index as local files, which stay readable whatever becomes of them. Raises Unavailable when they are gone."""
        try:
            pack = self._files.open(repo_id, info, "pack")
            try:
                return pack, self._files.open(repo_id, info, "idx")
            except BaseException:
                pack.close()
                raise
        except FileNotFoundError as error:
            raise self._lost(info) from error

    def remove(self, repo_id: str, gone: Sequence[PackInfo]) -> None:
        """The files of packs that are not listed, now and for as long as a push of them may run. Readers keep what they have open."""
        ids = {info.id for info in gone}
        self._let_go(repo_id, ids)
        self._files.remove(repo_id, ids)

    def sweep(self, repo_id: str) -> None:
        """Remove old files that no row names: a crash left them, or a pack was pushed once more after it had been merged."""
        for pack_id in self._unnamed(repo_id):
            if pack_id in self._unnamed(repo_id):  # not pushed again since: the look and the removal belong close together
                self._files.remove(repo_id, [pack_id])

    @contextmanager
    def merging(self, repo_id: str) -> Iterator[bool]:
        """Whether the caller is the only one on this machine to merge here. It saves work; `replace` is what keeps merges apart."""
        with ExitStack() as claim:
            try:
                is_ours = claim.enter_context(claim_folder(self._files.folder(repo_id)))
            except FileNotFoundError:  # no pack was ever put there, so nobody merges
                is_ours = True
            yield is_ours

    def remove_repo(self, repo_id: str) -> None:
        """Drop a deleted repository's packs; called after its rows are gone."""
        with self._lock:
            for key in [k for k in self._open if k[0] == repo_id]:
                self._held -= self._open.pop(key).held_bytes
        try:
            self._files.remove_repo(repo_id)
        except Unavailable as error:  # nobody can reach them any more, and who deleted it is done
            log.warning("packs of the deleted repository %s are still in %s: %s", repo_id, self._files.place, error.message)

    def _put(self, tx: Tx, repo_id: str, info: PackInfo, now: int) -> None:
        """The row of a pack that is here in any case; one of the very same bytes may have been merged, or set aside, before."""
        tx.run(
            "INSERT INTO packs (repo_id, id, objects, size, created_at, dead_since) VALUES (:repo, :id, :objects, :size, :now, :dead)"
            " ON CONFLICT (repo_id, id) DO UPDATE SET merged_at = NULL, dead_since = excluded.dead_since",
            {"repo": repo_id, "id": info.id, "objects": info.objects, "size": info.size, "now": now, "dead": info.dead_since},
        )

    def _opened(self, repo_id: str, info: PackInfo) -> PackFile:
        key = (repo_id, info.id)
        return self._kept(key) or self._opening.run(key, lambda: self._kept(key) or self._load(repo_id, info))

    def _kept(self, key: tuple[str, str]) -> PackFile | None:
        with self._lock:
            pack = self._open.get(key)
            if pack is not None:
                self._open.move_to_end(key)
            return pack

    def _load(self, repo_id: str, info: PackInfo) -> PackFile:
        """May take as long as the files take to come; other packs need not wait for it."""
        index = self._files.open(repo_id, info, "idx")
        try:
            pack = PackFile(info, self._files.open(repo_id, info, "pack"), index)
        except BaseException:
            index.close()
            raise
        with self._lock:
            self._open[repo_id, info.id] = pack
            self._held += pack.held_bytes
            while len(self._open) > 1 and (len(self._open) > self._limit or self._held > _OPEN_BYTES):
                self._held -= self._open.popitem(last=False)[1].held_bytes  # closed when its last reader lets go
        return pack

    def _open_into(self, packs: dict[PackInfo, PackFile], repo_id: str, infos: Sequence[PackInfo]) -> PackInfo | None:
        """Add those of `infos` that are not in `packs` yet; the first whose files are not there, if there is one."""
        new = [info for info in infos if info not in packs]
        try:
            for info, pack in zip(new, self._all_opened(repo_id, new), strict=True):
                packs[info] = pack
        except FileNotFoundError:
            return next(info for info in new if info not in packs)
        return None

    def _all_opened(self, repo_id: str, infos: Sequence[PackInfo]) -> Iterator[PackFile]:
        """In their order; from afar several at once, and after a failure the rest is not waited for."""
        at_once = min(self._files.at_once, len(infos))
        if at_once <= 1:
            yield from (self._opened(repo_id, info) for info in infos)
            return
        pool = ThreadPoolExecutor(at_once)
        try:
            yield from pool.map(lambda info: self._opened(repo_id, info), infos)
        finally:
            pool.shutdown(cancel_futures=True)

    def _unnamed(self, repo_id: str) -> set[str]:
        """Old packs without a row. The rows are read after the files: what was pushed meanwhile has one."""
        old = self._files.older(repo_id, _GRACE_SECONDS)
        return old - {info.id for info in self.list(repo_id)} if old else old

    def _let_go(self, repo_id: str, ids: AbstractSet[str]) -> None:
        with self._lock:
            for pack_id in ids:
                if (pack := self._open.pop((repo_id, pack_id), None)) is not None:
                    self._held -= pack.held_bytes

    def _lost(self, info: PackInfo) -> Unavailable:
        return Unavailable(f"pack {info.id} is missing from {self._files.place}. The operator must restore it from a backup.")


class _Gone(Exception):
    """Rolls the transaction of a merge back."""

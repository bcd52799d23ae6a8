"""The changed-path index of repositories as files of this machine (docs/decisions/0022): found, opened, made.

A cache: each file may be removed at any time, and several processes may make the same one.
"""

import hashlib
import logging
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import islice
from pathlib import Path

from gitserver.history.build import NewSegments, SegmentBuilder, find_missing
from gitserver.history.segment import PathSegment
from gitserver.objects.store import BaseCache, Objects
from gitserver.workers.process_pool import ProcessPool
from gitserver.workers.resting import Resting
from gitserver.workers.tasks import Stock, open_stock, stock_of
from storage.errors import HubError, ObjectNotFound, Unavailable
from storage.filecache import FileCache
from storage.limits import Limits
from storage.records import Oid

log = logging.getLogger(__name__)
_PREFIX = "paths-"
_FEW = 64  # commits that are compared faster than a process is asked
_MANY = 2000  # commits for which a process of its own is worth its start
_OPEN = 32  # repositories
_TOUCH_SECONDS = 60.0
_BASES_BYTES = 16 << 20  # of inflated bases while it is made
_NO_PROCESS = (Unavailable, OSError, RuntimeError)


class PathIndex:
    """`incoming` is a folder on the file system of `files`. `tips` says which commits of a repository are worth an index."""

    def __init__(
        self, files: FileCache, incoming: Path, process_pool: ProcessPool, tips: Callable[[str], Iterable[Oid]], limits: Limits
    ) -> None:
        self.files = files
        self._incoming = incoming
        self._process_pool = process_pool
        self._tips = tips
        self._limits = limits
        self._open: OrderedDict[str, _Opened] = OrderedDict()
        self._resting = Resting(self._rested)
        self._making: dict[str, Future[NewSegments]] = {}
        self._lock = threading.Lock()

    @property
    def is_kept(self) -> bool:
        return self.files.limit > 0

    def segments(self, repo_id: str) -> Sequence[PathSegment]:
        """What there is now, the largest first."""
        return sorted(self._segments(repo_id).values(), key=lambda segment: -segment.commits)

    def enqueue(self, objects: Objects) -> None:
        """Refs moved: what is new is indexed in a moment, if it is much. Pushes come in groups."""
        if self.is_kept:
            self._resting.note(objects)

    def make(self, objects: Objects, tips: Sequence[Oid]) -> "Future[NewSegments] | None":
        """Index in the background what leads from `tips` and has none yet. None where that is little, or nothing can be made now."""
        missing = find_missing(objects, self.segments(objects.repo_id), tips)
        count = sum(1 for _ in islice(missing, _MANY))
        if count < _FEW or not self.is_kept:
            return None
        with self._lock:
            if (making := self._making.get(objects.repo_id)) is not None:
                return making
            submit = self._process_pool.submit_long if count >= _MANY else self._process_pool.submit
            try:
                folder = Path(tempfile.mkdtemp(prefix="paths-", dir=self._incoming))
                stock = stock_of(objects, self.files)
                making = submit(make_segments, stock, tuple(tips), folder, self._limits)
            except _NO_PROCESS as error:
                log.warning("the paths of repository %s are not indexed now: %r", objects.repo_id, error)
                return None
            kept: Future[NewSegments] = Future()
            self._making[objects.repo_id] = kept
        self._process_pool.then(making, lambda done: self._made(objects.repo_id, folder, done, kept))
        return kept

    def rebuild(self, objects: Objects) -> int:
        """Make the whole index anew, here; how many commits it has."""
        if not self.is_kept:
            return 0
        old = self._segments(objects.repo_id)
        with tempfile.TemporaryDirectory(prefix="paths-", dir=self._incoming) as folder:
            builder = SegmentBuilder(objects, {}, Path(folder), self._limits)
            made = builder.run(tuple(self._tips(objects.repo_id)), self._limits.history_build_seconds)
            self._keep(objects.repo_id, NewSegments(made.files, tuple(old)))
        return sum(segment.commits for segment in self.segments(objects.repo_id))

    def close(self) -> None:
        """The process_pool is closed by whoever made it."""
        self._resting.close()

    def _segments(self, repo_id: str) -> Mapping[str, PathSegment]:
        with self._lock:
            opened = self._open.setdefault(repo_id, _Opened())
            self._open.move_to_end(repo_id)
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return opened.look(self.files, repo_id)

    def _rested(self, objects: Objects) -> None:
        try:
            self.make(objects, list(self._tips(objects.repo_id)))
        except HubError as error:  # the repository is deleted, or its packs are being merged
            log.info("the paths of repository %s are not indexed now: %s", objects.repo_id, error.message)
        except Exception:
            if not self._resting.is_closed:
                log.exception("the paths of repository %s are not indexed now", objects.repo_id)

    def _made(self, repo_id: str, folder: Path, done: "Future[NewSegments]", kept: "Future[NewSegments]") -> None:
        made = NewSegments((), ())
        try:
            error = done.exception() if not done.cancelled() else None
            if done.cancelled() or error is not None:
                is_known = self._resting.is_closed or done.cancelled() or isinstance(error, FileNotFoundError | ObjectNotFound)
                if not is_known:  # else the hub is stopping, or a pack was merged away meanwhile
                    log.warning("the paths of repository %s could not be indexed: %r", repo_id, error)
            else:
                made = done.result()
                self._keep(repo_id, made)
        finally:
            for path in folder.glob("*"):
                path.unlink(missing_ok=True)
            with suppress(OSError):
                folder.rmdir()
            with self._lock:
                self._making.pop(repo_id, None)
            kept.set_result(made)

    def _keep(self, repo_id: str, made: NewSegments) -> None:
        """The new ones before the old ones go."""
        names = set()
        for path in made.files:
            with path.open("rb") as file:
                name = _PREFIX + hashlib.file_digest(file, "sha256").hexdigest()[:40]
            names.add(name)
            self.files.keep(path, f"{repo_id}/{name}")
        for name in set(made.replaced) - names:
            self.files.remove(f"{repo_id}/{name}")


def make_segments(stock: Stock, tips: Sequence[Oid], folder: Path, limits: Limits) -> NewSegments:
    """In the process pool. Raises FileNotFoundError, ObjectNotFound when a pack is gone meanwhile."""
    objects = open_stock(stock, BaseCache(_BASES_BYTES))
    segments: dict[str, PathSegment] = {}
    if stock.prepared is not None:
        segments = dict(_Opened().look(FileCache(stock.prepared, 0), stock.repo_id))
    return SegmentBuilder(objects, segments, folder, limits).run(tips, limits.history_build_seconds)


class _Opened:
    """The open files of one repository."""

    def __init__(self) -> None:
        self._segments: dict[str, PathSegment] = {}
        self._touched = 0.0
        self._lock = threading.Lock()

    def look(self, files: FileCache, repo_id: str) -> Mapping[str, PathSegment]:
        """The folder as it is now. Files that are in use are marked so now and then; damaged ones are removed."""
        with self._lock:
            names = {path.name for path in files.files(repo_id) if path.name.startswith(_PREFIX)}
            if names != self._segments.keys():
                held = {name: segment for name, segment in self._segments.items() if name in names}
                for name in names - held.keys():
                    if (segment := _opened(files, f"{repo_id}/{name}")) is not None:
                        held[name] = segment
                self._segments = held
            if (now := time.monotonic()) - self._touched > _TOUCH_SECONDS:
                self._touched = now
                for name in self._segments:
                    files.touch(f"{repo_id}/{name}")
            return self._segments


def _opened(files: FileCache, name: str) -> PathSegment | None:
    file = files.open(name)
    try:
        return PathSegment(file) if file is not None else None
    except ValueError:
        files.remove(name)  # damaged, or of another version of the hub: it is made again
        return None

"""Who has things prepared: reachability in the background, packs of clones once for all who ask for the same."""

import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from gitserver.fetch.pack_job import PackJob, PackOrder
from gitserver.objects.reachability import reach_name
from gitserver.objects.store import Objects
from gitserver.pack_cache.cached_pack import PreparedJob
from gitserver.workers.process_pool import ProcessPool
from gitserver.workers.resting import Resting
from gitserver.workers.tasks import PackedResult, make_answer, make_reach, ready, stock_of
from storage.errors import Unavailable
from storage.filecache import FileCache
from storage.limits import Limits
from storage.lru import FACT_BYTES, Recent, fact
from storage.packs import PackFile
from storage.versions.base import Refs

log = logging.getLogger(__name__)
T = TypeVar("T")
_NO_PROCESS = (Unavailable, OSError, RuntimeError)  # the last: no thread can be started, or processes were killed
_FAILED = 1000  # names of what could not be made, for which nobody waits again
_LONG_OBJECTS = 50_000  # of a pack whose reachability takes a second and more


class PackCache:
    """`incoming` is a folder on the file system of `files`."""

    def __init__(self, files: FileCache, incoming: Path, process_pool: ProcessPool, limits: Limits) -> None:
        self.files = files
        self._incoming = incoming
        self._process_pool = process_pool
        self._least = limits.prepared_objects
        self._seconds = limits.answer_seconds
        self._resting = Resting(self._make_reach)
        self._reaching: dict[str, _Reaching] = {}  # by name
        self._failed: Recent[str, bool] = Recent(_FAILED * FACT_BYTES, fact)
        self._growing: dict[str, tuple[Path, Future[PackedResult]]] = {}
        self._lock = threading.Lock()

    def enqueue(self, objects: Objects) -> None:
        """Packs were added: reachability is made in a moment, unless it is there. Pushes come in groups, and each may bring a new pack."""
        if self._lacking(objects) is not None:
            self._resting.note(objects)

    def _lacking(self, objects: Objects) -> PackFile | None:
        """The large pack, if it has no reachability yet and there is room to keep it."""
        largest = objects.largest()
        if self.files.limit == 0 or largest is None or largest.info.objects < self._least or objects.reach is not None:
            return None
        return None if self.files.has(reach_name(objects.repo_id, largest)) else largest

    def _make_reach(self, objects: Objects) -> None:
        largest = self._lacking(objects)
        if largest is None:
            return
        name = reach_name(objects.repo_id, largest)
        with self._lock:
            if name in self._reaching:
                return
            reaching = self._reaching[name] = _Reaching()
        is_long = largest.info.objects > _LONG_OBJECTS
        submit = self._process_pool.submit_long if is_long else self._process_pool.submit
        try:
            if is_long:
                self._process_pool.submit(ready)  # the process that will make clones starts meanwhile
            out, job = self._started(lambda out: submit(make_reach, stock_of(objects, self.files), largest.info.id, out))
            reaching.job = job
        except _NO_PROCESS as error:
            log.warning("the reachability of repository %s is not made now: %r", objects.repo_id, error)
            self._end_reaching(name)
            return
        self._process_pool.then(job, lambda done: self._reached(name, out, done))

    def pack(self, objects: Objects, refs: Refs, order: PackOrder, here: Callable[[], PackJob]) -> PackJob | PreparedJob:
        """Of a clone of a large repository a stored pack, or one that is being made; else `here()`, the job to be done at once."""
        if order.common or not order.wanted.commits or sum(pack.info.objects for pack in objects.packs()) < self._least:
            return here()
        self._make_reach(objects)
        name = f"{objects.repo_id}/answer-{_key(order, refs)}"
        with self._lock:
            if (file := self.files.open(name)) is not None:
                return PreparedJob(file, None, here, self._seconds)
            is_new = name not in self._growing
            try:
                path, making = self._growing.get(name) or self._start(name, objects, refs, order)
            except _NO_PROCESS as error:
                log.warning("a clone of repository %s is made here: %r", objects.repo_id, error)
                return here()
            job = PreparedJob(path.open("rb"), making, here, self._seconds)
        if is_new:
            self._process_pool.then(making, lambda done: self._grown(name, path, done))
        return job

    def close(self) -> None:
        self._resting.close()
        self._process_pool.close()
        for name in list(self._reaching):
            self._end_reaching(name)

    def _start(self, name: str, objects: Objects, refs: Refs, order: PackOrder) -> "tuple[Path, Future[PackedResult]]":
        """At once, or when the reachability is there that is being made: without it the same takes about as long as making it."""
        before = self._to_wait_for(objects)

        def submit(out: Path) -> "Future[PackedResult]":
            return self._process_pool.submit(make_answer, stock_of(objects, self.files), order, refs, out)

        self._growing[name] = self._started(submit if before is None else lambda out: _after(before, lambda: submit(out)))
        return self._growing[name]

    def _to_wait_for(self, objects: Objects) -> "Future[None] | None":
        """The end of the work on reachability, unless that has yet to wait for other repositories, or has failed before."""
        lacking = self._lacking(objects)
        name = reach_name(objects.repo_id, lacking) if lacking is not None else ""
        reaching = self._reaching.get(name)
        if reaching is None or self._failed.get(name):
            return None
        is_next = len(self._reaching) == 1 or (reaching.job is not None and reaching.job.running())
        return reaching.ended if is_next else None

    def _started(self, submit: "Callable[[Path], Future[T]]") -> "tuple[Path, Future[T]]":
        """A job that fills a new file. Raises Unavailable, and OSError where there is no room for a file or a process."""
        fd, name = tempfile.mkstemp(prefix="prepared-", dir=self._incoming)
        os.close(fd)
        out = Path(name)
        try:
            return out, submit(out)
        except BaseException:
            out.unlink()
            raise

    def _grown(self, name: str, out: Path, done: "Future[PackedResult]") -> None:
        with self._lock:  # who asks meanwhile finds it in one place or in the other
            try:
                self._finish(name, out, done)
            finally:
                del self._growing[name]

    def _reached(self, name: str, out: Path, done: "Future[None]") -> None:
        try:
            self._finish(name, out, done)
        finally:
            self._end_reaching(name)

    def _end_reaching(self, name: str) -> None:
        with self._lock:
            reaching = self._reaching.pop(name, None)
        if reaching is not None:
            reaching.ended.set_result(None)

    def _finish(self, name: str, out: Path, done: "Future[PackedResult] | Future[None]") -> None:
        """Keep what was made. A failure harms nobody: who needs it does the work himself."""
        if done.cancelled() or (error := done.exception()) is not None:
            out.unlink(missing_ok=True)
            self._failed.keep(name, True)
            if not (done.cancelled() or self._resting.is_closed or isinstance(error, FileNotFoundError)):  # of a pack that was merged away
                log.warning("%s could not be prepared: %r", name, error)
            return
        self.files.keep(out, name)


@dataclass(slots=True)
class _Reaching:
    """Reachability that is being made: `ended` when the file is kept, or will never be."""

    ended: "Future[None]" = field(default_factory=Future)
    job: "Future[None] | None" = None


def _after(before: "Future[None]", submit: "Callable[[], Future[T]]") -> "Future[T]":
    """The future of a job that is submitted later."""
    made: Future[T] = Future()

    def begin(_: "Future[None]") -> None:
        try:
            submit().add_done_callback(lambda done: _pass_on(done, made))
        except _NO_PROCESS as error:
            made.set_exception(error)

    before.add_done_callback(begin)
    return made


def _pass_on(done: "Future[T]", to: "Future[T]") -> None:
    if done.cancelled() or (error := done.exception()) is not None:
        to.set_exception(CancelledError() if done.cancelled() else error)
    else:
        to.set_result(done.result())


def _key(order: PackOrder, refs: Refs) -> str:
    """Equal for orders that the same set of objects answers, whatever packs they lie in."""
    wanted, shallow = order.wanted, order.shallow
    tags = sorted((ref.peeled, ref.oid) for ref in refs.refs if ref.peeled is not None) if order.include_tag else []
    parts = (
        *map(sorted, (wanted.commits, wanted.tags, wanted.trees, wanted.blobs)),
        *map(sorted, (shallow.shallow, shallow.unshallow, shallow.cut, shallow.client, shallow.extra)),
        (order.filter.blob_limit, order.filter.tree_depth),
        (order.rules.ofs_delta, order.rules.thin),
        tags,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()

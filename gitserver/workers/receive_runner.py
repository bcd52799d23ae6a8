"""Pushed packs are checked here or, large ones, in a process of their own: neither the lock nor the memory that it takes is the hub's."""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, wait
from contextlib import contextmanager
from pathlib import Path

from gitserver.objects.store import Objects
from gitserver.receive.ingest import Ingest, Ingested, IngestOptions
from gitserver.workers.process_pool import ProcessPool
from gitserver.workers.tasks import ingest, stock_of
from storage.errors import Unavailable
from storage.limits import Limits
from storage.records import RefUpdate

_LOOK_SECONDS = 0.2


class ReceiveRunner:
    """`most` packs are checked apart at the same time; others wait for their turn."""

    def __init__(self, process_pool: ProcessPool, limits: Limits, most: int) -> None:
        self._process_pool = process_pool
        self._limits = limits
        self._turns = threading.BoundedSemaphore(most)

    def run(
        self, objects: Objects, pack: Path, updates: Sequence[RefUpdate], terms: IngestOptions, progress: Callable[[str], None]
    ) -> Ingested:
        """Of a large pack the kinds of objects are told as far as `updates` need them.

        Raises what Ingest.run does, and Unavailable when the process ended by force: nothing is stored then."""
        if _count(pack) < self._limits.apart_pack_objects:
            return Ingest(objects, self._limits, progress, terms).run(pack)
        targets = {update.new for update in updates}
        with self._turn(progress), tempfile.NamedTemporaryFile(dir=pack.parent, prefix="told-") as told:
            try:
                job = self._process_pool.start_alone(ingest, stock_of(objects), pack, targets, terms, self._limits, told.name)
                return self._followed(job, told.fileno(), progress)
            except FileNotFoundError:  # a stored pack was merged away meanwhile; the pushed one was not touched yet
                objects.refresh()
                return Ingest(objects, self._limits, progress, terms).run(pack)
            except BrokenExecutor as error:
                raise Unavailable("The process that checked the push was ended. Push again.") from error

    def _followed(self, job: "Future[Ingested]", told: int, progress: Callable[[str], None]) -> Ingested:
        """The result, when it is there; until then what the process tells is passed on."""
        last, until = b"", time.monotonic() + self._limits.check_seconds
        while not wait([job], _LOOK_SECONDS).done:
            last = _passed_on(told, last, progress)
            if time.monotonic() > until:
                self._process_pool.stop(job)
                raise Unavailable(
                    f"The check of the push took longer than {self._limits.check_seconds} seconds. Push fewer commits at a time."
                )
        _passed_on(told, last, progress)
        return job.result()

    @contextmanager
    def _turn(self, progress: Callable[[str], None]) -> Iterator[None]:
        while not self._turns.acquire(timeout=5):
            progress("Waiting for other pushes\r")
        try:
            yield
        finally:
            self._turns.release()


def _passed_on(told: int, last: bytes, progress: Callable[[str], None]) -> bytes:
    """What the process tells now; it is shown if it is not what it told at `last`."""
    text = os.pread(told, 200, 0)
    if text != last:
        progress(text.decode())
    return text


def _count(pack: Path) -> int:
    """How many objects a pack says that it has; what is none is found out by the check."""
    with pack.open("rb") as file:
        return int.from_bytes(file.read(12)[8:], "big")

"""Pushed packs are checked here or, large ones, in a process of their own: neither the lock nor the memory that it takes is the hub's."""

import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager
from pathlib import Path

from gitserver.objects import Objects
from gitserver.prepare.jobs import ingest, stock_of
from gitserver.prepare.workshop import Workshop
from gitserver.receive.ingest import Ingest, Ingested, Terms
from storage.errors import Unavailable
from storage.limits import Limits
from storage.records import RefUpdate

_LOOK_SECONDS = 0.2


class Ingester:
    """`most` packs are checked apart at the same time; others wait for their turn."""

    def __init__(self, workshop: Workshop, limits: Limits, most: int) -> None:
        self._workshop = workshop
        self._limits = limits
        self._turns = threading.BoundedSemaphore(most)

    def run(self, objects: Objects, pack: Path, updates: Sequence[RefUpdate], terms: Terms, progress: Callable[[str], None]) -> Ingested:
        """Of a large pack the kinds of objects are told as far as `updates` need them.

        Raises what Ingest.run does, and Unavailable when the process ended by force: nothing is stored then."""
        if pack.stat().st_size < self._limits.apart_pack_bytes:
            return Ingest(objects, self._limits, progress, terms).run(pack)
        objects.refresh()
        targets = {update.new for update in updates}
        with self._turn(progress), tempfile.NamedTemporaryFile(dir=pack.parent, prefix="told-") as told:
            job = self._workshop.start_alone(ingest, stock_of(objects), pack, targets, terms, self._limits, told.name)
            try:
                return _followed(job, told.fileno(), progress)
            except FileNotFoundError:  # a stored pack was merged away meanwhile; the pushed one was not touched yet
                return Ingest(objects, self._limits, progress, terms).run(pack)
            except BrokenExecutor as error:
                raise Unavailable("The process that checked the push was ended. Push again.") from error

    @contextmanager
    def _turn(self, progress: Callable[[str], None]) -> Iterator[None]:
        while not self._turns.acquire(timeout=5):
            progress("Waiting for other pushes\r")
        try:
            yield
        finally:
            self._turns.release()


def _followed(job: "Future[Ingested]", told: int, progress: Callable[[str], None]) -> Ingested:
    """The result, when it is there; until then what the process tells is passed on."""
    last = b""
    while True:
        try:
            made = job.result(_LOOK_SECONDS)
        except TimeoutError:
            made = None
        text = os.pread(told, 200, 0)
        if text != last:
            last = text
            progress(text.decode())
        if made is not None:
            return made

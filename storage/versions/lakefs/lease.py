"""Leases of running operations are renewed while they run, however long LakeFS takes."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from storage.database.base import Database
from storage.errors import Unavailable
from storage.versions.lakefs import operations
from storage.versions.lakefs.operations import Operation

log = logging.getLogger(__name__)
_EVERY_SECONDS = operations.LEASE_SECONDS / 3


class Leases:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._held: dict[str, Operation] = {}
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def hold(self, operation: Operation) -> Iterator[None]:
        with self._lock:
            self._held[operation.id] = operation
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._held[operation.id]

    def close(self) -> None:
        self._is_closed = True
        self._changed.set()
        if self._thread is not None:
            self._thread.join()

    def _beat(self) -> None:
        while not self._is_closed:
            self._changed.wait(_EVERY_SECONDS)
            with self._lock:
                held = list(self._held.values())
            for operation in held:
                try:
                    self._database.write(lambda tx, op=operation: operations.renew(tx, op))  # type: ignore[misc]
                except Unavailable:
                    log.warning("the lease of operation %s was not renewed; whoever finds it over ends the operation", operation.id)

"""A pack that is stored ready, or read while a process of the process pool writes it; many clients may read the same one."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import BinaryIO

from gitserver.fetch.pack_job import PackJob
from gitserver.fetch.packing import Piece
from gitserver.workers.tasks import PackedResult
from storage.errors import Unavailable

_HEADER = 12
_PIECE = 4 * 65515  # four packets of a side band
_LOOK_SECONDS = 0.005


class PreparedJob:
    """Used like PackJob. `making` is None for a stored pack; `instead` makes a job that does the work here, should the process fail or
    not get on for `seconds`.
    """

    def __init__(self, file: BinaryIO, making: "Future[PackedResult] | None", instead: Callable[[], PackJob], seconds: float) -> None:
        self._file = file
        self._making = making
        self._make_instead = instead
        self._seconds = seconds
        self._instead: PackJob | None = None

    def run(self) -> Iterator[int]:
        """Until the pack's header is there."""
        until = time.monotonic() + self._seconds
        while self._is_growing() and not self._has_begun() and time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
            yield 0
        if self._has_failed() or not self._has_begun():  # a pack was merged away meanwhile, or the process was killed
            self._instead = self._make_instead()
            yield from self._instead.run()

    @property
    def total(self) -> int:
        if self._instead is not None:
            return self._instead.total
        return int.from_bytes(os.pread(self._file.fileno(), 4, 8), "big")

    @property
    def rewritten(self) -> int:
        """How many objects were deflated for this pack; none for one that was stored."""
        if self._instead is not None:
            return self._instead.rewritten
        return self._making.result().rewritten if self._making is not None and self._making.done() else 0

    def pieces(self) -> Iterator[Piece]:
        """Raises Unavailable when the pack cannot be finished."""
        with self._file as file:
            if self._instead is not None:
                yield from self._instead.pieces()
                return
            until = time.monotonic() + self._seconds
            while True:
                is_growing = self._is_growing()  # before the look at the file: its end may come between the two
                if piece := file.read(_PIECE):
                    yield piece
                    until = time.monotonic() + self._seconds
                elif is_growing and time.monotonic() < until:
                    time.sleep(_LOOK_SECONDS)
                else:
                    break
            if is_growing or self._has_failed():
                raise Unavailable("The pack could not be finished. Fetch again.")

    def _has_begun(self) -> bool:
        return os.fstat(self._file.fileno()).st_size >= _HEADER

    def _has_failed(self) -> bool:
        making = self._making
        return making is not None and making.done() and (making.cancelled() or making.exception() is not None)

    def _is_growing(self) -> bool:
        return self._making is not None and not self._making.done()

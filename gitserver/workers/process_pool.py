"""Processes for work that would hold Python's lock for long. They start when they are first needed, and end with the hub."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from storage.errors import Unavailable

log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
_LOOK_SECONDS = 1.0
_END_SECONDS = 10.0
_NICE = 5  # those who wait for answers in the serving process come first


class ProcessPool:
    """`processes` stay for short jobs; long ones have processes of their own."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None
        self._alone: dict[Future[Any], ProcessPoolExecutor] = {}
        self._queue = ThreadPoolExecutor(1, "process-pool")
        self._after = ThreadPoolExecutor(1, "process-pool-after")
        self._is_closed = False
        self._lock = threading.Lock()

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """`work` is a module's function; what it takes and gives can be pickled. Raises Unavailable once the hub is stopping."""
        with self._lock:
            self._check()
            try:
                self._pool = self._pool or _started(self._processes)
                return self._pool.submit(work, *args, **kwargs)
            except BrokenProcessPool:  # a process was killed, by a lack of memory for example; its jobs were told so
                log.warning("a process of the process pool ended; new ones are started")
                self._pool = _started(self._processes)
                return self._pool.submit(work, *args, **kwargs)

    def start_alone(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """The same in a process of its own, at once: for jobs that take long or much memory, which goes with the process."""
        with self._lock:
            self._check()
            pool = _started(1)
            job = pool.submit(work, *args, **kwargs)
            self._alone[job] = pool
        self.then(job, self._end)
        return job

    def submit_long(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """The same, when those before it are done."""
        with self._lock:
            self._check()
            return self._queue.submit(lambda: self.start_alone(work, *args, **kwargs).result())

    def then(self, job: "Future[T]", work: "Callable[[Future[T]], None]") -> None:
        """`work(job)` when the job is done, in a thread of its own: who tells of the end may hold locks of the pool."""

        def hand_on(done: "Future[T]") -> None:
            with suppress(RuntimeError):  # closed
                self._after.submit(work, done)

        job.add_done_callback(hand_on)

    def close(self) -> None:
        """What runs is stopped: nobody waits for it any more, and all of it can be made again."""
        with self._lock:
            self._is_closed = True
            pools = [*self._alone.values(), *([self._pool] if self._pool is not None else [])]
        for pool in pools:
            _kill(pool)
        self._queue.shutdown(wait=True, cancel_futures=True)
        self._after.shutdown(wait=True)

    def stop(self, job: "Future[T]") -> None:
        """Of a job that was started alone: it ends by force, if it has not ended yet."""
        with self._lock:
            pool = self._alone.get(job)
        if pool is not None:
            _kill(pool)

    def _end(self, job: "Future[T]") -> None:
        with self._lock:
            pool = self._alone.pop(job)
        pool.shutdown(wait=False)

    def _check(self) -> None:
        if self._is_closed:
            raise Unavailable("The hub is stopping. Try again in a moment.")


def _started(processes: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(os.getpid(),))


def _kill(pool: ProcessPoolExecutor) -> None:
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.kill()  # one that stands still would not hear anything else
    for process in processes:
        process.join(_END_SECONDS)


def _begin(parent: int) -> None:
    """In the new process: Ctrl-C is the parent's, and it ends when the parent is gone, however that went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)

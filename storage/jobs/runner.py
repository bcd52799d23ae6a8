"""Threads that take jobs and run them, with their leases renewed meanwhile."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeAlias

from storage.disk_space import is_full
from storage.errors import HubError, Unavailable
from storage.jobs.base import Fenced, Interrupted, Lease
from storage.jobs.queue import Jobs

log = logging.getLogger(__name__)
_LOOK_SECONDS = 2.0
_TELL_SECONDS = 1.0
_FULL = "The hub's disk is full. Ask the operator."
_BROKEN = "Something went wrong here; the operator's log says what."


class Run:
    """A job under way, as its work sees it."""

    def __init__(self, jobs: Jobs, lease: Lease, stopping: threading.Event, show: Callable[[str], None] | None = None) -> None:
        self._jobs = jobs
        self._stopping = stopping
        self._show = show
        self._told_at = 0.0
        self._stage = ""
        self.lease = lease
        self.is_fenced = False

    def check(self) -> None:
        """Called at least once for each piece of work that takes seconds. Raises Fenced or Interrupted when it is to stop."""
        if self.is_fenced:
            raise Fenced
        if self._stopping.is_set():
            raise Interrupted

    def progress(self, text: str, done: int = 0, total: int = 0) -> None:
        """Note how far it is, at most once a second while the first word of `text` stays the same. Raises like `check`."""
        self.check()
        now, stage = time.monotonic(), text.partition(" ")[0]
        if stage == self._stage and now - self._told_at < _TELL_SECONDS:
            return
        self._told_at, self._stage = now, stage
        if self._show is not None:
            self._show(f"{text} {done}/{total}" if total else text)
        self._jobs.progress(self.lease, text, done, total)

    def renew(self) -> None:
        try:
            self._jobs.renew(self.lease)
        except Fenced:
            self.is_fenced = True
        except Unavailable as error:
            log.warning("the lease of job %s was not renewed: %s", self.lease.key, error.message)


Work: TypeAlias = Callable[[Run], None]


def execute(jobs: Jobs, run: Run, work: Work, beat_seconds: float) -> str:
    """Run `work` and write down how it ended; the reason if it failed, else empty. Raises Fenced, Interrupted, Unavailable."""
    over = threading.Event()
    beating = threading.Thread(target=_beat, args=(run, over, beat_seconds), name="job-lease", daemon=True)
    beating.start()
    try:
        work(run)
        jobs.finish(run.lease)
        return ""
    except Interrupted:
        jobs.give_back(run.lease)
        raise
    except Unavailable as error:
        jobs.fail(run.lease, error.message, is_final=False)
        return error.message
    except HubError as error:
        jobs.fail(run.lease, error.message, is_final=True)
        return error.message
    finally:
        over.set()
        beating.join()


class JobRunner:
    """`works` says what is to be done for each kind of job. Each of its threads runs one job at a time."""

    def __init__(self, jobs: Jobs, works: Mapping[str, Work], lease_seconds: float, threads: int) -> None:
        self._jobs = jobs
        self._works = works
        self._beat_seconds = lease_seconds / 3
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._loop, name=f"jobs-{number}", daemon=True) for number in range(threads)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, seconds: float) -> None:
        """Running jobs stop at their next step and go back to the queue; what does not within `seconds` is left to its lease."""
        self._stopping.set()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                lease = self._jobs.take(self._works.keys())
            except Unavailable as error:
                if not is_full(error):  # of a full disk one line of the log tells, not one every few seconds
                    log.warning("no job can be taken: %s", error.message)
                lease = None
            except Exception:
                log.exception("no job can be taken")
                lease = None
            if lease is None:
                self._stopping.wait(_LOOK_SECONDS)
            else:
                self._run(lease)

    def _run(self, lease: Lease) -> None:
        try:
            reason = execute(self._jobs, Run(self._jobs, lease, self._stopping), self._works[lease.key.kind], self._beat_seconds)
            if reason:
                log.warning("job %s of repository %s failed: %s", lease.key.kind, lease.repo_id, reason)
        except (Fenced, Interrupted):
            log.info("job %s of repository %s goes on elsewhere or later", lease.key.kind, lease.repo_id)
        except Exception as error:
            reason = _FULL if is_full(error) else _BROKEN
            if reason == _FULL:
                log.warning("job %s of repository %s failed: %s", lease.key.kind, lease.repo_id, reason)
            else:
                log.exception("job %s of repository %s failed", lease.key.kind, lease.repo_id)
            with suppress(Fenced, Unavailable):
                self._jobs.fail(lease, reason, is_final=False)


def _beat(run: Run, over: threading.Event, seconds: float) -> None:
    while not over.wait(seconds):
        run.renew()

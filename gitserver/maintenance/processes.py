"""Whole repacks in processes of their own, so that they hold no lock of a serving one; of low priority, bounded in time."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gitserver.maintenance.order import RESULT, RepackOrder, RepackResult
from storage.errors import Unavailable

_COMMAND = (sys.executable, "-m", "gitserver.maintenance.worker")
_MOST_TOLD = 2000  # of what a process said before it failed


class RepackProcess:
    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._running: set[subprocess.Popen[str]] = set()
        self._is_closed = False
        self._lock = threading.Lock()

    def run(self, job: RepackOrder, files: Sequence[int]) -> RepackResult:
        """`files` are the descriptors that the job names. Raises Unavailable when it failed, took too long, or the hub is stopping."""
        folder = Path(job.folder)
        with (folder / "said").open("w+b") as said:
            process = self._start(files, said.fileno())
            try:
                self._hand_over(process, job)
                process.wait(self._seconds)
            except subprocess.TimeoutExpired as error:
                raise Unavailable(f"A repack took longer than {self._seconds} seconds. It is tried again later.") from error
            finally:
                self._end(process)
            said.seek(0)
            text = said.read()[-_MOST_TOLD:].decode(errors="replace")
        if process.returncode or not (folder / RESULT).exists():
            raise Unavailable(f"A repack was stopped with status {process.returncode}. {text}".rstrip())
        made = RepackResult.parse((folder / RESULT).read_text("utf-8"))
        if made.error:
            raise Unavailable(made.error)
        return made

    def close(self) -> None:
        """End what runs; it is done again some time after the next start."""
        with self._lock:
            self._is_closed = True
            for process in self._running:
                process.kill()

    def _start(self, files: Sequence[int], said: int) -> "subprocess.Popen[str]":
        with self._lock:
            if self._is_closed:
                raise Unavailable("The hub is stopping.")
            process = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=said, stderr=said, pass_fds=files, text=True)
            self._running.add(process)
        return process

    def _hand_over(self, process: "subprocess.Popen[str]", job: RepackOrder) -> None:
        """Standard input stays open: its end tells the process that this one is gone."""
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it died already: its status tells
            process.stdin.write(job.text() + "\n")
            process.stdin.flush()

    def _end(self, process: "subprocess.Popen[str]") -> None:
        process.kill()
        process.wait()
        with self._lock:
            self._running.discard(process)
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()

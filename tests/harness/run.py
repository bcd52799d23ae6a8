"""What all workers of a run share: servers, fork servers, and set-up scripts, each started once, by the process that started the run.

`opened` is for that process; `shared` is called anywhere, also in the workers, and waits until the thing is ready. Nothing is started
before somebody asks for it, except for what is to be prepared in the background.
"""

import os
import secrets
import shutil
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import cache
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

_ADDRESS = "KOHAKU_TEST_RUN"  # of the socket and its key, in the environment
_MOST = 32  # things that are being started at once, those that they need included

Start = Callable[["Run"], Any]


class Run:
    """`starts` says by name how each thing is made; what it returns goes to every caller, pickled."""

    def __init__(self, starts: dict[str, Start]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kohaku-run-"))
        self.folder.chmod(0o755)
        self.closing = ExitStack()  # what ends the things again, in the opposite order
        self.halting = ExitStack()  # what ends scripts that are still at work, before anybody waits for them
        self._starts = starts
        self._made: dict[str, Future[Any]] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_MOST)

    def get(self, name: str) -> Any:
        """Raises what starting it raised, for every caller."""
        return self._ask(name).result()

    def _ask(self, name: str) -> "Future[Any]":
        with self._lock:
            if name not in self._made:
                self._made[name] = self._pool.submit(self._starts[name], self)
            return self._made[name]

    def prepare(self, names: Sequence[str], patience: float) -> list[str]:
        """One after the other, in the background. What is not there after so many seconds."""
        work = self._pool.submit(lambda: [self.get(name) for name in names])
        wait([work], patience)
        made = {name for name in names if name in self._made and self._made[name].done()}
        return [name for name in names if name not in made]

    def close(self) -> None:
        with self._lock:
            self._starts = {}  # whoever comes now gets a KeyError
        self.halting.close()
        self._pool.shutdown(cancel_futures=True)
        self.closing.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def serve(self, listener: Listener) -> None:
        """Answer the workers, each in a thread, until the listener is closed."""
        while True:
            try:
                connection = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: "Connection[Any, Any]") -> None:
        with connection:
            try:
                connection.send((self.get(connection.recv()), ""))
            except Exception:  # noqa: BLE001  whatever it is, the worker must hear of it
                connection.send((None, traceback.format_exc()))


@contextmanager
def opened(starts: dict[str, Start]) -> Iterator[Run]:
    """A run, which the workers that this process starts find by the environment."""
    run, key = Run(starts), secrets.token_hex(16)
    listener = Listener(str(run.folder / "socket"), authkey=key.encode(), backlog=64)
    threading.Thread(target=run.serve, args=(listener,), daemon=True).start()
    os.environ[_ADDRESS] = f"{listener.address} {key}"
    try:
        yield run
    finally:
        listener.close()
        run.close()


@cache
def shared(name: str) -> Any:
    """That thing of the run, once it is ready. Raises AssertionError when it could not be started, with the reason."""
    address, key = os.environ[_ADDRESS].split()
    with Client(address, authkey=key.encode()) as connection:
        connection.send(name)
        made, reason = connection.recv()
    assert not reason, reason
    return made

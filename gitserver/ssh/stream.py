"""Both directions of a session, between the event loop, where bytes come and go, and the thread that works for the client.

The loop never waits here: what passes between the two goes through queues that take no lock of Python's.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

from storage.errors import Invalid

T = TypeVar("T")

_PIECE = 256 * 1024  # what one hop to the loop takes along
_MOST_HELD = 1 << 20  # what waits for the thread before the client is held up
_PIECE_COST = 128  # of keeping a piece, however small
_LONGEST_WAIT_SECONDS = 0.2  # of what was written, for more


class Wire(Protocol):
    """The client's channel, as the loop sees it."""

    def send(self, data: bytes) -> None:
        """Raises OSError when the channel is closed."""

    def send_error(self, data: bytes) -> None: ...

    def hold(self) -> None:
        """Take no more from the client until `go_on`."""

    def go_on(self) -> None: ...


class Stream:
    """The thread reads and writes; every wait ends after `idle_seconds`, and the whole session after `session_seconds`.

    Raises Invalid where the client is silent for too long, ConnectionResetError where it is gone and something is written.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, wire: Wire, idle_seconds: float, session_seconds: float) -> None:
        self._loop = loop
        self._wire = wire
        self._idle = idle_seconds
        self._until = time.monotonic() + session_seconds
        self._incoming: SimpleQueue[bytes] = SimpleQueue()  # an empty piece is the end
        self._sent: SimpleQueue[bool] = SimpleQueue()
        # The loop's own.
        self._held = 0
        self._is_holding = False
        self._is_blocked = False
        self._is_gone = False
        self._waits = False
        # The thread's own.
        self._rest = memoryview(b"")
        self._is_over = False
        self._used = 0
        self._pending: list[bytes] = []
        self._size = 0
        self._flushed = time.monotonic()

    # What the loop calls.

    def feed(self, data: bytes) -> None:
        self._incoming.put(data)
        self._held += len(data) + _PIECE_COST
        if self._held > _MOST_HELD and not self._is_holding:
            self._is_holding = True
            self._wire.hold()

    def end(self) -> None:
        """The client sends no more."""
        self._incoming.put(b"")

    def block(self) -> None:
        """The client reads too slowly: what is written waits until `unblock`."""
        self._is_blocked = True

    def unblock(self) -> None:
        self._is_blocked = False
        self._answer()

    def lose(self) -> None:
        """The client is gone."""
        self._is_gone = True
        self.end()
        self._answer()

    # What the thread calls.

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer only where the client's end comes before."""
        first = self.read_some(size)
        if len(first) == size or not first:
            return first
        pieces, missing = [first], size - len(first)
        while missing and (piece := self.read_some(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def read_some(self, most: int = _PIECE) -> bytes:
        """What there is, at least a byte; nothing at the client's end."""
        if not self._rest and not self._is_over:
            self._next()
        piece = bytes(self._rest[:most])
        self._rest = self._rest[most:]
        return piece

    def has_more(self) -> bool:
        """Wait for the client's next byte; False at its end."""
        if not self._rest and not self._is_over:
            self._next()
        return bool(self._rest)

    def is_quiet(self) -> bool:
        """Whether reading would have to wait."""
        return not self._rest and not self._is_over and self._incoming.empty()

    def write(self, data: bytes) -> None:
        """Goes out soon, and before anything is read."""
        self._pending.append(data)
        self._size += len(data)
        if self._size >= _PIECE or time.monotonic() - self._flushed > _LONGEST_WAIT_SECONDS:
            self.flush()

    def write_error(self, text: str) -> None:
        """A line that the client shows to the user as it is. A client that is gone does not read it."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wire.send_error, text.encode("utf-8", "replace")[:4000] + b"\n")

    def flush(self) -> None:
        pending, self._pending, self._size = self._pending, [], 0
        self._flushed = time.monotonic()
        if pending:
            self._call(lambda: self._send(b"".join(pending)))
            if not self._get(self._sent):
                raise ConnectionResetError("the client is gone")

    def _next(self) -> None:
        self.flush()
        self._give_back()
        piece = self._get(self._incoming)
        self._used += len(piece) + _PIECE_COST
        self._is_over = not piece
        self._rest = memoryview(piece)
        if self._used > _PIECE:
            self._give_back()

    def _give_back(self) -> None:
        used, self._used = self._used, 0
        if used:
            self._call(lambda: self._freed(used))

    def _get(self, queue: "SimpleQueue[T]") -> T:
        try:
            return queue.get(timeout=max(0.0, min(self._idle, self._until - time.monotonic())))
        except Empty:
            raise Invalid(f"The client was silent for more than {self._idle:g} seconds, or the session took too long. Try again.") from None

    def _call(self, work: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(work)
        except RuntimeError as error:  # the loop is closed
            raise ConnectionResetError("the hub has stopped") from error

    # What the thread asks of the loop.

    def _send(self, data: bytes) -> None:
        try:
            self._wire.send(data)
        except OSError:
            self._is_gone = True
        self._waits = True
        if self._is_gone or not self._is_blocked:
            self._answer()

    def _answer(self) -> None:
        if self._waits:
            self._waits = False
            self._sent.put(not self._is_gone)

    def _freed(self, size: int) -> None:
        self._held -= size
        if self._is_holding and self._held < _MOST_HELD // 2:
            self._is_holding = False
            self._wire.go_on()

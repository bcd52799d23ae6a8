"""How bytes of an answer travel: on side bands, or bare for clients without them. Packets are gathered into large pieces."""

import time
from collections.abc import Iterable, Iterator

from gitserver.protocol.pktline import pkt

PIECE = 256 * 1024
LARGE_BAND = 65515
SMALL_BAND = 995
_KEEP_ALIVE_SECONDS = 5.0
_PROGRESS_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 0.2


class Bands:
    """`size` is the most data of a packet, 0 for no side band at all."""

    def __init__(self, size: int, *, progress: bool) -> None:
        self._size = size
        self._progress = progress and size > 0
        self._last = time.monotonic()

    def pack(self, pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
        """Pack data on band 1."""
        size = self._size or PIECE
        head = self._head(size)
        ready: list[bytes | memoryview] = []
        waiting = bytearray()  # less than a packet
        total = 0
        for piece in pieces:
            view, start = memoryview(piece), 0
            if waiting and len(waiting) + len(view) >= size:
                start = size - len(waiting)
                ready += (head, bytes(waiting), view[:start])
                waiting.clear()
                total += size
            while len(view) - start >= size:
                ready += (head, view[start : start + size])
                start += size
                total += size
                if total >= PIECE:
                    yield b"".join(ready)
                    ready, total = [], 0
            waiting += view[start:]
        if waiting:
            ready += (self._head(len(waiting)), bytes(waiting))
        if ready:
            yield b"".join(ready)

    def say(self, text: str) -> Iterator[bytes]:
        """A line of progress on band 2, if the client wants it."""
        if self._progress:
            yield pkt(b"\2" + text.encode()[: self._size])

    def alive(self, text: str) -> Iterator[bytes]:
        """During long work: progress at most twice a second, or an empty packet so that no proxy gives up."""
        now = time.monotonic()
        if self._size and now - self._last > (_PROGRESS_SECONDS if self._progress else _KEEP_ALIVE_SECONDS):
            self._last = now
            yield from self.say(text + "\r") if self._progress else (pkt(b"\1"),)

    def fatal(self, text: str) -> bytes:
        """The end of an answer that failed: band 3, or an ERR line where there are no bands (yet)."""
        return pkt(b"\3" + text.encode()[: self._size - 1] + b"\n") if self._size else pkt(b"ERR " + text.encode()[:900] + b"\n")

    def _head(self, size: int) -> bytes:
        """What stands before `size` bytes of pack data (gitprotocol-common, pkt-line)."""
        return b"%04x\1" % (size + 5) if self._size else b""


def gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Fewer, larger pieces, each of which costs the sender a thread hop; nothing waits long once a next piece exists."""
    waiting: list[bytes] = []
    size = 0
    since = time.monotonic()
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= PIECE or time.monotonic() - since > _LONGEST_WAIT_SECONDS:
            yield b"".join(waiting)
            waiting, size, since = [], 0, time.monotonic()
    if waiting:
        yield b"".join(waiting)

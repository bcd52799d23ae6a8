"""A proxy of HTTP on loopback between the hub and LakeFS: it counts calls, stops at a chosen one, and misbehaves when told to.

Requests go on as they came, paths untouched; connections are kept alive on both sides. Bodies are held in memory whole.
"""

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO
from urllib.parse import urlsplit

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST
_LONGEST_LINE = 65536
_CHUNKED = b"transfer-encoding: chunked"


class Fault(Enum):
    REFUSED = "drops the connection"
    SLOW = "holds every answer back for a moment"
    HANGING = "never answers"
    CUT = "breaks off in the middle of an answer"
    BROKEN = "answers 500"
    BUSY = "answers 503"


class Moment(Enum):
    BEFORE = "LakeFS has not heard of the request"
    AFTER = "LakeFS has answered, and nobody knows"


@dataclass(frozen=True)
class Call:
    """`path` is as sent, with its query, after /api/v1. `status` is 0 for one that LakeFS never saw or answered."""

    method: str
    path: str
    status: int

    def __str__(self) -> str:
        return f"{self.method} {self.path} -> {self.status}"


@dataclass
class Trap:
    """Springs once, at the `number`-th request (from 1) whose `METHOD path` the pattern finds: `act` runs in the thread of the request.

    With `is_dropped` the request ends there: before, LakeFS does not get it; after, its answer is not passed on.
    """

    pattern: str
    act: Callable[[], object]
    number: int = 1
    moment: Moment = Moment.BEFORE
    is_dropped: bool = False
    seen: int = 0
    sprung: threading.Event = field(default_factory=threading.Event)


class LakeProxy:
    """Before the LakeFS at `target`; `url` stays the same for its life."""

    def __init__(self, target: str, slow_seconds: float = 0.2) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._slow_seconds = slow_seconds
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._traps: list[Trap] = []
        self._fault: tuple[Fault, re.Pattern[str]] | None = None
        self._healed = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._healed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
        self._listener.close()
        self._drop()

    @contextmanager
    def calls(self) -> Iterator[list[Call]]:
        """What is asked meanwhile, in the order of the answers."""
        found: list[Call] = []
        with self._lock:
            start = len(self._calls)
        yield found
        with self._lock:
            found += self._calls[start:]

    def arm(self, trap: Trap) -> Trap:
        with self._lock:
            self._traps.append(trap)
        return trap

    def disarm(self) -> None:
        """All traps are gone."""
        with self._lock:
            self._traps.clear()

    @contextmanager
    def fault(self, fault: Fault, pattern: str = "") -> Iterator[None]:
        """Requests whose `METHOD path` the pattern finds are treated so, on connections that are open already, too."""
        self._healed.clear()
        self._fault = (fault, re.compile(pattern))
        try:
            yield
        finally:
            self._fault = None
            self._healed.set()

    def _drop(self) -> None:
        with self._lock:
            dropped, self._open = self._open, set()
        for connection in dropped:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    self._open.add(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server: socket.socket | None = None
        try:
            with closing(client), client.makefile("rb") as asked, suppress(OSError):
                while (head := _head(asked)) is not None:
                    body = _body(asked, head)
                    server = server or socket.create_connection(self._target, timeout=600)
                    if not self._handle(client, server, head, body):
                        return
        finally:
            with self._lock:
                self._open.discard(client)
            if server is not None:
                server.close()

    def _handle(self, client: socket.socket, server: socket.socket, head: bytes, body: bytes) -> bool:
        """One request; whether the connection goes on."""
        method, target = head.split(b" ", 2)[:2]
        call = Call(method.decode(), target.decode("latin-1").removeprefix("/api/v1"), 0)
        trap = self._spring(call)
        if trap is not None and trap.moment is Moment.BEFORE:
            trap.act()
            trap.sprung.set()
            if trap.is_dropped:
                self._note(call)
                return False
        if (fault := self._fault_of(call)) in (Fault.REFUSED, Fault.HANGING, Fault.BROKEN, Fault.BUSY):
            self._note(call)
            return self._misbehave(client, fault)
        server.sendall(head + body)
        status, answer = _answer(server, call.method)
        self._note(Call(call.method, call.path, status))
        if trap is not None and trap.moment is Moment.AFTER:
            trap.act()
            trap.sprung.set()
            if trap.is_dropped:
                return False
        if fault is Fault.SLOW:
            time.sleep(self._slow_seconds)
        if fault is Fault.CUT:
            client.sendall(answer[: len(answer) // 2])
            return _reset(client)
        client.sendall(answer)
        return True

    def _misbehave(self, client: socket.socket, fault: Fault | None) -> bool:
        if fault is Fault.REFUSED:
            return _reset(client)
        if fault is Fault.HANGING:
            self._healed.wait(600)
            return False
        text = b"500 Internal Server Error" if fault is Fault.BROKEN else b"503 Service Unavailable"
        body = b'{"message":"out of order"}'
        client.sendall(b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (text, len(body), body))
        return True

    def _spring(self, call: Call) -> Trap | None:
        with self._lock:
            for trap in self._traps:
                if re.search(trap.pattern, f"{call.method} {call.path}"):
                    trap.seen += 1
                    if trap.seen == trap.number:
                        self._traps.remove(trap)
                        return trap
        return None

    def _fault_of(self, call: Call) -> Fault | None:
        current = self._fault
        return current[0] if current is not None and current[1].search(f"{call.method} {call.path}") else None

    def _note(self, call: Call) -> None:
        with self._lock:
            self._calls.append(call)


def _answer(server: socket.socket, method: str) -> tuple[int, bytes]:
    """Status, and all bytes. Raises OSError when it breaks off."""
    with server.makefile("rb") as told:
        head = _head(told)
        if head is None:
            raise ConnectionError("LakeFS closed the connection")
        status = int(head.split(b" ", 2)[1])
        has_none = method == "HEAD" or status in (204, 304)
        return status, head + (b"" if has_none else _body(told, head))


def _head(stream: BinaryIO) -> bytes | None:
    """Through the empty line; None at the end of the stream."""
    lines = []
    while (line := stream.readline(_LONGEST_LINE)) not in (b"", b"\r\n"):
        lines.append(line)
    return b"".join([*lines, line]) if line else None


def _body(stream: BinaryIO, head: bytes) -> bytes:
    """As it is on the wire."""
    small = head.lower()
    if _CHUNKED in small:
        return b"".join(_chunks(stream))
    found = re.search(rb"\r\ncontent-length: *(\d+)", small)
    return _exactly(stream, int(found[1])) if found else b""


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    size = 1
    while size:
        line = stream.readline(_LONGEST_LINE)
        size = int(line.partition(b";")[0], 16)
        yield line
        yield _exactly(stream, size + 2)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise ConnectionError("the stream broke off")
    return data


def _reset(connection: socket.socket) -> bool:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return False

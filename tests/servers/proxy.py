"""A TCP proxy on loopback that can misbehave, to be put before a server that the hub uses."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with RST


class Fault(Enum):
    NONE = "passes everything"
    REFUSED = "takes no connections, and drops those that there are"
    SILENT = "takes connections and bytes, and never answers"
    CUT = "breaks off in the middle of an answer"
    SLOW = "holds every answer back for a moment"


class FaultProxy:
    """Before port `target`; `port` stays the same for its life."""

    def __init__(self, target: int, slow_seconds: float = 0.05) -> None:
        self._target = target
        self._slow_seconds = slow_seconds
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._fault = Fault.NONE
        self._listener = self._listen(0)
        self.port = int(self._listener.getsockname()[1])

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[None]:
        """Misbehave so, also on connections that are open already."""
        self._fault = fault
        if fault is Fault.REFUSED:
            self._refuse()
        try:
            yield
        finally:
            if fault is Fault.REFUSED:
                self._listener = self._listen(self.port)
            self._fault = Fault.NONE
            if fault is Fault.SILENT:
                self._drop()  # what was swallowed never comes

    def close(self) -> None:
        self._stopped.set()
        self._refuse()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=128)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _refuse(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
        self._listener.close()
        self._drop()

    def _drop(self) -> None:
        with self._lock:
            dropped, self._open = self._open, set()
        for connection in dropped:
            _reset(connection)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                with self._lock:
                    self._open |= {client, server}
                for source, target, is_answer in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._pass, args=(source, target, is_answer), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self._fault is Fault.SILENT:
                    continue
                if is_answer and self._fault is Fault.CUT:
                    target.sendall(data[: len(data) // 2])
                    break
                if is_answer and self._fault is Fault.SLOW:
                    self._stopped.wait(self._slow_seconds)
                target.sendall(data)
        for connection in (source, target):
            with self._lock:
                self._open.discard(connection)
            _reset(connection)


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()

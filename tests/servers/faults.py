"""A proxy on loopback that does to connections what networks and servers do. One request a connection is judged."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

_PIECE = 65536
_BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_BROKEN = b"HTTP/1.1 500 Oops\r\nContent-Type: application/xml\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FaultProxy:
    """`mode`: pass, refuse (a reset at once), hang (no answer), busy (503), broken (500), or cut (reset after `cut_bytes` of an answer)."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self.mode = "pass"
        self.cut_bytes = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode: str, cut_bytes: int = 0) -> None:
        """From now on; connections that are open are closed."""
        self.mode, self.cut_bytes = mode, cut_bytes
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.set("refuse")

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._open.add(client)
        with closing(client), suppress(OSError):
            if self.mode == "refuse":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif self.mode == "hang":
                while client.recv(_PIECE):
                    pass
            elif self.mode in ("busy", "broken"):
                client.recv(_PIECE)
                client.sendall(_BUSY if self.mode == "busy" else _BROKEN)
                client.shutdown(socket.SHUT_WR)
                while client.recv(_PIECE):
                    pass
            else:
                self._pass(client)
        self._open.discard(client)

    def _pass(self, client: socket.socket) -> None:
        with closing(socket.create_connection(self._target, timeout=30)) as server:
            self._open.add(server)
            threading.Thread(target=_copy, args=(client, server, None), daemon=True).start()
            _copy(server, client, self.cut_bytes if self.mode == "cut" else None)
            self._open.discard(server)


def _copy(source: socket.socket, target: socket.socket, limit: int | None) -> None:
    """Until the source ends, or `limit` bytes went through."""
    left = limit
    with suppress(OSError):
        while data := source.recv(_PIECE if left is None else min(_PIECE, left)):
            target.sendall(data)
            if left is not None:
                left -= len(data)
                if not left:
                    break
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def fault_proxy(target: str) -> Iterator[FaultProxy]:
    proxy = FaultProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()

"""Connections of the HTTP port: how many one address may have, and how long one may take to say what it wants.

The limits on bodies are in `httpapi/bodies.py`, since a view may be busy while a body waits; idle connections end by aiohttp's own timer.
"""

import asyncio
from collections import Counter
from ipaddress import ip_address
from typing import Any

from aiohttp import web

_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Addresses:
    """How many connections each address has in this worker. Loopback has no limit, and nobody has one behind a trusted proxy, which
    all connections come from.
    """

    def __init__(self, most: int, *, trust_proxy: bool) -> None:
        self._most = most
        self._trust_proxy = trust_proxy
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """False where the address has as many as it may; otherwise the caller owes a `leave`."""
        if self._open[address] >= self._most and not self._is_free(address):
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    def _is_free(self, address: str) -> bool:
        try:
            return self._trust_proxy or ip_address(address).is_loopback
        except ValueError:
            return True  # a Unix socket has no address


class Connection(web.RequestHandler):
    """aiohttp's connection, which has `seconds` for the headers of a request from their first byte on."""

    __slots__ = ("_address", "_addresses", "_late", "_seconds")

    def __init__(self, server: web.Server, addresses: Addresses, seconds: float, **options: Any) -> None:
        super().__init__(server, **options)
        self._addresses = addresses
        self._seconds = seconds
        self._address: str | None = None
        self._late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if isinstance(peer, tuple) else ""
        if not self._addresses.enter(address):
            assert isinstance(transport, asyncio.Transport)
            transport.abort()
            return
        self._address = address
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        if self._address is not None:
            self._addresses.leave(self._address)
            self._address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._stop_timer()
        elif self._late is None and self._waiter is not None and not self._waiter.done():
            self._late = self._loop.call_later(self._seconds, self._refuse)

    def _stop_timer(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse(self) -> None:
        if self.transport is not None:
            self.transport.write(_TOO_LATE)
        self.force_close()

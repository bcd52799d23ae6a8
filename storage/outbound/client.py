"""HTTP towards hosts that strangers named: each is resolved once and judged, redirects are counted and judged, everything has a limit.

Proxies and other hints of the environment are not followed.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from storage.errors import Forbidden, Invalid, NotFound, TooLarge, Unavailable
from storage.limits import MIB, Limits
from storage.outbound.url import Url, UrlCredentials

_REDIRECTS = (301, 302, 303, 307, 308)
_BROKEN = (OSError, http.client.HTTPException, ssl.SSLError)


class ReadableBody(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    url: Url
    headers: Mapping[str, str]
    body: bytes | ReadableBody | None = None  # what is read needs a Content-Length
    login: UrlCredentials | None = None  # for the origin of `url` only


class OutboundReply:
    """An answer on its way in. Every read raises Unavailable when the other side breaks off, TooLarge after `most` bytes."""

    def __init__(self, url: Url, response: http.client.HTTPResponse, most: int, check: Callable[[], None]) -> None:
        self.url = url
        self.status = response.status
        self.content_type = (response.getheader("Content-Type") or "").partition(";")[0].strip().lower()
        self._response = response
        self._left = most
        self._most = most
        self._check = check

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end; however slowly they come, `check` is called."""
        pieces: list[bytes] = []
        while size and (piece := self._piece(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def _piece(self, size: int) -> bytes:
        self._check()
        try:
            data = self._response.read1(size)
        except _BROKEN as error:
            raise Unavailable(f"{self.url.shown} broke off ({_why(error)}).") from error
        if not data and self._response.length:
            raise Unavailable(f"{self.url.shown} broke off.")
        self._left -= len(data)
        if self._left < 0:
            raise TooLarge(f"{self.url.shown} sends more than {self._most} bytes.")
        return data

    def whole(self) -> bytes:
        return b"".join(iter(lambda: self.read(MIB), b""))


class Outbound:
    """One for the process. `find` gives the addresses of a host and port that may be connected to (`address.resolve`); `check` of a call
    is asked between pieces and may raise, to stop.
    """

    def __init__(self, limits: Limits, find: Callable[[str, int], list[str]]) -> None:
        self._limits = limits
        self._find = find

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made when it is needed: reading all certificates takes a part of the start."""
        return ssl.create_default_context()

    @contextmanager
    def send(self, request: Request, most: int, check: Callable[[], None]) -> Iterator[OutboundReply]:
        """The answer, whatever its status, after redirects (only those of GET are followed); at most `most` bytes of it.

        Raises Forbidden for a host that is not public, Invalid for a redirect that is not followed, Unavailable.
        """
        for _ in range(self._limits.outbound_redirects + 1):
            with closing(self._connect(request.url, check)) as connection, closing(self._ask(connection, request)) as response:
                location = response.getheader("Location") if response.status in _REDIRECTS else None
                if location is None:
                    yield OutboundReply(request.url, response, most, check)
                    return
            request = _redirected(request, location)
        raise Invalid(f"{request.url.shown} is one redirect too many; {self._limits.outbound_redirects} are followed.")

    def _connect(self, url: Url, check: Callable[[], None]) -> http.client.HTTPConnection:
        """To one of the addresses that were judged, under the host's name."""
        error: Exception | None = None
        for address in self._find(url.host, url.port):
            check()
            connection = http.client.HTTPConnection(url.host, url.port, timeout=self._limits.outbound_read_seconds)
            try:
                plain = socket.create_connection((address, url.port), self._limits.outbound_connect_seconds)
                try:
                    plain.settimeout(self._limits.outbound_read_seconds)
                    connection.sock = self._tls.wrap_socket(plain, server_hostname=url.host) if url.scheme == "https" else plain
                except BaseException:
                    plain.close()
                    raise
                return connection
            except OSError as failed:
                error = failed
        raise Unavailable(f"{url.shown} cannot be reached ({_why(error)}).") from error

    def _ask(self, connection: http.client.HTTPConnection, request: Request) -> http.client.HTTPResponse:
        headers = {"User-Agent": "git/kohakuhub", "Accept-Encoding": "identity", "Host": _host(request.url), **request.headers}
        if request.login is not None and "Authorization" not in headers:
            headers["Authorization"] = request.login.header
        try:
            connection.request(request.method, request.url.target, request.body, headers)
            return connection.getresponse()
        except (*_BROKEN, ValueError) as error:
            raise Unavailable(f"{request.url.shown} does not answer ({_why(error)}).") from error


def check_status(reply: OutboundReply, what: str) -> None:
    """Raises NotFound, Forbidden, Unavailable or Invalid for an answer that is none."""
    if reply.status == 200:
        return
    text = f"{what}: {reply.url.shown} answers {reply.status}."
    if reply.status in (401, 403):
        raise Forbidden(f"{text} Give a user name and a password or token that may do this.")
    if reply.status == 404:
        raise NotFound(f"{text} Check the address; a private repository needs a user name and a password or token.")
    if reply.status == 429 or reply.status >= 500:
        raise Unavailable(text)
    raise Invalid(text)


def deadline(seconds: int, check: Callable[[], None]) -> Callable[[], None]:
    """`check`, which also raises Unavailable once `seconds` are over."""
    until = time.monotonic() + seconds

    def checked() -> None:
        check()
        if time.monotonic() > until:
            raise Unavailable(f"It took longer than {seconds} seconds. The next try goes on from there.")

    return checked


def _redirected(request: Request, location: str) -> Request:
    if request.method != "GET":
        raise Invalid(f"{request.url.shown} redirects a {request.method}; give the address that it leads to.")
    url = request.url.joined(location)
    if request.url.scheme == "https" and url.scheme != "https":
        raise Forbidden(f"{request.url.shown} redirects to an address without TLS.")
    if url.origin == request.url.origin:
        return Request(request.method, url, request.headers, request.body, request.login)
    headers = {name: value for name, value in request.headers.items() if name.lower() not in ("authorization", "cookie")}
    return Request(request.method, url, headers)


def _host(url: Url) -> str:
    return str(url).split("/", 3)[2]


def _why(error: Exception | None) -> str:
    return type(error).__name__ if error is None or not isinstance(error, OSError) or not error.strerror else error.strerror

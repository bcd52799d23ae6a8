"""Plain HTTP/1.1 to one address, with paths and bodies exactly as given, as the doctor asks and no client library lets through."""

import http.client
import secrets
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

_BODY = 65536
PROBLEMS = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class RawReply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def is_html(self) -> bool:
        return self.headers.get_content_type() == "text/html"


class RawHttp:
    """Raises ValueError for an address that is none. What the methods raise is in PROBLEMS."""

    def __init__(self, url: str, seconds: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError(f"{url} is no address of a hub: http:// or https:// with a host, and no path")
        self.url = url.rstrip("/")
        self.host = parts.hostname
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self._is_secure = parts.scheme == "https"
        self._seconds = seconds

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> RawReply:
        """One request; of the answer at most 64 KiB."""
        connection = self._connect(self._seconds)
        try:
            connection.request(method, path, body, _headers(headers))
            answer = connection.getresponse()
            return RawReply(answer.status, answer.headers, answer.read(_BODY))
        finally:
            connection.close()

    def begin_upload(self, path: str, size: int, seconds: float) -> int:
        """Announce a body of `size` bytes and send one of them: the status that comes, or 0 when none does until then."""
        connection = self._connect(seconds)
        try:
            connection.putrequest("POST", path, skip_accept_encoding=True)
            for name, value in _headers({"Content-Length": str(size), "Content-Type": "application/octet-stream"}).items():
                connection.putheader(name, value)
            connection.endheaders(b"x")
            return connection.getresponse().status
        except TimeoutError:
            return 0
        finally:
            connection.close()

    def first_bytes(self, path: str, seconds: float) -> bytes:
        """The first piece of an answer's body; empty when none comes until then."""
        connection = self._connect(seconds)
        try:
            connection.request("GET", path, headers=_headers(None))
            return connection.getresponse().read1(100)
        except TimeoutError:
            return b""
        finally:
            connection.close()

    def _connect(self, seconds: float) -> http.client.HTTPConnection:
        if self._is_secure:
            return http.client.HTTPSConnection(self.host, self.port, timeout=seconds, context=ssl.create_default_context())
        return http.client.HTTPConnection(self.host, self.port, timeout=seconds)


def _headers(more: dict[str, str] | None) -> dict[str, str]:
    return {"Accept": "application/json", "X-Request-Id": f"doctor-{secrets.token_hex(8)}", "Connection": "close"} | (more or {})

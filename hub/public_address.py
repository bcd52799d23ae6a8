"""Who asks, and the public address of the hub: the setting, else what the client (or a trusted proxy) says it asked for."""

import re
from ipaddress import ip_address

from aiohttp import web

from httpapi.endpoint import ClientAddress

_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?")


class Origin:
    def __init__(self, base_url: str, *, trust_proxy: bool) -> None:
        self._base_url = base_url.rstrip("/")
        self.trusts_proxy = trust_proxy

    def of(self, request: web.Request) -> str:
        """Scheme, host and port, without a slash at the end."""
        if self._base_url:
            return self._base_url
        address = self.client_address(request)
        return f"{address.scheme}://{address.host}"

    def client_address(self, request: web.Request) -> ClientAddress:
        address, scheme, host = request.remote or "", request.scheme, request.host
        if self.trusts_proxy:
            address = _last_hop(request.headers.getall("X-Forwarded-For", []), address)
            scheme = request.headers.get("X-Forwarded-Proto", scheme)
            host = request.headers.get("X-Forwarded-Host", host)
        scheme = scheme if scheme in ("http", "https") else "http"
        return ClientAddress(address, scheme, host if _HOST.fullmatch(host) else "localhost")


def _last_hop(forwarded: list[str], otherwise: str) -> str:
    """What the proxy itself added, which is the last one; what stands before it anybody may have written."""
    last = ",".join(forwarded).rpartition(",")[2].strip()
    try:
        return str(ip_address(last.strip("[]")))
    except ValueError:
        return otherwise

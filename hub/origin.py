"""The public address of the hub, for absolute URLs: the setting, else what the client (or a trusted proxy) says it asked for."""

import re

from aiohttp import web

_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9a-fA-F:.]+\](:[0-9]{1,5})?")


class Origin:
    def __init__(self, base_url: str, *, trust_proxy: bool) -> None:
        self._base_url = base_url.rstrip("/")
        self._trust_proxy = trust_proxy

    def of(self, request: web.Request) -> str:
        """Scheme, host and port, without a slash at the end."""
        if self._base_url:
            return self._base_url
        scheme, host = request.scheme, request.host
        if self._trust_proxy:
            scheme = request.headers.get("X-Forwarded-Proto", scheme)
            host = request.headers.get("X-Forwarded-Host", host)
        scheme = scheme if scheme in ("http", "https") else "http"
        return f"{scheme}://{host if _HOST.fullmatch(host) else 'localhost'}"

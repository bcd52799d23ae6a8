"""What pages of other origins may do here (Fetch standard, section 3.3): all that a token or nobody may, never what a cookie may."""

import re
from urllib.parse import urlsplit

from aiohttp import web

from httpapi.endpoint import OWN_ORIGINS

_EXPOSED = (
    "X-Repo-Commit, X-Request-Id, X-Error-Code, X-Error-Message, X-Total-Count, ETag, Link, Accept-Ranges, Content-Range, "
    "X-Linked-Size, X-Linked-ETag, X-Xet-Hash, Retry-After"
)
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_HEADERS = "authorization, content-type, range"
_HEADER_NAMES = re.compile(r"[A-Za-z0-9_-]+(?: ?, ?[A-Za-z0-9_-]+){0,99}")
_KEPT_SECONDS = "7200"  # no browser keeps an answer to a preflight for longer


def own_origins(base_url: str, others: frozenset[str]) -> frozenset[str]:
    """The origins whose pages are the hub's own: that of its public address, and those that the operator names."""
    parts = urlsplit(base_url)
    return others | {f"{parts.scheme}://{parts.netloc}".lower()} if parts.netloc else others


def answer_options(request: web.Request) -> web.Response | None:
    """204 for a preflight of any path, and for an OPTIONS of a path that is there; None for others."""
    asked = request.headers.get("Access-Control-Request-Headers", "")
    if "Access-Control-Request-Method" in request.headers:
        allowed = asked if _HEADER_NAMES.fullmatch(asked) else _HEADERS
        names = ("Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age")
        return web.Response(status=204, headers=dict(zip(names, (_METHODS, allowed, _KEPT_SECONDS), strict=True)))
    wrong = request.match_info.http_exception
    if isinstance(wrong, web.HTTPMethodNotAllowed):
        return web.Response(status=204, headers={"Allow": ", ".join(sorted({*wrong.allowed_methods, "OPTIONS"}))})
    return None


def add_cors(request: web.Request, response: web.StreamResponse) -> None:
    """The headers by which a browser shows the answer to the page that asked."""
    origin = request.headers.get("Origin", "")
    response.headers.add("Vary", "Origin")
    if not origin:
        return
    if origin in request.app[OWN_ORIGINS]:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
    else:
        response.headers["Access-Control-Allow-Origin"] = "*"
    response.headers["Access-Control-Expose-Headers"] = _EXPOSED

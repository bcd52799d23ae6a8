"""Whether a page of the hub itself sent a request: asked where a cookie is the credential, since browsers send cookies by themselves."""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit


def is_own_page(headers: Mapping[str, str], own: str, known: Collection[str]) -> bool:
    """By Origin, else Sec-Fetch-Site, else Referer: every browser sends one of them with an unsafe method; none means no browser.

    `own` is the origin that was asked (scheme://host), `known` are others that are the hub too. Schemes are not compared with
    `own`: a proxy in front may have another one than the connection.
    """
    origin, site = headers.get("Origin", ""), headers.get("Sec-Fetch-Site", "")
    if origin and origin in known:
        return True
    if site:
        return site in ("same-origin", "none")
    sent_by = origin or headers.get("Referer", "")
    return not sent_by or _host(sent_by) == _host(own) or _origin(sent_by) in known


def _host(address: str) -> str:
    try:
        return urlsplit(address).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""


def _origin(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}".lower()

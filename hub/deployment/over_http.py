"""What can be seen through the hub's address, as clients see it."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from hub.deployment.finding import Finding
from hub.deployment.raw_http import PROBLEMS, RawHttp, RawReply

HUB_PORT, PUBLIC_PORT = 48888, 28080
_SKEW_SECONDS = 60.0
_WAIT_SECONDS = 5.0
_REFUSAL_SECONDS = 2.0  # it comes at once, by the announced size
_SIZES = {"1 MiB": 2 << 20, "100 MiB": 200 << 20, "1 GiB": 2 << 30, "10 GiB": 11 << 30}
# One path of every dialect. All of them are the hub's to answer, with an error in the client's own form where nothing is there.
_PATHS = (
    "/api/version",
    "/api/models?limit=1",
    "/org/doctor-probe",
    "/doctor-probe/none.git/info/refs?service=git-upload-pack",
    "/datasets/doctor-probe/none/info/refs?service=git-upload-pack",
    "/doctor-probe/none.git/info/lfs/locks",
    "/doctor-probe/none/resolve/main/x",
    "/datasets/doctor-probe/none/resolve/main/x",
    "/cas/doctor-probe/v1/reconstructions/none",
)
_INNER = {28000: "LakeFS", 29000: "the S3 console", 29001: "S3", 25432: "PostgreSQL", HUB_PORT: "the hub itself"}


def examine(url: str, client_endpoint: str = "") -> Iterator[Finding]:
    """`client_endpoint` is what clients on this machine are told (HF_ENDPOINT)."""
    door = RawHttp(url, 20.0)
    yield _port(door, client_endpoint)
    reach = _reach(door)
    yield reach
    if reach.trouble:
        return
    for check in (_ready, _is_hub, _json):
        found = _guarded(check, door)
        yield found
        if found.trouble and check is _is_hub:
            return
    try:
        yield from _arrival(door)
    except PROBLEMS as error:
        yield Finding("requests arrive as they are sent", f"the connection broke ({error})", "look at: docker compose logs hub-ui")
    for check in (_uploads_stream, _body_limit, _answers_stream):
        yield _guarded(check, door)
    if not _is_loopback(door.host):
        yield _inner_ports(door.host)


def _guarded(check: Callable[[RawHttp], Finding], door: RawHttp) -> Finding:
    try:
        return check(door)
    except PROBLEMS as error:
        what = check.__name__.strip("_").replace("_", " ")
        return Finding(
            what, f"the connection broke ({error or type(error).__name__})", "look at the logs of the proxy: docker compose logs hub-ui"
        )


def _port(door: RawHttp, client_endpoint: str) -> Finding:
    what = f"clients use the public port, not {HUB_PORT}"
    for url in (door.url, client_endpoint):
        if urlsplit(url).port == HUB_PORT:
            fix = f"use http://{door.host}:{PUBLIC_PORT}, or your own domain: export HF_ENDPOINT=http://{door.host}:{PUBLIC_PORT}"
            return Finding(what, f"{url} is the hub behind its proxy, which nobody but the proxy should reach", fix)
    return Finding(what)


def _reach(door: RawHttp) -> Finding:
    what = f"{door.url} answers"
    try:
        door.ask("GET", "/healthz")
    except ConnectionRefusedError:
        fix = f"start it with ./deploy.sh (port {PUBLIC_PORT}) or kohakuhub serve, and use the port that it names"
        return Finding(what, f"nothing listens on port {door.port} there", fix)
    except socket.gaierror:
        return Finding(what, f"there is no host {door.host}", "correct the address, or make a DNS record for it")
    except TimeoutError:
        return Finding(what, "no answer came in time", "see whether a firewall is between, and look at: docker compose ps")
    except PROBLEMS as error:
        return Finding(what, f"{error}", "for certificates, correct the proxy that does TLS; else look at its logs")
    return Finding(what)


def _ready(door: RawHttp) -> Finding:
    reply = door.ask("GET", "/readyz")
    what = "the hub is ready (/readyz)"
    if reply.status == 200:
        return Finding(what)
    if reply.status in (502, 504):
        return Finding(
            what, f"the proxy answers {reply.status}: it does not reach the hub", "look at: docker compose ps, docker compose logs hub-api"
        )
    shown = _json_of(reply)
    down = str(shown.get("error") or f"it answers {reply.status}")
    return Finding(what, down, "bring up what it names; look at: docker compose ps, docker compose logs")


def _is_hub(door: RawHttp) -> Finding:
    reply = door.ask("GET", "/api/version")
    what = "a KohakuHub answers there"
    if _json_of(reply).get("api") == "kohakuhub":
        return Finding(what)
    if reply.is_html:
        trouble = "/api/version is answered with HTML: the proxy does not pass it to the hub"
        return Finding(what, trouble, "proxy every path that is no static file, as docker/nginx/default.conf does")
    return Finding(
        what,
        f"/api/version answers {reply.status} and is not the hub's",
        "see that the address leads to the hub and not to another service",
    )


def _json(door: RawHttp) -> Finding:
    wrong = []
    for path in _PATHS:
        reply = door.ask("GET", path)
        if reply.is_html or "X-Request-Id" not in reply.headers:
            wrong.append(path.partition("?")[0])
    what = "the hub answers the paths of every client"
    if not wrong:
        return Finding(what)
    trouble = f"the proxy answers {', '.join(wrong)} itself, with HTML or an error of its own"
    return Finding(what, trouble, "proxy every path that is no static file, as docker/nginx/default.conf does")


def _arrival(door: RawHttp) -> Iterator[Finding]:
    """How a request reaches the hub."""
    sent = time.time()
    path = "/api/probe/echo/a%2Fb//c%20d?x=%2F"
    seen = _json_of(door.ask("GET", path, {"Git-Protocol": "version=2"}))
    trouble = "the proxy does not pass on the header Git-Protocol, so git falls back to its old protocol"
    is_v2 = seen.get("git_protocol") == "version=2"
    yield Finding("git protocol v2", "" if is_v2 else trouble, "nginx: proxy_set_header Git-Protocol $http_git_protocol;")
    arrived = str(seen.get("path", "nothing"))
    trouble = f"{path} reaches the hub as {arrived}: branches with a slash in their name cannot be asked for"
    fix = "nginx: proxy_pass without a path behind the host, and merge_slashes off; Apache: AllowEncodedSlashes NoDecode"
    yield Finding("paths arrive as they are sent", "" if arrived == path else trouble, fix)
    yield _base_url(door, str(seen.get("url", "")))
    yield _forwarding(seen)
    skew = abs(float(seen.get("time", 0.0)) - sent)
    trouble = f"the hub's clock and this machine's differ by {skew:.0f} seconds: signed links are refused or live too long"
    yield Finding("clocks agree", trouble if skew > _SKEW_SECONDS else "", "let both machines take their time from NTP")


def _base_url(door: RawHttp, url: str) -> Finding:
    what = "the hub knows its own address"
    if _normal(url) == _normal(door.url):
        return Finding(what)
    trouble = f"it is reached at {door.url} and sends clients to {url}: LFS, uploads by Xet and links fail"
    fix = f"set KOHAKU_HUB_BASE_URL={door.url}, if that is what people use, and restart; else ask with: kohakuhub doctor {url}"
    return Finding(what, trouble, fix)


def _normal(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _forwarding(seen: dict[str, Any]) -> Finding:
    what = "the hub knows who asks"
    forwarded, trusts = bool(seen.get("is_forwarded")), bool(seen.get("trusts_proxy"))
    if forwarded and not trusts:
        trouble = "a proxy says who the client is, and the hub does not believe it: wrong passwords of one shut out everybody"
        return Finding(what, trouble, "set KOHAKU_HUB_TRUST_PROXY=true, if only that proxy reaches the hub")
    if trusts and not forwarded:
        trouble = "the hub believes X-Forwarded-For, and no proxy sets it: everybody can name any address"
        return Finding(what, trouble, "let the proxy set X-Forwarded-For, or set KOHAKU_HUB_TRUST_PROXY=false")
    return Finding(what)


def _uploads_stream(door: RawHttp) -> Finding:
    what = "uploads stream"
    if door.begin_upload("/api/probe/upload", 2, _WAIT_SECONDS):
        return Finding(what)
    trouble = "a proxy collects whole bodies before it passes them on: large pushes fill its disk and time out"
    return Finding(what, trouble, "nginx: proxy_request_buffering off; and proxy_http_version 1.1;")


def _body_limit(door: RawHttp) -> Finding:
    what = "bodies may be large"
    for shown, size in _SIZES.items():
        if door.begin_upload("/api/probe/upload", size, _REFUSAL_SECONDS) == 413:
            trouble = f"a proxy in front refuses bodies over {shown}, or smaller ones already"
            return Finding(what, trouble, "nginx: client_max_body_size 0; the hub has its own limits")
    return Finding(what)


def _answers_stream(door: RawHttp) -> Finding:
    what = "answers stream"
    if door.first_bytes("/api/probe/stream", _WAIT_SECONDS):
        return Finding(what)
    return Finding(
        what, "a proxy collects answers before it passes them on: clones look dead and fill its disk", "nginx: proxy_buffering off;"
    )


def _inner_ports(host: str) -> Finding:
    what = f"only port {PUBLIC_PORT} is open to others"
    found = []
    for port, name in _INNER.items():
        try:
            socket.create_connection((host, port), timeout=2).close()
        except OSError:
            continue
        found.append(f"{port} ({name})")
    if not found:
        return Finding(what)
    return Finding(what, f"open from here: {', '.join(found)}", "bind them to 127.0.0.1 in docker-compose.yml, or publish none of them")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or "." not in host  # a name within the compose network


def _json_of(reply: RawReply) -> dict[str, Any]:
    try:
        shown = json.loads(reply.body)
    except ValueError:
        return {}
    return shown if isinstance(shown, dict) else {}

"""What can be seen from the hub's own place, by its settings."""

import base64
import http
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime

from hub.deployment.finding import Finding
from hub.deployment.raw_http import PROBLEMS, RawHttp, RawReply
from hub.services import connect_database
from hub.settings import Settings
from hub.stores import open_stores
from storage.disk_space import DiskSpace
from storage.errors import HubError, Unavailable

LAKEFS_VERSIONS = "1.80 to 1.86"
_SECONDS = 5.0
_SKEW_SECONDS = 60.0
_LAKEFS_CONNECTIONS = 25


def examine(settings: Settings) -> Iterator[Finding]:
    """Nothing where this machine has no hub: no data directory and no engines in the settings."""
    if settings.data.exists():
        yield _data(settings)
        yield _disk(settings)
    checks: list[Callable[[Settings], Finding]] = []
    if settings.database_url.get_secret_value():
        checks.append(_postgresql)
    if settings.s3_endpoint:
        checks += [_s3, _s3_clock]
    if settings.s3_public_endpoint:
        checks.append(_s3_public)
    if settings.s3_endpoint and settings.s3_public_endpoint and not settings.s3_proxy:
        checks.append(_s3_upload)
    for check in checks:
        yield check(settings)
    if settings.lakefs_endpoint:
        yield from _lakefs(settings)
    is_cluster = bool(settings.database_url.get_secret_value() or settings.s3_endpoint)
    if is_cluster:
        has = bool(settings.session_secret.get_secret_value())
        trouble = "each machine signs links with a key of its own, which the others refuse"
        yield Finding(
            "machines share a session secret", "" if has else trouble, "set KOHAKU_HUB_SESSION_SECRET, made by: openssl rand -hex 32"
        )


def _data(settings: Settings) -> Finding:
    what = f"the data directory {settings.data} can be written"
    if os.access(settings.data, os.W_OK | os.X_OK):
        return Finding(what)
    return Finding(what, "it cannot", f"give it to the user that runs the hub: chown -R {os.getuid()} {settings.data}")


def _disk(settings: Settings) -> Finding:
    space = DiskSpace(settings.data.absolute(), settings.make_limits().disk_reserve_bytes)
    return Finding("the disk of the data directory has room", space.trouble(), "remove or move what else lies there, or enlarge that disk")


def _postgresql(settings: Settings) -> Finding:
    what = "PostgreSQL answers"
    try:
        database = connect_database(settings)
        try:
            row = database.one("SELECT setting AS most FROM pg_settings WHERE name = 'max_connections'")
        finally:
            database.close()
    except HubError as error:
        return Finding(what, error.message, "see that the server runs, and that KOHAKU_HUB_DATABASE_URL is right")
    most, needed = int(row["most"]) if row else 0, settings.workers * settings.threads + _LAKEFS_CONNECTIONS
    if most < needed:
        trouble = (
            f"it takes {most} connections, and {settings.workers} workers with {settings.threads} threads and LakeFS may want {needed}"
        )
        return Finding(what, trouble, f"set max_connections = {needed + 20} on the server, or fewer workers or threads")
    return Finding(what)


def _s3(settings: Settings) -> Finding:
    what = "S3 keeps and returns objects"
    try:
        stores = open_stores(settings, settings.data, settings.make_limits())
        try:
            if stores.remote is not None:
                stores.remote.check()
        finally:
            stores.close()
    except HubError as error:
        return Finding(
            what, error.message, "for a bucket that is missing: kohakuhub admin create-bucket; else see the settings KOHAKU_HUB_S3_*"
        )
    return Finding(what)


def _s3_clock(settings: Settings) -> Finding:
    return _clock("the clock of S3 agrees with this one", settings.s3_endpoint, "/")


def _s3_public(settings: Settings) -> Finding:
    what = "S3 answers at its public address"
    try:
        _ask(settings.s3_public_endpoint, "/")
    except PROBLEMS as error:
        trouble = f"{settings.s3_public_endpoint} does not ({error or type(error).__name__})"
        return Finding(
            what, trouble, "make the proxy for it, or leave KOHAKU_HUB_S3_PUBLIC_ENDPOINT empty: all bytes go through the hub then"
        )
    return Finding(what)


def _s3_upload(settings: Settings) -> Finding:
    what = "S3 takes signed uploads at its public address"
    fix = "let the proxy for it pass PUT, Host, path, query and Content-Length as they come, or set KOHAKU_HUB_S3_PROXY=true"

    def send(url: str, data: bytes) -> None:
        status = RawHttp(settings.s3_public_endpoint, _SECONDS).ask("PUT", url.removeprefix(settings.s3_public_endpoint), body=data).status
        if status != http.HTTPStatus.OK:
            raise Unavailable(f"it answers {status} to one")

    try:
        stores = open_stores(settings, settings.data, settings.make_limits())
        try:
            if stores.remote is not None:
                stores.remote.quarantine.check(send)
        finally:
            stores.close()
    except HubError as error:
        return Finding(what, error.message, fix)
    except PROBLEMS as error:
        return Finding(what, f"it does not ({error or type(error).__name__})", fix)
    return Finding(what)


def _lakefs(settings: Settings) -> Iterator[Finding]:
    what = "LakeFS answers"
    try:
        reply = _ask(settings.lakefs_endpoint, "/_health")
    except PROBLEMS as error:
        trouble = f"{settings.lakefs_endpoint} does not ({error or type(error).__name__})"
        yield Finding(what, trouble, "see that it runs (docker compose logs lakefs), and that KOHAKU_HUB_LAKEFS_ENDPOINT is right")
        return
    trouble = f"/_health answers {reply.status}"
    yield Finding(what, "" if reply.status == 200 else trouble, "look at: docker compose logs lakefs")
    yield _clock("the clock of LakeFS agrees with this one", settings.lakefs_endpoint, "/_health")
    if not settings.lakefs_access_key:
        return  # the hub has made keys, and keeps them with its rows
    pair = f"{settings.lakefs_access_key}:{settings.lakefs_secret_key.get_secret_value()}"
    credentials = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    try:
        reply = _ask(settings.lakefs_endpoint, "/api/v1/config", credentials)
    except PROBLEMS as error:
        yield Finding("LakeFS lets the hub in", f"the connection broke ({error})", "look at: docker compose logs lakefs")
        return
    is_let_in = reply.status == 200
    fix = "set KOHAKU_HUB_LAKEFS_ACCESS_KEY and KOHAKU_HUB_LAKEFS_SECRET_KEY to the keys that it was set up with"
    yield Finding("LakeFS lets the hub in", "" if is_let_in else f"it answers {reply.status} to these keys", fix)
    if is_let_in:
        yield lakefs_version(reply.body)


def lakefs_version(config: bytes) -> Finding:
    """`config` is what `/api/v1/config` answers."""
    what = f"the version of LakeFS is one that is supported ({LAKEFS_VERSIONS})"
    try:
        version = str(json.loads(config)["version_config"]["version"])
    except (ValueError, KeyError, TypeError):
        return Finding(what, "it does not tell its version", "see that KOHAKU_HUB_LAKEFS_ENDPOINT leads to LakeFS")
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if found and (1, 80) <= (int(found[1]), int(found[2])) < (1, 87):
        return Finding(what)
    return Finding(what, f"it is {version}", "use the image treeverse/lakefs:1.84.0; from 1.87 on the licence is another one")


def _clock(what: str, endpoint: str, path: str) -> Finding:
    try:
        date = _ask(endpoint, path).headers.get("Date", "")
        skew = abs(parsedate_to_datetime(date).timestamp() - time.time())
    except PROBLEMS:
        return Finding(what, "it does not answer", "see above")
    except (ValueError, TypeError):
        return Finding(what)  # it tells no time
    trouble = f"they differ by {skew:.0f} seconds: signed requests are refused from 15 minutes on"
    return Finding(what, trouble if skew > _SKEW_SECONDS else "", "let both machines take their time from NTP")


def _ask(endpoint: str, path: str, headers: dict[str, str] | None = None) -> RawReply:
    return RawHttp(endpoint, _SECONDS).ask("GET", path, headers)

"""The web application: every door's rows in one table, and what stands around each request."""

import asyncio
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from gitserver.bundles.views import BundleViews
from gitserver.http.branch_rules import RuleViews
from gitserver.http.go_import import go_import_page
from gitserver.http.receive_pack import PushViews
from gitserver.http.upload_pack import GitViews
from gitserver.mirror.target_views import TargetViews
from gitserver.mirror.views import MirrorViews
from gitserver.protocol.bundle_uri import BundleLink
from hfcompat.reading.one_word import OneWordViews
from hfcompat.views import HfViews
from httpapi.bodies import PACE, Pace, finish_body
from httpapi.endpoint import CLIENT_ADDRESS, OWN_ORIGINS, SPACE, STOPPING, Endpoint, add_endpoints
from httpapi.errors import render_json
from hub import VERSION
from hub.cors import add_cors, answer_options, own_origins
from hub.health import HealthViews
from hub.log import log_request
from hub.probe import ProbeViews
from hub.public_address import Origin
from hub.services import Services
from hub.site.home import HomeViews
from hub.site.page import render_missing, wants_html
from hub.site.repository import RepositoryViews
from hubapi.auth import AccountViews
from hubapi.ssh_keys import KeyViews
from lfs.locks.views import LockViews
from lfs.transfers.batch import Batch
from lfs.transfers.direct_uploads import DirectUploads
from lfs.transfers.multipart_views import MultipartViews
from lfs.transfers.views import LfsViews
from lfs.xet.views import XetViews
from storage.errors import HubError, NotFound
from storage.records import Repo
from storage.versions.base import Refs

RUNNING = web.AppKey("running", set[int])
LEAVING = web.AppKey("leaving", asyncio.Event)  # each connection ends with its answer
_ORIGIN = web.AppKey("origin", Origin)
log = logging.getLogger("hub.requests")
_INERT = {"Content-Security-Policy": "default-src 'none'; sandbox"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9=;:._-]{1,200}")


def make_app(services: Services) -> web.Application:
    app = web.Application(middlewares=[_around], client_max_size=services.limits.json_bytes)
    app[STOPPING] = asyncio.Event()
    app[LEAVING] = asyncio.Event()
    app[RUNNING] = set()
    app[SPACE] = services.stores.space
    app[_ORIGIN] = _origin(services)
    app[OWN_ORIGINS] = own_origins(services.settings.base_url, services.settings.own_origins)
    app[PACE] = Pace(services.limits.body_rate_bytes, services.limits.body_rate_seconds)
    app.on_response_prepare.append(_add_headers)
    add_endpoints(app, endpoints(services), services.access)
    return app


def endpoints(services: Services) -> list[Endpoint]:
    """The whole table, in the order in which paths are tried."""
    origin, limits = _origin(services), services.limits
    account_views = AccountViews(
        services.users,
        services.tokens,
        services.accounts.sessions,
        services.authenticator,
        limits,
        VERSION,
        may_register=services.settings.may_register,
    )
    xet_views = XetViews(services.xet, services.xet_tokens, services.users, services.repos, limits)
    return [
        *HealthViews(services, VERSION).endpoints(),
        *HomeViews(origin, may_register=services.settings.may_register).endpoints(),
        *ProbeViews(origin).endpoints(),
        *account_views.endpoints(),
        *KeyViews(services.keys, limits).endpoints(),
        *xet_views.endpoints(),
        *_mirror_rows(services),
        *_hf_views(services, origin).endpoints(),
        *RuleViews(services.rules, limits).endpoints(),
        *_git_views(services, origin).endpoints(),
        *BundleViews(services.bundles, services.repos).endpoints(),
        *PushViews(services.pusher, services.packs, services.creation, limits, origin.of).endpoints(),
        *LockViews(services.locks, limits, may_create=services.creation is not None).endpoints(),
        *_lfs_views(services, origin).endpoints(),
        *MultipartViews(services.multipart, services.actions, services.repos, limits).endpoints(),
        *OneWordViews().endpoints(),
        *RepositoryViews(origin).endpoints(),
    ]


def _mirror_rows(it: Services) -> list[Endpoint]:
    allow = it.settings.import_private
    return [
        *MirrorViews(it.mirrors, it.jobs, it.repos, it.versions, it.limits, allow_private=allow).endpoints(),
        *TargetViews(it.mirrors, it.jobs, it.limits, allow_private=allow).endpoints(),
    ]


def _git_views(services: Services, origin: Origin) -> GitViews:
    def offers(request: web.Request, repo: Repo, refs: Refs) -> list[BundleLink]:
        return services.bundles.offers(repo.id, refs, origin.of(request))

    parts, may_create = (services.objects, services.versions, services.limits), services.creation is not None
    return GitViews(*parts, services.pack_cache, offers, may_create=may_create)


def _lfs_views(services: Services, origin: Origin) -> LfsViews:
    limits, actions = services.limits, services.actions
    direct = DirectUploads(services.stores.quarantine, actions, limits)
    return LfsViews(
        Batch(services.possession, actions, services.blobs, direct, limits),
        services.multipart,
        services.possession,
        actions,
        services.blobs,
        services.repos,
        limits,
        origin.of,
        services.creation.create if services.creation is not None else None,
    )


def _hf_views(services: Services, origin: Origin) -> HfViews:
    return HfViews(
        services.repos,
        services.packs,
        services.objects,
        services.browser,
        services.history,
        services.versions,
        services.ref_writer,
        services.committer,
        services.xet_tokens,
        services.blobs,
        services.limits,
        origin.of,
    )


def _origin(services: Services) -> Origin:
    return Origin(services.settings.base_url, trust_proxy=services.settings.trust_proxy)


@web.middleware
async def _around(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Count, log, and answer what no row answers. The outermost place: an error that nobody expected ends here, with a log."""
    given = request.headers.get("X-Request-Id") or request.headers.get("X-Amzn-Trace-Id") or ""
    request_id = given if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"
    request["request_id"] = request_id
    client = request[CLIENT_ADDRESS] = request.app[_ORIGIN].client_address(request)
    key = id(request)
    started = time.perf_counter()
    status = 500
    request.app[RUNNING].add(key)
    try:
        response = await _answer(request, handler)
        status = response.status
        if not response.prepared:
            await finish_body(request, response)
        return response
    except ConnectionError:
        status = 499  # the client went away; nobody reads this answer
        return web.Response(status=status)
    finally:
        request.app[RUNNING].discard(key)
        log_request(log, request.method, request.path, status, started, request_id, client.address)


async def _answer(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    try:
        early = _answer_before_rows(request)
        return early if early is not None else await handler(request)
    except web.HTTPNotFound:
        if wants_html(request):
            return render_missing(request.path)
        return render_json(request, NotFound(f"There is nothing at {request.path[:200]}. Check the address."))
    except web.HTTPMethodNotAllowed as error:
        response = render_json(request, _status_error(405, f"{request.method} is not possible at {request.path[:200]}."))
        response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return response
    except web.HTTPException as error:
        return render_json(request, _status_error(error.status, error.reason))
    except ConnectionError:
        raise
    except Exception:
        log.exception("unexpected error in %s %s", request.method, request.path)
        return render_json(request, HubError(f"Something went wrong here; the operator's log says what, under {request['request_id']}."))


def _answer_before_rows(request: web.Request) -> web.Response | None:
    """What holds for every path, whichever row it has, and tells nothing of what is stored."""
    if request.method == "OPTIONS":
        return answer_options(request)
    if request.method in ("GET", "HEAD") and "go-get=1" in request.query_string.split("&"):
        page = go_import_page(request.path, request.app[_ORIGIN].of(request))
        return web.Response(text=page, content_type="text/html", headers=_INERT) if page else None
    return None


def _status_error(status: int, message: str) -> HubError:
    error = HubError(message)
    error.status = status
    return error


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Request-Id"] = request.get("request_id", "")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "private, no-store")  # answers depend on who asks, unless a view says otherwise
    add_cors(request, response)
    if request.app[LEAVING].is_set():
        response.headers["Connection"] = "close"
        response.force_close()

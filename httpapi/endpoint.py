"""A route exists only as a row of the endpoint table, with the right that it needs (I9).

The row's wrapper signs the caller in, has the gate authorize what the row needs of the repository named by the path, runs the view
and renders errors in the row's dialect. A view parses, calls one service method and renders.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from aiohttp import web

from httpapi.bodies import check_declared, continue_later
from httpapi.same_site import is_own_page
from storage.disk_space import DiskSpace, is_full
from storage.errors import Forbidden, HubError, Moved, Unavailable
from storage.records import ANONYMOUS, Access, Principal, Repo, RepoKind, RepoName

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """What the wrapper found out before the view runs."""

    principal: Principal
    named_repo: Repo | None
    missing: RepoName | None = None  # no repository has the name, and the caller may create it (rows with `creates`)

    @property
    def repo(self) -> Repo:
        """The repository of the path; only rows with a `repo_kind` or a `{kind}` have one."""
        if self.named_repo is None:
            raise LookupError("this endpoint row names no repository")
        return self.named_repo


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """Where a request comes from and which address the client typed: as the connection tells, or the proxy in front where the operator
    trusts it.
    """

    address: str
    scheme: str
    host: str


class Answer(Protocol):
    """What a thread found, ready for the loop to send."""

    async def send(self, request: web.Request) -> web.StreamResponse: ...


@dataclass(frozen=True, slots=True)
class InThread:
    """A handler that is a plain function. It runs in the thread that let the caller in: one hop for the whole request."""

    read: Callable[[web.Request, Call], Answer]


Handler: TypeAlias = Callable[[web.Request, Call], Awaitable[web.StreamResponse]]
Render: TypeAlias = Callable[[web.Request, HubError], web.Response]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row. `path` is aiohttp's pattern; where it holds `{ns}` and `{name}` the repository is looked up and `needs` is asked
    of it, with `kind` (or the path's `{kinds}`: models|datasets|spaces) telling which. Otherwise `needs` above NONE means
    "signed in, with a credential of at least that scope".
    """

    method: str
    path: str
    handler: Handler | InThread
    needs: Access
    render: Render
    kind: RepoKind | None = None
    needs_session: bool = False  # only a browser session or password will do (minting tokens)
    creates: bool = False  # who may create a missing repository of the path is let in to do so
    checks_itself: bool = False  # the credential is none that the gate knows: the view checks it
    most_bytes: int | None = None  # of a body; None: what JSON may have


class Gate(Protocol):
    """What a surface asks before it does anything: who the caller is, and whether the caller may."""

    def admit(self, headers: Mapping[str, str], cookies: Mapping[str, str], address: str) -> Principal:
        """Raises Unauthenticated for wrong credentials, Throttled for too many guesses."""

    def authorize(self, principal: Principal, name: RepoName | None, needs: Access, *, creates: bool = False) -> Repo | None:
        """The repository called `name`, if the caller may do `needs` with it. Without a name: nothing, if the caller is signed in with
        a credential of at least that scope. None also where nothing has the name, and a caller who may create it asks with `creates`.

        Raises Moved for the old name of a repository (to those who may read it), Unauthenticated, RepoNotFound and Forbidden.
        """


# Where a git client finds a repository, with and without `.git`; below these lie Smart HTTP and LFS.
GIT_PATHS = (
    "/{ns}/{name:[^{}/]+?}.git",
    "/{ns}/{name}",
    "/{kinds:models|datasets|spaces}/{ns}/{name:[^{}/]+?}.git",
    "/{kinds:models|datasets|spaces}/{ns}/{name}",
)

KINDS = "{kinds:models|datasets|spaces}"
API_REPO = f"/api/{KINDS}/{{ns}}/{{name}}"

STOPPING = web.AppKey("stopping", asyncio.Event)
OWN_ORIGINS = web.AppKey("own_origins", frozenset[str])  # whose pages may use the session cookie, beside the one that is asked
CLIENT_ADDRESS = web.RequestKey("client_address", ClientAddress)
SPACE = web.AppKey("space", DiskSpace)


def client_address(request: web.Request) -> ClientAddress:
    """As the assembly found out, else as the connection tells."""
    return request.get(CLIENT_ADDRESS) or ClientAddress(request.remote or "", request.scheme, request.host)


def as_refusal(request: web.Request, error: OSError) -> HubError:
    """DiskFull where that is what the system says of a write; raises `error` itself for all others."""
    if not is_full(error) or SPACE not in request.app:
        raise error
    return request.app[SPACE].full()


def add_endpoints(app: web.Application, rows: Iterable[Endpoint], gate: Gate) -> None:
    """Register every row. A GET row answers HEAD too, without a body, unless the path has a row of its own for it."""
    table = list(rows)
    have_head = {row.path for row in table if row.method in ("HEAD", "*")}
    for row in table:
        handler = _wrap(row, gate)
        for method in ("GET", "HEAD") if row.method == "GET" and row.path not in have_head else (row.method,):
            app.router.add_route(method, row.path, handler, expect_handler=continue_later)
    app.on_response_prepare.append(_leave_out_body)


async def _leave_out_body(request: web.Request, response: web.StreamResponse) -> None:
    """What a view streams in answer to HEAD goes nowhere."""
    if request.method == "HEAD":
        request.writer.length = 0


def _wrap(row: Endpoint, gate: Gate) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    serve = _serving(row, gate)

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            if request.app[STOPPING].is_set():
                raise Unavailable("The hub is stopping. Try again in a moment.")
            return await serve(request)
        except Moved as error:
            return _redirect(request, error)
        except HubError as error:
            return row.render(request, error)
        except OSError as error:
            return row.render(request, await asyncio.to_thread(as_refusal, request, error))

    return handle


def _serving(row: Endpoint, gate: Gate) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    handler = row.handler
    if not isinstance(handler, InThread):

        async def admit_and_handle(request: web.Request) -> web.StreamResponse:
            return await handler(request, await asyncio.to_thread(_admit, row, request, gate))

        return admit_and_handle
    read = handler.read

    def admit_and_read(request: web.Request) -> Answer:
        return read(request, _admit(row, request, gate))

    async def send(request: web.Request) -> web.StreamResponse:
        answer = await asyncio.to_thread(admit_and_read, request)
        return await answer.send(request)

    return send


def _admit(row: Endpoint, request: web.Request, gate: Gate) -> Call:
    """Who asks, then whether they may, then how much they announce: nothing of the body was read by then."""
    call = _let_in(row, request, gate)
    check_declared(request, request.client_max_size if row.most_bytes is None else row.most_bytes)
    return call


def _let_in(row: Endpoint, request: web.Request, gate: Gate) -> Call:
    if row.checks_itself:
        return Call(ANONYMOUS, None)
    principal = gate.admit(request.headers, request.cookies, client_address(request).address)
    if not principal.is_anonymous and "Authorization" not in request.headers:
        principal = _by_cookie(request, principal)
    if "name" in request.match_info and "ns" in request.match_info:
        name = _named(row, request)
        repo = gate.authorize(principal, name, row.needs, creates=row.creates)
        return Call(principal, repo, name if repo is None else None)
    gate.authorize(principal, None, row.needs)
    if row.needs_session and not principal.from_session:
        raise Forbidden("A token may not do this. Sign in with your password.")
    return Call(principal, None)


def _by_cookie(request: web.Request, principal: Principal) -> Principal:
    """Whom a session's cookie stands for. To a script of another site it is nobody, so that such a script reads only what everybody
    may; links from elsewhere are followed as usual. Raises Forbidden where another site would change something.
    """
    who, is_safe = client_address(request), request.method in ("GET", "HEAD")
    if is_safe and "Origin" not in request.headers:
        return principal
    known: frozenset[str] = request.app.get(OWN_ORIGINS, frozenset())
    if is_own_page(request.headers, f"{who.scheme}://{who.host}", known):
        return principal
    if is_safe:
        return ANONYMOUS
    raise Forbidden("This request comes from another site. Open the hub itself, or use an access token.")


def _redirect(request: web.Request, error: Moved) -> web.Response:
    """To the same place below the new name; 307 keeps method and body. The address is relative, so that any proxy in front is right."""
    old = f"/{request.match_info['ns']}/{request.match_info['name']}"
    location = request.rel_url.raw_path.replace(old, f"/{error.name}", 1)
    query = request.rel_url.raw_query_string
    headers = {"Location": f"{location}?{query}" if query else location, "X-Error-Message": error.message}
    return web.json_response({"error": error.message}, status=error.status, headers=headers)


def _named(row: Endpoint, request: web.Request) -> RepoName:
    kinds = request.match_info.get("kinds", "")
    kind = row.kind or (RepoKind(kinds.removesuffix("s")) if kinds else RepoKind.MODEL)
    return RepoName.parse(kind, request.match_info["ns"], request.match_info["name"])

"""Errors in the Hugging Face and KohakuHub dialect: JSON for people, headers for clients (the identity is in X-Error-Code)."""

from aiohttp import web

from storage.errors import (
    WRONG_CREDENTIALS,
    AlreadyExists,
    EntryNotFound,
    HubError,
    RepoNotFound,
    RevisionNotFound,
    Throttled,
    Unauthenticated,
    Unavailable,
)

_CODES: dict[type[HubError], str] = {
    RepoNotFound: "RepoNotFound",
    RevisionNotFound: "RevisionNotFound",
    EntryNotFound: "EntryNotFound",
    AlreadyExists: "RepoExists",
}


def basic_challenge() -> dict[str, str]:
    """What makes git and git-lfs ask for a password."""
    return {"WWW-Authenticate": 'Basic realm="KohakuHub"'}


def render_json(request: web.Request, error: HubError) -> web.Response:
    """`error` as JSON `error` and `detail`, with X-Error-Code and X-Error-Message."""
    headers = {"X-Error-Message": _header_text(error.message)}
    code = _CODES.get(type(error), "")
    if isinstance(error, Unauthenticated) and error.message != WRONG_CREDENTIALS and "name" in request.match_info:
        code = "RepoNotFound"  # to an anonymous caller a private repository and none look the same
    if code:
        headers["X-Error-Code"] = code
    if isinstance(error, EntryNotFound) and error.commit:
        headers["X-Repo-Commit"] = error.commit
    if isinstance(error, Throttled):
        headers["Retry-After"] = str(error.retry_after)
    if error.status == Unavailable.status:
        headers["Retry-After"] = "5"
    body = {"error": error.message, "detail": error.message}
    return web.json_response(body, status=error.status, headers=headers)


def _header_text(message: str) -> str:
    line = "".join(char if char.isprintable() else "?" for char in " ".join(message.split()))  # a NUL would break the answer off
    return line.encode("latin-1", "replace").decode("latin-1")[:1000]

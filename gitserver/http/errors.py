"""Errors as git shows them: plain text, and the challenge that makes git ask for a password."""

from aiohttp import web

from storage.errors import HubError, RepoNotFound, Throttled, Unauthenticated, Unavailable

NO_CACHE = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "Pragma": "no-cache", "Expires": "Fri, 01 Jan 1980 00:00:00 GMT"}
CHALLENGE = {"WWW-Authenticate": 'Basic realm="KohakuHub"'}


def render_git(request: web.Request, error: HubError) -> web.Response:
    """`error` for a git client, which prints text/plain bodies line by line behind `remote:`."""
    headers = dict(NO_CACHE)
    if isinstance(error, Unauthenticated):
        headers |= CHALLENGE
    if isinstance(error, Throttled):
        headers["Retry-After"] = str(error.retry_after)
    if error.status == Unavailable.status:
        headers["Retry-After"] = "5"
    text = "Repository not found." if isinstance(error, RepoNotFound) else error.message
    return web.Response(status=error.status, text=text + "\n", headers=headers)

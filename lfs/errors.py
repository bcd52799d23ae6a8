"""Errors as git-lfs shows them: JSON with `message`, and the challenge that makes it ask for credentials."""

import json

from aiohttp import web

from httpapi.errors import basic_challenge
from lfs.transfers.wire import MEDIA_TYPE
from storage.errors import HubError, RepoNotFound, Throttled, Unauthenticated, Unavailable


def render_lfs(request: web.Request, error: HubError) -> web.Response:
    headers = {"Content-Type": MEDIA_TYPE}
    if isinstance(error, Unauthenticated):
        headers |= basic_challenge() | {"LFS-Authenticate": 'Basic realm="KohakuHub"'}
    if isinstance(error, Throttled):
        headers["Retry-After"] = str(error.retry_after)
    if error.status == Unavailable.status:
        headers["Retry-After"] = "5"
    message = "Repository not found." if isinstance(error, RepoNotFound) else error.message
    body = {"message": message, "request_id": str(request.get("request_id", ""))}
    return web.Response(status=error.status, body=json.dumps(body).encode(), headers=headers)

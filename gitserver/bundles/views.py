"""Bundles over HTTP: `BundleViews(bundles, repos)`. The URL itself is the credential."""

from aiohttp import web

from accounts.repositories import Repositories
from gitserver.bundles.bundles import Bundles
from gitserver.bundles.links import PATH
from gitserver.http.errors import render_git
from httpapi.endpoint import Call, Endpoint, InThread
from httpapi.ranges import Content, Download, answer
from storage.errors import NotFound
from storage.records import Access

_HEADERS = {"Content-Type": "application/x-git-bundle", "Content-Disposition": "attachment", "Cache-Control": "private, no-transform"}


class BundleViews:
    def __init__(self, bundles: Bundles, repos: Repositories) -> None:
        self._bundles = bundles
        self._repos = repos

    def endpoints(self) -> list[Endpoint]:
        handler = InThread(self.download)
        return [Endpoint(method, PATH, handler, Access.NONE, render_git, checks_itself=True) for method in ("GET", "HEAD")]

    def download(self, request: web.Request, call: Call) -> Download:
        repo_id = request.match_info["repo_id"]
        self._bundles.links.check(repo_id, request.query.get("expires", ""), request.query.get("signature", ""))
        if self._repos.get(repo_id) is None:
            raise NotFound("The repository of this URL is gone.")
        bundle = self._bundles.find(repo_id)
        try:
            if bundle is not None:
                return answer(request, Content(bundle.path.stat().st_size, bundle.sha1, path=bundle.path), _HEADERS)
        except FileNotFoundError:
            pass  # it made room a moment ago
        raise NotFound("There is no bundle of this repository here now. git goes on without it.")

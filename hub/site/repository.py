"""The page of a repository, at the addresses that the hub hands out: of repositories, commits, branches and files."""

from html import escape

from aiohttp import web

from httpapi.endpoint import KINDS, Call, Endpoint
from httpapi.errors import render_json
from hub.public_address import Origin
from hub.site.page import render_missing, render_page, wants_html
from storage.errors import HubError, NotFound
from storage.records import Access, RepoKind

# What is not found below these is answered by their own dialects.
_MODEL = "/{ns:(?!(?:api|cas|org)/)[^{}/]+}/{name}"
_REPOSITORY = (_MODEL, f"/{KINDS}/{{ns}}/{{name}}")
_BELOW = ("", "/", "/{part:commit|commits|tree|blob}/{rest:.+}")
_OPTIONS = {RepoKind.MODEL: "", RepoKind.DATASET: " --repo-type dataset", RepoKind.SPACE: " --repo-type space"}
_BODY = """<h1>{name}</h1>
<p>A {visibility} {kind} on this hub. Pages that show its files are being built; git and the Hugging Face client read it today.</p>
<h2>With git</h2>
<pre>git clone {url}/{path}
cd {short} &amp;&amp; git lfs pull{show}</pre>
<h2>With the Hugging Face client</h2>
<pre>export HF_ENDPOINT={url}
hf download {name}{option}</pre>"""


class RepositoryViews:
    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def endpoints(self) -> list[Endpoint]:
        paths = [start + end for start in _REPOSITORY for end in _BELOW]
        return [Endpoint("GET", path, self.repository, Access.READ, render_not_found) for path in paths]

    async def repository(self, request: web.Request, call: Call) -> web.Response:
        if not wants_html(request):
            raise _nothing(request)
        repo, rest = call.repo, request.match_info.get("rest", "")
        is_commit = request.match_info.get("part") == "commit"
        shown = {
            "name": repo.name.full,
            "path": repo.name.path,
            "short": repo.name.name,
            "kind": repo.name.kind.value,
            "visibility": "private" if repo.is_private else "public",
            "option": _OPTIONS[repo.name.kind],
            "url": self._origin.of(request),
            "show": f"\ngit show {rest}" if is_commit and rest.isalnum() else "",
        }
        return render_page(repo.name.full, _BODY.format(**{key: escape(value) for key, value in shown.items()}))


def render_not_found(request: web.Request, error: HubError) -> web.Response:
    """For browsers the page that says that nothing is here; the others are told so in JSON, whatever the reason."""
    if error.status >= HubError.status:
        return render_json(request, error)
    return render_missing(request.path) if wants_html(request) else render_json(request, _nothing(request))


def _nothing(request: web.Request) -> NotFound:
    return NotFound(f"There is nothing at {request.path[:200]}. Check the address.")

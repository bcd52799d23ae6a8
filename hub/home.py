"""The page at `/`: what this is and how to start. No script, no outside resource."""

from html import escape

from aiohttp import web

from accounts.endpoint import Call, Endpoint
from accounts.errors import render_json
from hub.origin import Origin
from storage.records import Access

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
}
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>KohakuHub</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#222;background:#fff}}
pre{{background:#f3f3f0;padding:1rem;overflow:auto}}@media(prefers-color-scheme:dark){{body{{color:#ddd;background:#181818}}pre{{background:#262626}}}}</style>
<h1>KohakuHub</h1>
<p>A self-hosted hub for models, datasets and spaces. Every repository here is a git repository and a Hugging Face repository at once.</p>
<h2>With git</h2>
<pre>git clone {url}/&lt;user&gt;/&lt;repository&gt;
git lfs pull</pre>
<p>User name: yours. Password: your password, or an access token.</p>
<h2>With the Hugging Face client</h2>
<pre>export HF_ENDPOINT={url} HF_TOKEN=&lt;your token&gt;
hf download &lt;user&gt;/&lt;repository&gt;</pre>
<p>No account yet? Ask the operator, who makes one with <code>kohakuhub admin create-user</code>.</p>
</html>
"""


class HomeViews:
    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/", self.home, Access.NONE, render_json)]

    async def home(self, request: web.Request, call: Call) -> web.Response:
        return web.Response(text=_PAGE.format(url=escape(self._origin.of(request))), content_type="text/html", headers=_HEADERS)

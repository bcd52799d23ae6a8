"""The page at `/`: what this is and how to start."""

from html import escape

from aiohttp import web

from httpapi.endpoint import Call, Endpoint
from httpapi.errors import render_json
from hub.public_address import Origin
from hub.site.page import render_page
from storage.records import Access

_BODY = """<h1>KohakuHub</h1>
<p>A self-hosted hub for models, datasets and spaces. Every repository here is a git repository and a Hugging Face repository at once.</p>
<h2>With git</h2>
<pre>git clone {url}/&lt;user&gt;/&lt;repository&gt;
git lfs pull</pre>
<p>User name: yours. Password: your password, or an access token.</p>
<h2>With the Hugging Face client</h2>
<pre>export HF_ENDPOINT={url} HF_TOKEN=&lt;your token&gt;
hf download &lt;user&gt;/&lt;repository&gt;</pre>
{account}"""
_OPEN = """<h2>Register</h2>
<p>Anybody may make an account here. The first command makes it, the second one an access token:</p>
<pre>curl -H 'Content-Type: application/json' {url}/api/auth/register \\
  -d '{{"username": "&lt;user&gt;", "email": "&lt;you@example.org&gt;", "password": "&lt;8 characters or more&gt;"}}'
curl -u &lt;user&gt; -H 'Content-Type: application/json' {url}/api/auth/tokens/create \\
  -d '{{"name": "laptop", "scope": "write"}}'</pre>"""
_CLOSED = "<p>No account yet? Ask the operator, who makes one with <code>kohakuhub admin create-user</code>.</p>"


class HomeViews:
    def __init__(self, origin: Origin, *, may_register: bool) -> None:
        self._origin = origin
        self._account = _OPEN if may_register else _CLOSED

    def endpoints(self) -> list[Endpoint]:
        return [Endpoint("GET", "/", self.home, Access.NONE, render_json)]

    async def home(self, request: web.Request, call: Call) -> web.Response:
        url = escape(self._origin.of(request))
        return render_page("KohakuHub", _BODY.format(url=url, account=self._account.format(url=url)))

"""A small page in HTML: no script, no outside resource. Whoever did not ask for HTML gets none."""

from html import escape

from aiohttp import web

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
    "Vary": "Accept, Cookie, Authorization",
}
_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#222;background:#fff}
pre{background:#f3f3f0;padding:1rem;overflow:auto}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}pre{background:#262626}a{color:#8bf}}"""


def wants_html(request: web.Request) -> bool:
    """Browsers name text/html; git, curl and the clients of the API do not."""
    return request.method in ("GET", "HEAD") and "text/html" in request.headers.get("Accept", "")


def render_page(title: str, body: str, status: int = 200) -> web.Response:
    """`body` is HTML; what came from outside was escaped in it."""
    text = (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n{body}\n</html>\n"
    )
    return web.Response(text=text, content_type="text/html", status=status, headers=HEADERS)


def render_missing(path: str) -> web.Response:
    """What is private and what is not there look the same."""
    body = (
        f"<h1>Nothing here</h1>\n<p>There is nothing at <code>{escape(path[:200])}</code>, or it is private.</p>\n"
        "<p>Check the address. What is private can be read with git and the Hugging Face client, with your name and an access token."
        ' How that is done stands on <a href="/">the first page</a>.</p>'
    )
    return render_page("Nothing here", body, 404)

"""H2, W30: pages of other origins read what nobody or a token may; cookies are for the hub's own pages."""

import asyncio
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from hub.app import make_app
from hub.services import build
from hub.settings import Settings

PAGE = "https://page.example"
EXPOSED = {
    *("x-repo-commit", "x-request-id", "x-error-code", "x-error-message", "x-total-count", "etag", "link", "accept-ranges"),
    *("content-range", "x-linked-size", "x-linked-etag", "x-xet-hash"),
}


def cors(answer: Any) -> dict[str, str]:
    return {key: value for key, value in answer.headers.items() if key.startswith("Access-Control-")}


def test_h2_w30_another_origin_reads_what_is_public(hub: Any) -> None:
    name = hub.repo()
    paths = (f"/api/models/{name}", f"/{name}/resolve/main/missing", f"/{name}.git/info/refs?service=git-upload-pack", "/no/such/place/x")
    answers = [hub.call("GET", path, token="", Origin=PAGE) for path in paths]

    assert {answer.headers["Access-Control-Allow-Origin"] for answer in answers} == {"*"}
    assert {frozenset(answer.headers["Access-Control-Expose-Headers"].lower().split(", ")) >= EXPOSED for answer in answers} == {True}
    assert "Access-Control-Allow-Credentials" not in answers[0].headers
    assert "Origin" in answers[0].headers["Vary"]
    assert cors(hub.call("GET", paths[0], token="")) == {}


def test_h2_w30_a_preflight_is_answered_for_every_path(hub: Any) -> None:
    asked = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "authorization,range,x-own"}
    paths = ("/api/repos/create", "/alice/missing.git/info/lfs/objects/batch", "/cas/x/v1/shards", "/no/such/place/x")
    answers = [hub.call("OPTIONS", path, token="", Origin=PAGE, **asked) for path in paths]

    assert [(answer.status, answer.body) for answer in answers] == [(204, b"")] * 4
    for answer in answers:
        shown = cors(answer)
        assert shown["Access-Control-Allow-Origin"] == "*"
        assert "PUT" in shown["Access-Control-Allow-Methods"]
        assert shown["Access-Control-Allow-Headers"] == "authorization,range,x-own"
        assert "Access-Control-Allow-Credentials" not in shown
    plain = hub.call("OPTIONS", "/healthz", token="")
    assert (plain.status, plain.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")
    assert hub.call("OPTIONS", "/no/such/place/x", token="").status == 404


def test_h2_a_token_works_from_any_origin_and_a_cookie_from_none_but_the_hubs(hub: Any) -> None:
    name = hub.repo(private=True)
    path = f"/api/models/{name}"
    login = {"username": "alice", "password": "correct horse battery"}
    cookie = hub.call("POST", "/api/auth/login", login, token="").headers["Set-Cookie"].split(";")[0]

    def by_cookie(**headers: str) -> int:
        return int(hub.call("GET", path, token="", Cookie=cookie, **headers).status)

    assert hub.call("GET", path, Origin=PAGE).status == 200
    assert by_cookie(Origin=PAGE, Sec_Fetch_Site="cross-site") == 401
    assert by_cookie(Origin=PAGE) == 401
    assert by_cookie(Origin=hub.url) == 200
    assert by_cookie(Sec_Fetch_Site="cross-site") == 200  # a link that somebody followed


@pytest.mark.filterwarnings("ignore::aiohttp.web_exceptions.NotAppKeyWarning")
def test_h2_the_pages_that_the_operator_names_use_the_cookie(tmp_path: Path) -> None:
    origin = "http://localhost:5173"
    services = build(Settings(data=tmp_path / "data", ui_origins=f"{origin}/, https://ui.example"))
    services.users.create("ann", "ann@example.org", "long enough")

    async def run() -> list[tuple[int, list[str]]]:
        async with TestClient(TestServer(make_app(services))) as client:
            found = []
            for page in (origin, PAGE):
                headers = {"Origin": page, "Sec-Fetch-Site": "same-site"}
                body = {"username": "ann", "password": "long enough"}
                signed_in = await client.post("/api/auth/login", json=body, headers=headers)
                cookie = signed_in.headers["Set-Cookie"].split(";")[0]
                done = await client.post("/api/auth/logout", headers=headers | {"Cookie": cookie})
                names = ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials")
                found.append((done.status, [done.headers.get(name, "") for name in names]))
            return found

    found = asyncio.run(run())
    services.close()

    assert found == [(200, [origin, "true"]), (403, ["*", ""])]


def test_h2_a_preflight_does_not_reflect_what_is_no_header_name(hub: Any) -> None:
    request = urllib.request.Request(hub.url + "/healthz", method="OPTIONS")
    request.add_header("Origin", PAGE)
    request.add_header("Access-Control-Request-Method", "GET")
    request.add_header("Access-Control-Request-Headers", "x; <script>")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["Access-Control-Allow-Headers"] == "authorization, content-type, range"

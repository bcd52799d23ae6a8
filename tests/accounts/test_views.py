"""Sign-up, sign-in and tokens over HTTP."""

import base64
import subprocess
import time
import uuid
from typing import Any

import pytest

from storage.records import Scope


@pytest.fixture
def person(hub: Any) -> tuple[str, str]:
    """A new account: name and password."""
    name, password = "u" + uuid.uuid4().hex[:10], "a password of some length"
    body = {"username": name, "email": f"{name}@example.org", "password": password}
    assert hub.call("POST", "/api/auth/register", body, token="").status == 200
    return name, password


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def sign_in(hub: Any, person: tuple[str, str]) -> str:
    answer = hub.call("POST", "/api/auth/login", {"username": person[0], "password": person[1]}, token="")
    assert answer.status == 200
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    return str(cookie.split(";")[0])


def test_session_life(hub: Any, person: tuple[str, str]) -> None:
    cookie = sign_in(hub, person)
    me = hub.call("GET", "/api/auth/me", token="", Cookie=cookie)
    out = hub.call("POST", "/api/auth/logout", token="", Cookie=cookie, Sec_Fetch_Site="same-origin")
    after = hub.call("GET", "/api/auth/me", token="", Cookie=cookie)

    assert me.json()["username"] == person[0]
    assert out.status == 200
    assert after.status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://evil.example", "X_Forwarded_Host": "evil.example"},
    ],
    ids=str,
)
def test_another_site_cannot_use_the_session(hub: Any, person: tuple[str, str], headers: dict[str, str]) -> None:
    cookie = sign_in(hub, person)
    answer = hub.call("POST", "/api/repos/create", {"name": "x"}, token="", Cookie=cookie, **headers)

    assert answer.status == 403
    assert hub.call("GET", f"/api/models/{person[0]}/x", token="", Cookie=cookie).status == 404


def test_h15_a_page_of_another_site_is_known_by_its_referer(hub: Any, person: tuple[str, str]) -> None:
    """Old browsers and privacy tools send neither Origin nor Sec-Fetch-Site."""
    cookie = sign_in(hub, person)

    def logout(referer: str) -> int:
        return int(hub.call("POST", "/api/auth/logout", token="", Cookie=cookie, Referer=referer).status)

    assert [logout("https://evil.example/page"), logout("http://[::x"), logout("about:blank")] == [403] * 3
    assert logout(f"{hub.url}/settings/account") == 200


def test_o8_w20_refusals_say_what_is_wrong(hub: Any, person: tuple[str, str]) -> None:
    wrong = hub.call("POST", "/api/auth/login", {"username": person[0], "password": "not the one"}, token="")
    cookie = sign_in(hub, person)
    body = {"name": "r", "scope": "read"}
    token = hub.call("POST", "/api/auth/tokens/create", body, token="", Cookie=cookie, Sec_Fetch_Site="same-origin").json()["token"]
    name = f"{person[0]}/r"
    assert hub.call("POST", "/api/repos/create", {"name": "r"}, token="", Cookie=cookie, Sec_Fetch_Site="same-origin").status == 200
    refused = [
        hub.call("POST", "/api/repos/create", {"name": "x"}, token=token),
        hub.call("DELETE", "/api/repos/delete", {"name": "r"}, token=token),
        hub.call("POST", "/api/repos/move", {"fromRepo": name, "toRepo": name + "2", "type": "model"}, token=token),
        hub.call("PUT", f"/api/models/{name}/settings", {"private": True}, token=token),
    ]

    assert (wrong.status, wrong.json()["error"]) == (401, "Wrong user name or password.")
    for answer in refused:
        assert answer.status == 403
        assert "needs the scope write, and your token has the scope read" in answer.headers["X-Error-Message"]


def test_h4_a_token_as_the_user_name(hub: Any) -> None:
    path = f"/api/models/{hub.repo(private=True)}"
    ways = [basic(hub.token, ""), basic(hub.token, "x-oauth-basic")]
    wrong = "hf_" + "0" * 64

    assert [hub.call("GET", path, token="", Authorization=way).status for way in ways] == [200, 200]
    assert hub.call("GET", path, token="", Authorization=basic(wrong, "x-oauth-basic")).status == 401


def test_h4_git_with_a_token_as_the_user_name(hub: Any) -> None:
    name = hub.repo(private=True)
    for login in (f"{hub.token}:", f"{hub.token}:x-oauth-basic"):
        url = hub.url.replace("://", f"://{login}@") + f"/{name}.git"
        asked = subprocess.run(["git", "ls-remote", url], capture_output=True, text=True, timeout=60, check=False)
        assert (asked.returncode, asked.stderr) == (0, "")


def test_tokens_are_made_listed_used_and_deleted(hub: Any, person: tuple[str, str]) -> None:
    cookie = sign_in(hub, person)
    made = hub.call(
        "POST", "/api/auth/tokens/create", {"name": "n", "scope": "read"}, token="", Cookie=cookie, Sec_Fetch_Site="same-origin"
    ).json()
    token = made["token"]
    who = hub.call("GET", "/api/whoami-v2", token=token).json()
    refused = hub.call("POST", "/api/repos/create", {"name": "x"}, token=token)
    listed = hub.call("GET", "/api/auth/tokens", token=token).json()["tokens"]
    path = f"/api/auth/tokens/{made['token_id']}"
    by_token = hub.call("DELETE", path, token=token)
    gone = hub.call("DELETE", path, token="", Cookie=cookie, Sec_Fetch_Site="same-origin")

    assert who["auth"]["accessToken"] == {"displayName": "n", "role": "read", "createdAt": listed[0]["created_at"]}
    assert refused.status == 403
    assert [row["name"] for row in listed] == ["n"]
    assert token not in str(listed)
    assert by_token.status == 403
    assert gone.status == 200
    assert hub.call("GET", "/api/whoami-v2", token=token).status == 401


def test_a_token_expires(services: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    user = services.users.create("ann", "ann@example.org", "long enough")
    now = time.time_ns()
    soon = services.tokens.create(user.id, "t", Scope.READ, now // 1000 + 60_000_000)
    assert services.tokens.find(soon.text) is not None
    monkeypatch.setattr(time, "time_ns", lambda: now + 61 * 10**9)

    assert services.tokens.find(soon.text) is None


def test_every_way_to_say_who_one_is(hub: Any, person: tuple[str, str]) -> None:
    name = hub.repo(private=True)
    path = f"/api/models/{name}"
    ways = [
        f"Bearer {hub.token}",
        basic("anything", hub.token),
        basic("alice", "correct horse battery"),
        basic("ALICE", "correct horse battery"),
    ]

    assert [hub.call("GET", path, token="", Authorization=way).status for way in ways] == [200] * 4


@pytest.mark.parametrize("value", ["Bearer nope", "Basic !!!", "Basic " + base64.b64encode(b"alice:nope").decode(), "Digest x", "Bearer"])
def test_wrong_credentials_have_the_text_that_clients_compare(hub: Any, value: str) -> None:
    answer = hub.call("GET", "/api/whoami-v2", token="", Authorization=value)

    assert answer.status == 401
    assert answer.headers["X-Error-Message"] == "Invalid credentials in Authorization header"
    assert "X-Error-Code" not in answer.headers


def test_private_and_missing_look_the_same(hub: Any) -> None:
    name = hub.repo(private=True)
    missing = name[:-1] + ("0" if name[-1] != "0" else "1")
    for token in ("", hub.token2):
        answers = [hub.call("GET", f"/api/models/{repo}", token=token) for repo in (name, missing)]
        shown = [
            (
                a.status,
                a.body.replace(r.encode(), b"R"),
                {k: v.replace(r, "R") for k, v in a.headers.items() if k not in ("Date", "X-Request-Id")},
            )
            for a, r in zip(answers, (name, missing), strict=True)
        ]
        assert shown[0] == shown[1]
        assert answers[0].headers["X-Error-Code"] == "RepoNotFound"


def test_strangers_may_read_but_not_write(hub: Any) -> None:
    name = hub.repo()

    assert hub.call("GET", f"/api/models/{name}", token=hub.token2).status == 200
    assert hub.call("PUT", f"/api/models/{name}/settings", {"private": True}, token=hub.token2).status == 403
    assert hub.call("DELETE", "/api/repos/delete", {"name": name}, token=hub.token2).status == 403
    assert hub.call("POST", "/api/repos/create", {"name": "alice/mine"}, token=hub.token2).status == 403


def test_names(hub: Any) -> None:
    def register(name: str, email: str = "") -> int:
        body = {"username": name, "email": email or f"{uuid.uuid4().hex}@example.org", "password": "long enough"}
        return int(hub.call("POST", "/api/auth/register", body, token="").status)

    assert [register(name) for name in ("api", "Datasets", "a/b", "..", "x--y", "e.git", "", "a" * 97)] == [400] * 8
    assert register("ALICE") == 409
    assert register("unused1", "alice@example.org") == 409
    assert register("unused2", "no address") == 400

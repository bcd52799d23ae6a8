"""The simple writes: repositories, branches, tags; and the small calls beside them."""

import http.client
import uuid
from typing import Any

import pytest


@pytest.mark.parametrize(("kind", "prefix"), [("model", ""), ("dataset", "datasets/"), ("space", "spaces/")])
def test_create_again_change_and_delete(hub: Any, kind: str, prefix: str) -> None:
    name = "n" + uuid.uuid4().hex[:10]
    made = hub.call("POST", "/api/repos/create", {"name": name, "type": kind, "visibility": "private"})
    again = hub.call("POST", "/api/repos/create", {"name": name.upper(), "type": kind})
    path = f"/api/{kind}s/alice/{name}"

    assert made.json()["url"] == f"{hub.url}/{prefix}alice/{name}"
    assert again.status == 409
    assert again.json()["url"].lower() == made.json()["url"]
    assert hub.call("GET", path).json()["private"] is True
    assert hub.call("GET", path, token=hub.token2).status == 404
    assert hub.call("PUT", path + "/settings", {"visibility": "public"}).json()["private"] is False
    assert hub.call("GET", path, token="").json()["sha"] is None  # it says nothing, so it is empty
    assert hub.call("GET", path + "/tree/main").status == 404
    assert hub.call("DELETE", "/api/repos/delete", {"name": name, "type": kind}).status == 200
    assert hub.call("GET", path).headers["X-Error-Code"] == "RepoNotFound"
    assert hub.call("DELETE", "/api/repos/delete", {"name": name, "type": kind}).status == 404


def test_bad_requests(hub: Any) -> None:
    bodies: list[Any] = [
        {},
        [],
        {"name": 5},
        {"name": "a/b/c"},
        {"name": "x--y"},
        {"name": "ok", "type": "thing"},
        {"name": "ok", "visibility": "half"},
    ]

    assert [hub.call("POST", "/api/repos/create", body).status for body in bodies] == [400] * len(bodies)
    assert hub.call("POST", "/api/repos/create", b"{").status == 400
    assert hub.call("POST", "/api/repos/create", {"name": "x"}, token="").status == 401
    assert hub.call("POST", "/api/repos/create", b"[" * 100_000).status == 400


def test_branches_and_tags(hub: Any, filled: Any) -> None:
    repo = f"/api/models/{filled.name}"

    def status(method: str, path: str, body: Any = None, token: str | None = None) -> int:
        return int(hub.call(method, repo + path, body, token=token).status)

    assert status("POST", "/branch/new%2Fone", {"startingPoint": "v1"}) == 200
    assert status("POST", "/branch/new%2Fone") == 409
    assert status("POST", "/branch/bad..name") == 400
    assert "longer than 250 bytes" in hub.call("POST", f"{repo}/branch/{'x' * 240}").json()["error"]
    assert status("POST", "/branch/x", {"startingPoint": "nope"}) == 404
    assert status("POST", "/branch/x", token=hub.token2) == 403
    assert hub.call("GET", f"{repo}/revision/new%2Fone").json()["sha"] == filled.first
    assert status("DELETE", "/branch/new%2Fone") == 200
    assert status("DELETE", "/branch/new%2Fone") == 404
    assert status("DELETE", "/branch/main") == 403
    assert status("POST", "/tag/v1", {"tag": "t1", "message": "About it"}) == 200
    assert status("POST", "/tag/v1", {"tag": "t1"}) == 409
    assert status("POST", "/tag/nope", {"tag": "t2"}) == 404
    assert hub.call("GET", f"{repo}/revision/t1").json()["sha"] == filled.first
    assert status("DELETE", "/tag/t1") == 200
    assert status("DELETE", "/tag/t1") == 404


def test_the_default_branch_is_changed_by_its_owner_to_one_that_is_there(hub: Any, filled: Any) -> None:
    repo = f"/api/models/{filled.name}"
    before = hub.call("PUT", repo + "/settings", {}).json()["defaultBranch"]
    undeletable = hub.call("DELETE", f"{repo}/branch/{before}")
    missing = hub.call("PUT", repo + "/settings", {"defaultBranch": "nope", "private": True})
    wrong = [hub.call("PUT", repo + "/settings", {"defaultBranch": value}).status for value in ("", 5, ["main"], "\ud800")]
    assert hub.call("POST", repo + "/branch/second").status == 200

    assert (undeletable.status, "Choose another default branch first" in undeletable.json()["error"]) == (403, True)
    assert (missing.status, missing.headers["X-Error-Code"]) == (404, "RevisionNotFound")
    assert missing.json()["error"].startswith(
        f"{filled.name} has no branch 'nope'. Push it first, or name one of those that GET {repo}/refs"
    )
    assert hub.call("GET", repo).json()["private"] is False
    assert wrong == [400] * 4
    assert hub.call("PUT", repo + "/settings", {"defaultBranch": "second"}, token=hub.token2).status == 403
    assert hub.call("PUT", repo + "/settings", {}).json()["defaultBranch"] == before
    assert hub.call("PUT", repo + "/settings", {"defaultBranch": "second"}).json()["defaultBranch"] == "second"
    assert hub.call("PUT", repo + "/settings", {"defaultBranch": before}).status == 200
    assert hub.call("DELETE", repo + "/branch/second").status == 200


def test_auth_check(hub: Any, filled: Any) -> None:
    path = f"/api/models/{filled.name}/auth-check"

    assert hub.call("GET", path, token="").status == 200
    assert hub.call("GET", path + "/write").status == 200
    assert hub.call("GET", path + "/write", token=hub.token2).status == 403


def test_lists_in_pages(hub: Any) -> None:
    mark = uuid.uuid4().hex[:8]
    for number in range(5):
        assert hub.call("POST", "/api/repos/create", {"name": f"list-{mark}-{number}", "private": number == 0}).status == 200
    path, seen = f"/api/models?search={mark}&author=Alice&limit=2", []
    while path:
        answer = hub.call("GET", path)
        seen += [row["id"].rsplit("-", 1)[1] for row in answer.json()]
        path = answer.headers.get("Link", "").split(">")[0].removeprefix(f"<{hub.url}")

    assert seen == ["4", "3", "2", "1", "0"]
    assert len(hub.call("GET", f"/api/models?search={mark}", token="").json()) == 4
    assert hub.call("GET", "/api/models?limit=x").status == 400
    assert hub.call("GET", "/api/models?cursor=!!").status == 400


@pytest.mark.parametrize(
    ("content", "status", "errors", "warnings"),
    [
        ("# no front matter", 200, 0, 1),
        ("---\nlicense: mit\n---\n", 200, 0, 0),
        ("---\nlicense: nonsense\n---\n", 400, 1, 0),
        ("---\nmodel-index: {}\n---\n", 400, 1, 0),
        ("---\na: [\n---\n", 400, 1, 0),
        ("---\na: &x [1]\nb: *x\n---\n", 200, 0, 0),
        ("---\na: &x [*x]\n---\n", 400, 1, 0),
    ],
)
def test_validate_yaml(hub: Any, content: str, status: int, errors: int, warnings: int) -> None:
    answer = hub.call("POST", "/api/validate-yaml", {"content": content, "repoType": "model"})

    assert (answer.status, len(answer.json()["errors"]), len(answer.json()["warnings"])) == (status, errors, warnings)


def test_small_calls(hub: Any) -> None:
    assert hub.call("GET", "/api/agent-harnesses", token="").json() == {"standardEnvVars": [], "harnesses": {}}
    assert hub.call("HEAD", "/api/telemetry/x/y", token="").status == 404


@pytest.mark.parametrize(("kind", "prefix"), [("model", ""), ("dataset", "datasets/")])
def test_move_and_the_old_name(hub: Any, kind: str, prefix: str) -> None:
    old, new = "old" + uuid.uuid4().hex[:8], "new" + uuid.uuid4().hex[:8]
    assert hub.call("POST", "/api/repos/create", {"name": old, "type": kind, "private": True, "init": True}).status == 200
    body = {"fromRepo": f"alice/{old}", "toRepo": f"alice/{new}", "type": kind}

    assert hub.call("POST", "/api/repos/move", body, token=hub.token2).status == 404
    assert hub.call("POST", "/api/repos/move", body | {"toRepo": f"bob/{new}"}).status == 403
    assert hub.call("POST", "/api/repos/move", body | {"toRepo": new}).status == 400
    assert hub.call("POST", "/api/repos/move", body).status == 200
    info = hub.call("GET", f"/api/{kind}s/alice/{old}")  # follows the redirect
    assert info.json()["id"] == f"alice/{new}"
    assert b"filter=lfs" in hub.call("GET", f"/{prefix}alice/{old}/resolve/main/.gitattributes").body
    assert hub.call("GET", f"/api/{kind}s/alice/{old}", token=hub.token2).status == 404

    assert hub.call("POST", "/api/repos/create", {"name": old, "type": kind, "init": True}).status == 200
    assert hub.call("GET", f"/api/{kind}s/alice/{old}").json()["id"] == f"alice/{old}"
    taken = hub.call("POST", "/api/repos/move", body)
    assert taken.status == 409
    assert f"A {kind} repository called alice/{new} already exists" in taken.headers["X-Error-Message"]


def test_a_redirect_keeps_method_query_and_body(hub: Any) -> None:
    old = hub.repo()
    new = old + "-new"
    assert hub.call("POST", "/api/repos/move", {"fromRepo": old, "toRepo": new}).status == 200
    request = http.client.HTTPConnection(hub.url.removeprefix("http://"), timeout=30)
    request.request("POST", f"/api/models/{old}/paths-info/a%2Fb?x=%20y", "paths=a", {"Authorization": f"Bearer {hub.token}"})
    answer = request.getresponse()
    request.close()

    assert answer.status == 307
    assert answer.headers["Location"] == f"/api/models/{new}/paths-info/a%2Fb?x=%20y"

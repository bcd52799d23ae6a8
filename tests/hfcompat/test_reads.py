"""Reads over raw HTTP, as the contracts in hf.md spell them."""

import hashlib
from typing import Any
from urllib.parse import quote

import pytest

_IN_A = ["a/b", "a/b/one.txt", "a/b/two.txt", "a/z.txt"]
PATHS = ["README.md", "a-b", "a-b/three.txt", "a.txt", "a", *_IN_A, "config.json", "empty", "odd #?% é.txt", "page.html"]


def blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def pages(hub: Any, path: str) -> list[list[dict[str, Any]]]:
    """Every page of a listing, following Link as the client does."""
    found = []
    while path:
        answer = hub.call("GET", path)
        assert answer.status == 200, answer.body
        found.append(answer.json())
        link = answer.headers.get("Link", "")
        path = link.split(">")[0].removeprefix(f"<{hub.url}") if link else ""
    return found


def test_info(hub: Any, filled: Any) -> None:
    info = hub.call("GET", f"/api/models/{filled.name.upper()}", {}, token="").json()
    old = hub.call("GET", f"/api/models/{filled.name}/revision/v1?blobs=true").json()
    sizes = {row["rfilename"]: (row["size"], row["blobId"]) for row in old["siblings"]}

    assert (info["id"], info["sha"], info["private"], info["author"]) == (filled.name, filled.second, False, "alice")
    assert info["pipeline_tag"] == "text-generation"
    assert info["tags"] == ["license:mit"]
    assert old["sha"] == filled.first
    assert sizes["a.txt"] == (5, blob_id(b"a.txt"))
    assert "a/z.txt" not in sizes


def test_expand(hub: Any, filled: Any) -> None:
    shown = hub.call("GET", f"/api/models/{filled.name}?expand=sha&expand=tags").json()

    assert set(shown) == {"_id", "id", "sha", "tags"}
    assert hub.call("GET", f"/api/models/{filled.name}?expand=nonsense").status == 400


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_tree_in_pages(hub: Any, filled: Any, limit: int) -> None:
    found = pages(hub, f"/api/models/{filled.name}/tree/main?recursive=true&limit={limit}")
    rows = [row for page in found for row in page]

    assert [row["path"] for row in rows] == PATHS
    assert all(len(page) == limit for page in found[:-1])
    assert {row["path"]: row["type"] for row in rows}["a/b"] == "directory"


def test_tree_of_a_folder_with_last_commits(hub: Any, filled: Any) -> None:
    rows = hub.call("GET", f"/api/models/{filled.name}/tree/main/a?expand=true").json()

    assert {row["path"]: row["lastCommit"]["id"] for row in rows} == {"a/b": filled.first, "a/z.txt": filled.second}
    assert rows[0]["lastCommit"]["title"] == "First"


@pytest.mark.parametrize("path", ["tree/main/nope", "tree/main/a.txt", "resolve/main/nope", "resolve/main/a"])
def test_missing_paths(hub: Any, filled: Any, path: str) -> None:
    prefix = "/api/models/" if path.startswith("tree") else "/"
    answer = hub.call("GET", f"{prefix}{filled.name}/{path}")

    assert answer.status == 404
    assert answer.headers["X-Error-Code"] == "EntryNotFound"
    assert answer.headers["X-Repo-Commit"] == filled.second


def test_paths_info_by_form_and_json(hub: Any, filled: Any) -> None:
    url = f"/api/models/{filled.name}/paths-info/main"
    form = "&".join("paths=" + quote(path) for path in ("a", "nope", "odd #?% é.txt")) + "&expand=true"
    by_form = hub.call("POST", url, form.encode(), Content_Type="application/x-www-form-urlencoded").json()
    by_json = hub.call("POST", url, {"paths": ["a", "nope", "odd #?% é.txt"], "expand": True}).json()
    many = "&".join(f"paths={n}" for n in range(1001))

    assert [row["path"] for row in by_form] == ["a", "odd #?% é.txt"]
    assert by_form == by_json
    assert by_form[0]["lastCommit"]["id"] == filled.second
    assert hub.call("POST", url, many.encode(), Content_Type="application/x-www-form-urlencoded").status == 413


def test_h18_paths_info_by_multipart_form(hub: Any, filled: Any) -> None:
    url = f"/api/models/{filled.name}/paths-info/main"
    part = '--X\r\nContent-Disposition: form-data; name="{}"\r\n\r\n{}\r\n'

    def ask(body: str, kind: str = "multipart/form-data; boundary=X") -> Any:
        return hub.call("POST", url, body.encode(), Content_Type=kind)

    wanted = part.format("paths", "a") + part.format("paths", "odd #?% é.txt") + part.format("expand", "true")
    form = ask(wanted + "--X--\r\n").json()

    assert [row["path"] for row in form] == ["a", "odd #?% é.txt"]
    assert form[0]["lastCommit"]["id"] == filled.second
    assert [ask(wanted, "multipart/form-data").status, ask("", "multipart/form-data; boundary=X").status] == [400, 400]
    assert ask(part.format("path", "a") + "--X--\r\n").status == 400
    assert ask("".join(part.format("paths", n) for n in range(1011)) + "--X--\r\n").status == 413
    assert ask('["a"]', "text/plain").status == 415
    assert ask("expand=False", "application/x-www-form-urlencoded").json() == []


def test_commits(hub: Any, filled: Any) -> None:
    found = pages(hub, f"/api/models/{filled.name}/commits/main?limit=1&expand[]=formatted")

    assert [[row["id"] for row in page] for page in found] == [[filled.second], [filled.first]]
    assert found[1][0]["message"] == "A body."
    assert found[1][0]["formatted"]["title"] == "First"
    assert found[1][0]["authors"] == [{"user": "Ann"}]


def test_s1_commits_of_a_path(hub: Any, filled: Any) -> None:
    """Pages as of all commits; of a path that is there no longer or never was, too."""
    asked = f"/api/models/{filled.name}/commits/main?limit=1&path="
    found = {path: [row["id"] for page in pages(hub, asked + path) for row in page] for path in ("a", "a/z.txt", "a/b/one.txt", "no", "")}

    assert found["a"] == [filled.second, filled.first]
    assert (found["a/z.txt"], found["a/b/one.txt"], found["no"]) == ([filled.second], [filled.first], [])
    assert found[""] == found["a"]
    assert "X-Total-Count" not in hub.call("GET", asked + "a").headers
    assert [row["id"] for row in hub.call("GET", f"/api/models/{filled.name}/commits/v1?path=a%2F").json()] == [filled.first]


def test_refs(hub: Any, filled: Any) -> None:
    refs = hub.call("GET", f"/api/models/{filled.name}/refs?include_prs=1").json()

    assert [(row["name"], row["targetCommit"]) for row in refs["branches"]] == [("feature/x", filled.first), ("main", filled.second)]
    assert [(row["name"], row["targetCommit"]) for row in refs["tags"]] == [("note", filled.second), ("v1", filled.first)]
    assert (refs["converts"], refs["pullRequests"]) == ([], [])


def test_every_form_of_a_revision(hub: Any, filled: Any) -> None:
    forms = ["main", "HEAD", "note", "refs%2Fheads%2Fmain", "refs/heads/main", filled.second, filled.second[:7], "refs%2Ftags%2Fnote"]
    first = ["v1", "feature%2Fx", "refs%2Fheads%2Ffeature%2Fx", filled.first]
    seen = [hub.call("HEAD", f"/{filled.name}/resolve/{rev}/a.txt").headers.get("X-Repo-Commit") for rev in forms + first]

    assert seen == [filled.second] * len(forms) + [filled.first] * len(first)
    for rev in ("nope", "0" * 40, "refs%2Fpr%2F1", "abcdef"):
        answer = hub.call("HEAD", f"/{filled.name}/resolve/{rev}/a.txt")
        assert (answer.status, answer.headers["X-Error-Code"], answer.body) == (404, "RevisionNotFound", b"")


def test_resolve_headers_and_ranges(hub: Any, filled: Any) -> None:
    url = f"/{filled.name}/resolve/main/{quote('odd #?% é.txt')}"
    data = "odd #?% é.txt".encode()
    head = hub.call("HEAD", url)
    part = hub.call("GET", url, Range="bytes=4-6")
    unchanged = hub.call("GET", url, If_None_Match=head.headers["ETag"])

    assert head.headers["ETag"] == f'"{blob_id(data)}"'
    assert head.headers["Content-Length"] == str(len(data))
    assert head.body == b""
    assert hub.call("GET", url).body == data
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, data[4:7], f"bytes 4-6/{len(data)}")
    assert (unchanged.status, unchanged.body) == (304, b"")
    assert hub.call("GET", url, Range="bytes=99-").status == 416
    assert hub.call("GET", url, Range="bytes=-3").body == data[-3:]
    assert hub.call("GET", f"/{filled.name}/resolve/main/empty").body == b""


def test_nothing_of_users_is_active_here(hub: Any, filled: Any) -> None:
    answer = hub.call("GET", f"/{filled.name}/resolve/main/page.html")

    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_legacy_names_are_missing_repositories(hub: Any) -> None:
    for path in ("/api/models/gpt2", "/gpt2/resolve/main/config.json", "/api/models/no/such"):
        answer = hub.call("GET", path)
        assert (answer.status, answer.headers["X-Error-Code"]) == (404, "RepoNotFound")

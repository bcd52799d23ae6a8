"""Answers that clients other than the newest Python one read."""

import os
import subprocess
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hfcompat.wire import commit_json
from storage.records import Commit, Signature
from tests.hfcompat.commits import Target, head, put, sha256

CARD = b"---\nlanguage: no\nmodel-index: [{value: .nan, other: -.inf}]\nday: {2024-01-31: x}\n---\n"


@pytest.fixture
def target(hub: Any) -> Target:
    return Target(hub, hub.repo())


def test_w6_likes_and_downloads_are_numbers(hub: Any, filled: Any) -> None:
    info = hub.call("GET", f"/api/models/{filled.name}").json()
    rows = hub.call("GET", "/api/models?author=alice&limit=1000").json()

    assert [(row["likes"], row["downloads"]) for row in [info, *rows]] == [(0, 0)] * (len(rows) + 1)
    assert hub.call("GET", f"/api/models/{filled.name}?expand=likes").json()["likes"] == 0


def test_w13_commits_are_counted(hub: Any, filled: Any) -> None:
    counts = [hub.call("GET", f"/api/models/{filled.name}/commits/{rev}?limit=1").headers["X-Total-Count"] for rev in ("main", "v1")]

    assert counts == ["2", "1"]


def test_w13_counts_over_merges(hub: Any, tmp_path: Path) -> None:
    """As git counts them, from one tip after the other."""
    lines = []
    for number in range(1, 40):
        parents = [number - 1, number // 2, number // 3] if number % 5 == 0 else [number - 1]
        lines += [
            "commit refs/heads/main",
            f"mark :{number}",
            f"committer A <a@b.c> {1600000000 + number} +0000",
            "data 1\nm",
        ]
        lines += [f"{'merge' if at else 'from'} :{parent}" for at, parent in enumerate(dict.fromkeys(parents)) if parent]
    subprocess.run(["git", "init", "-q", "--bare", tmp_path], check=True)
    subprocess.run(["git", "fast-import", "--quiet"], input="\n".join(lines).encode() + b"\n", check=True, cwd=tmp_path)
    name = hub.repo()
    subprocess.run(["git", "push", "-q", hub.git_url(name), "main"], check=True, cwd=tmp_path)
    for back in (0, 3, 20, 38):
        counted = subprocess.run(
            ["git", "rev-list", "--count", f"main~{back}"],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        oid = subprocess.run(["git", "rev-parse", f"main~{back}"], capture_output=True, text=True, check=True, cwd=tmp_path).stdout.strip()
        assert hub.call("GET", f"/api/models/{name}/commits/{oid}?limit=1").headers["X-Total-Count"] == counted.stdout.strip()


def test_w14_formatted_texts_are_html() -> None:
    signed = Signature(b"A", b"a@b.c", 0)
    commit = Commit(bytes(20), bytes(20), (), signed, signed, b"<script>alert(1)</script>\n\na & <b>")
    shown = commit_json(commit, formatted=True)

    assert shown["formatted"] == {
        "title": "&lt;script&gt;alert(1)&lt;/script&gt;",
        "message": "a &amp; &lt;b&gt;",
    }
    assert shown["title"] == "<script>alert(1)</script>"


def test_w15_w16_the_card_is_json_for_everybody(target: Target) -> None:
    target.made(put("README.md", CARD))
    answer = target.hub.call("GET", f"/api/models/{target.name}")
    shown = answer.json()

    assert b"NaN" not in answer.body
    assert b"Infinity" not in answer.body
    assert shown["cardData"] == {
        "language": "no",
        "model-index": [{"value": None, "other": None}],
        "day": {"2024-01-31": "x"},
    }
    assert shown["tags"] == ["no"]


def test_w17_a_large_readme_may_be_sent_and_is_read(target: Target) -> None:
    rows = b"".join(b"- config_name: c%d\n" % n for n in range(5000))
    content = b"---\nlicense: mit\nconfigs:\n%s---\n%s" % (rows, b"text\n" * 300_000)
    answer = target.hub.call("POST", "/api/validate-yaml", {"content": content.decode(), "repoType": "dataset"})
    target.made(put("README.md", content))

    assert (answer.status, answer.json()["errors"]) == (200, [])
    assert len(target.hub.call("GET", f"/api/models/{target.name}").json()["cardData"]["configs"]) == 5000


def test_w18_one_last_modified(hub: Any, tmp_path: Path) -> None:
    """When the hub moved the default branch, whatever the commit says; another branch is none of it."""
    name = hub.repo()
    dates = {"GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z"}
    identity = ("-c", "user.name=A", "-c", "user.email=a@b.c")
    subprocess.run(["git", "init", "-q", "-b", "main", tmp_path], check=True)
    subprocess.run(
        ["git", *identity, "commit", "-q", "--allow-empty", "-m", "m"],
        check=True,
        cwd=tmp_path,
        env={**os.environ, **dates},
    )
    subprocess.run(["git", "push", "-q", hub.git_url(name), "main"], check=True, cwd=tmp_path)
    shown = hub.call("GET", f"/api/models/{name}").json()["lastModified"]
    subprocess.run(["git", "push", "-q", hub.git_url(name), "main:other"], check=True, cwd=tmp_path)
    later = hub.call("GET", f"/api/models/{name}/revision/other").json()["lastModified"]
    listed = hub.call("GET", f"/api/models?search={name}").json()[0]["lastModified"]

    assert shown == later == listed
    assert abs(datetime.fromisoformat(shown) - datetime.now(UTC)).total_seconds() < 300


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/models/gpt2/revision/main"),
        ("GET", "/api/datasets/squad/tree/main"),
        ("GET", "/api/models/gpt2/tree/main/a/b?recursive=true"),
        ("GET", "/api/models/gpt2/commits/main"),
        ("POST", "/api/datasets/squad/paths-info/main"),
        ("POST", "/api/models/gpt2/preupload/main"),
        ("GET", "/api/models/gpt2/xet-write-token/main"),
        ("GET", "/api/models/gpt2/refs"),
        ("GET", "/datasets/squad/resolve/main/a.txt"),
        ("GET", "/gpt2/raw/main/a.txt"),
    ],
)
def test_w19_names_of_one_word_are_missing_repositories(hub: Any, method: str, path: str) -> None:
    answer = hub.call(method, path, {} if method == "POST" else None)

    assert (answer.status, answer.headers["X-Error-Code"]) == (404, "RepoNotFound")
    assert "ataset repository squad" in answer.json()["error"] or "squad" not in path


def test_w19_a_repository_may_be_called_tree(hub: Any) -> None:
    target = Target(hub, "alice/tree")
    assert hub.call("POST", "/api/repos/create", {"name": "tree", "type": "model", "init": True}).status == 200

    assert list(target.tree()) == [".gitattributes"]
    assert hub.call("GET", "/alice/tree/resolve/main/.gitattributes").status == 200
    assert hub.call("GET", "/api/models/alice/tree/branch-rules").status == 200


def test_w22_search_takes_words(hub: Any) -> None:
    mark = uuid.uuid4().hex[:10]
    for name in (f"{mark}-red-apple", f"{mark}-red-plum", f"{mark}_%-green"):
        assert hub.call("POST", "/api/repos/create", {"name": name, "type": "model"}).status in (200, 400)

    def found(query: str) -> list[str]:
        return sorted(row["id"].removeprefix(f"alice/{mark}") for row in hub.call("GET", f"/api/models?{query}").json())

    assert found(f"search={mark}+apple+RED") == ["-red-apple"]
    assert found(f"search={mark}&search=red") == ["-red-apple", "-red-plum"]
    assert found(f"search=alice/{mark}+plum") == ["-red-plum"]
    assert found(f"search={mark}+apple+plum") == []
    assert found(f"search={mark}+r_d") == []
    assert hub.call("GET", "/api/models?search=" + "+".join("abcdefghijk")).status == 400


def test_w23_branches_are_moved_and_emptied(target: Target) -> None:
    first, second = target.made(put("a.txt", b"a")), target.made(put("b.txt", b"b"))
    branch = f"/api/models/{target.name}/branch/"

    def made(name: str, **body: Any) -> int:
        return int(target.hub.call("POST", branch + name, body).status)

    assert (made("x", startingPoint=first), made("x", startingPoint=second)) == (200, 409)
    assert (made("x", startingPoint=second, overwrite=True), target.tip("x")) == (200, second)
    assert (made("x", startingPoint=first, overwrite=True), target.tip("x")) == (200, first)
    assert (made("x", overwrite=True), target.tip("x")) == (200, first), "nothing says where to"
    assert (made("void", emptyBranch=True), target.tree("void"), len(target.history("void"))) == (200, {}, 1)
    assert (made("x", emptyBranch=True), made("x", emptyBranch=True, overwrite=True), target.tree("x")) == (
        409,
        200,
        {},
    )
    assert target.commit(head(), put("c.txt", b"c"), branch="void").status == 200
    assert list(target.tree("void")) == ["c.txt"]


def test_w24_fields_by_kind(hub: Any, filled: Any) -> None:
    assert hub.call("GET", f"/api/models/{filled.name}?expand=gitalyUid").status == 200
    assert hub.call("GET", "/api/datasets?expand=safetensors").status == 400
    assert hub.call("GET", "/api/models?expand=safetensors").status == 200


@pytest.mark.parametrize("way", ["resolve", "raw"])
def test_w25_download_as_attachment(hub: Any, filled: Any, way: str) -> None:
    shown = {
        query: hub.call("GET", f"/{filled.name}/{way}/main/a.txt{query}").headers["Content-Disposition"] for query in ("", "?download=true")
    }

    assert shown[""].startswith("inline;")
    assert shown["?download=true"] == shown[""].replace("inline", "attachment")


def test_w32_nothing_is_scanned_and_it_says_so(hub: Any, filled: Any) -> None:
    api = f"/api/models/{filled.name}"
    rows = hub.call("GET", f"{api}/tree/main?expand=true").json()
    asked = hub.call("POST", f"{api}/paths-info/main", {"paths": ["a.txt"], "expand": True}).json()
    status = {"status": "unscanned", "avScan": None, "pickleImportScan": None}

    assert hub.call("GET", f"{api}?securityStatus=true").json()["securityRepoStatus"] == {
        "scansDone": False,
        "filesWithIssues": [],
    }
    assert "securityRepoStatus" not in hub.call("GET", api).json()
    assert [row["securityFileStatus"] for row in [*rows, *asked] if row["type"] == "file"]
    assert all(row.get("securityFileStatus") == status for row in [*rows, *asked] if row["type"] == "file")
    assert all("securityFileStatus" not in row for row in hub.call("GET", f"{api}/tree/main").json())


def test_w11_the_way_of_huggingface_js(target: Target) -> None:
    """Its batch request, and the parts of it that other clients do not send."""
    data = b"x" * 1000
    body: dict[str, Any] = {
        "operation": "upload",
        "transfers": ["basic", "multipart", "xet"],
        "hash_algo": "sha_256",
        "ref": {"name": "main"},
        "objects": [{"oid": sha256(data), "size": len(data)}],
    }
    media = {"Content_Type": "application/vnd.git-lfs+json", "Accept": "application/vnd.git-lfs+json"}
    answer = target.hub.call("POST", f"/{target.name}.git/info/lfs/objects/batch", body, **media)
    other = target.hub.call("POST", f"/{target.name}.git/info/lfs/objects/batch", {**body, "hash_algo": "sha512"}, **media)
    verify = answer.json()["objects"][0]["actions"]["verify"]["href"].removeprefix(target.hub.url)

    assert answer.status == 200
    assert other.status == 409, "H17"
    assert "sha512" in other.json()["message"]
    for path in (
        verify.partition("?")[0],
        verify.partition("&signature")[0],
        verify.replace("size=", "was="),
    ):
        assert target.hub.call("POST", path, body["objects"][0], token="", **media).status == 403, "H17"

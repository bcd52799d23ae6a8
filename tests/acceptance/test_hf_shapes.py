"""What the write calls answer, raw, field by field, as the Hugging Face clients read it."""

import base64
import hashlib
import json
import re
import uuid
from typing import Any
from urllib.parse import quote

import pytest

SHA1, SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
TEXT = re.compile(r"(?s).+")
LARGE = b"\0large" * 400_000
LAST_COMMIT = {"id": SHA1, "title": TEXT, "date": DATE}
LFS = {"oid": SHA256, "size": int, "pointerSize": int}
ACCESS_TOKEN = {"displayName": TEXT, "role": "write", "createdAt": DATE}
NAMES = {"name": "alice", "fullname": TEXT, "email": TEXT, "emailVerified": bool, "avatarUrl": str}
WHOAMI = {"type": "user", "id": TEXT, **NAMES, "isPro": bool, "orgs": [dict], "auth": {"type": "access_token", "accessToken": ACCESS_TOKEN}}


def faults(value: Any, shape: Any, where: str = "$") -> list[str]:
    """Where `value` is not as `shape` says: a type, a pattern, a value, a list of one shape, or a dict whose keys must be there."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{where} is {value!r}"]
        missing = [f"{where}.{key} is missing" for key in shape.keys() - value.keys()]
        return missing + [fault for key in shape.keys() & value.keys() for fault in faults(value[key], shape[key], f"{where}.{key}")]
    if isinstance(shape, list):
        rows = value if isinstance(value, list) else [None]
        return [fault for number, row in enumerate(rows) for fault in faults(row, shape[0], f"{where}[{number}]")]
    if isinstance(shape, re.Pattern):
        fits = isinstance(value, str) and shape.fullmatch(value) is not None
    else:
        fits = type(value) is shape if isinstance(shape, type) else value == shape
    return [] if fits else [f"{where} is {value!r}"]


def new_repo(hub: Any, kind: str = "model") -> str:
    """As huggingface_hub makes one: with its first commit."""
    name = "s" + uuid.uuid4().hex[:12]
    assert hub.call("POST", "/api/repos/create", {"name": name, "type": kind, "init": True}).status == 200
    return f"alice/{name}"


def commit(hub: Any, name: str, *lines: tuple[str, dict[str, Any]], revision: str = "main", **header: str) -> Any:
    rows = [{"key": "header", "value": {"summary": "Change", "description": "", **header}}]
    rows += [{"key": key, "value": value} for key, value in lines]
    body = "\n".join(json.dumps(row) for row in rows).encode()
    return hub.call("POST", f"/api/models/{name}/commit/{revision}", body, Content_Type="application/x-ndjson")


def inline(path: str, data: bytes) -> tuple[str, dict[str, Any]]:
    return "file", {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}


def upload(hub: Any, name: str, data: bytes) -> str:
    """By LFS; the oid."""
    oid = hashlib.sha256(data).hexdigest()
    body = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": oid, "size": len(data)}], "hash_algo": "sha256"}
    lfs = "application/vnd.git-lfs+json"
    answer = hub.call("POST", f"/{name}.git/info/lfs/objects/batch", body, Accept=lfs, Content_Type=lfs)
    href = answer.json()["objects"][0]["actions"]["upload"]["href"].removeprefix(hub.url)
    assert hub.call("PUT", href, data, token="").status == 200
    return oid


def test_create_repo_answers_and_answers_again(hub: Any) -> None:
    for kind, prefix in (("model", ""), ("dataset", "datasets/"), ("space", "spaces/")):
        name = "c" + uuid.uuid4().hex[:12]
        url = f"{hub.url}/{prefix}alice/{name}"
        body = {"name": name, "organization": None, "type": kind, "visibility": "private"} | ({"sdk": "static"} if kind == "space" else {})
        made, again = hub.call("POST", "/api/repos/create", body), hub.call("POST", "/api/repos/create", body)
        assert (made.status, faults(made.json(), {"url": url, "name": f"alice/{name}", "id": TEXT})) == (200, [])
        assert (again.status, faults(again.json(), {"url": url, "error": TEXT})) == (409, [])
    elsewhere = hub.call("POST", "/api/repos/create", {"name": "x", "organization": "bob"})
    assert (elsewhere.status, faults(elsewhere.json(), {"error": TEXT})) == (403, [])


def test_a_new_repository_begins_with_an_initial_commit(hub: Any) -> None:
    name = new_repo(hub)
    commits = hub.call("GET", f"/api/models/{name}/commits/main").json()
    tree = hub.call("GET", f"/api/models/{name}/tree/main").json()
    assert [row["title"] for row in commits] == ["initial commit"]
    assert [row["path"] for row in tree] == [".gitattributes"]


def test_preupload(hub: Any) -> None:
    name = new_repo(hub)
    oid = upload(hub, name, LARGE)
    ignored = [inline(".gitignore", b"*.log\n"), inline("kept.txt", b"kept")]
    assert commit(hub, name, *ignored, ("lfsFile", {"path": "large.dat", "algo": "sha256", "oid": oid, "size": len(LARGE)})).status == 200
    wanted = {  # path: size, sample, mode, is ignored, oid
        "a.txt": (9, b"text", "regular", False, None),
        "a.parquet": (9, b"PAR1", "lfs", False, None),
        "a.safetensors": (9, b"x", "lfs", False, None),
        "empty.bin": (0, b"", "regular", False, None),
        "wide.txt": (11 << 20, b"text", "lfs", False, None),
        "binary.dat": (2 << 20, b"\0\1", "lfs", False, None),
        "binary-small.dat": (1 << 19, b"\0\1", "regular", False, None),
        "deep/a.log": (9, b"text", "regular", True, None),
        "kept.txt": (4, b"kept", "regular", False, hashlib.sha1(b"blob 4\0kept").hexdigest()),
        "large.dat": (len(LARGE), LARGE[:512], "lfs", False, oid),
    }
    files = [{"path": path, "size": row[0], "sample": base64.b64encode(row[1]).decode()} for path, row in wanted.items()]
    answer = hub.call("POST", f"/api/models/{name}/preupload/main", {"files": files})
    rows = answer.json()["files"]
    assert answer.status == 200
    assert faults(rows, [{"path": TEXT, "uploadMode": re.compile("lfs|regular"), "shouldIgnore": bool}]) == []
    assert {row["path"]: (row["uploadMode"], row["shouldIgnore"], row.get("oid")) for row in rows} == {p: w[2:] for p, w in wanted.items()}
    own = hub.call("POST", f"/api/models/{name}/preupload/main", {"files": files, "gitIgnore": "*.txt\n"}).json()["files"]
    assert [row["path"] for row in own if row["shouldIgnore"]] == ["a.txt", "wide.txt", "kept.txt"]


def test_commit_and_what_is_read_of_it(hub: Any) -> None:
    name = new_repo(hub)
    oid = upload(hub, name, LARGE)
    large = ("lfsFile", {"path": "a/large.bin", "algo": "sha256", "oid": oid, "size": len(LARGE)})
    made = commit(hub, name, inline("a/é.txt", b"text"), large, summary="Title", description="Body.\n\nMore.")
    shape = {"commitOid": SHA1, "commitUrl": f"{hub.url}/{name}/commit/{made.json()['commitOid']}"}
    assert (made.status, faults(made.json(), shape)) == (200, [])
    copied = commit(hub, name, ("lfsFile", {"path": "copy.bin", "algo": "sha256", "oid": oid}), summary="Copy")
    folder = {"type": "directory", "path": TEXT, "oid": SHA1, "size": 0, "lastCommit": LAST_COMMIT}
    file = {"type": "file", "path": TEXT, "oid": SHA1, "size": int, "lastCommit": LAST_COMMIT}

    tree = hub.call("GET", f"/api/models/{name}/tree/main?recursive=true&expand=true").json()
    rows = {row["path"]: row for row in tree}
    assert [*rows] == [".gitattributes", "a", "a/large.bin", "a/é.txt", "copy.bin"]
    assert faults([row for row in tree if row["type"] == "directory"], [folder]) == faults(rows["a/é.txt"], file) == []
    assert (
        faults([rows["a/large.bin"], rows["copy.bin"]], [file | {"size": len(LARGE), "lfs": LFS | {"oid": oid, "size": len(LARGE)}}]) == []
    )
    assert rows["copy.bin"]["lastCommit"] | {"date": ""} == {"id": copied.json()["commitOid"], "title": "Copy", "date": ""}
    assert not [row for row in tree if ("lfs" in row) is not row["path"].endswith(".bin") or "xetHash" in row]
    assert rows["a/é.txt"]["oid"] == hashlib.sha1(b"blob 4\0text").hexdigest()

    form = "&".join("paths=" + quote(path) for path in ("copy.bin", "nope", "a", "a/é.txt")) + "&expand=true"
    url = f"/api/models/{name}/paths-info/main"
    paths = hub.call("POST", url, form.encode(), Content_Type="application/x-www-form-urlencoded").json()
    assert paths == [rows["copy.bin"], rows["a"], rows["a/é.txt"]]
    siblings = hub.call("GET", f"/api/models/{name}?blobs=true").json()["siblings"]
    lfs = {"sha256": oid, "size": len(LARGE), "pointerSize": rows["copy.bin"]["lfs"]["pointerSize"]}
    assert [row["lfs"] for row in siblings if "lfs" in row] == [lfs, lfs]


def test_commits(hub: Any) -> None:
    name = new_repo(hub)
    assert commit(hub, name, inline("a", b"a"), summary="Title", description="Body.\n\nMore.").status == 200
    assert commit(hub, name, inline("a", b"b"), summary="Copy").status == 200
    commits = hub.call("GET", f"/api/models/{name}/commits/main?expand[]=formatted").json()
    row = {
        "id": SHA1,
        "title": TEXT,
        "message": str,
        "date": DATE,
        "authors": [{"user": "alice"}],
        "formatted": {"title": str, "message": str},
    }
    assert faults(commits, [row]) == []
    assert [(row["title"], row["message"]) for row in commits] == [("Copy", ""), ("Title", "Body.\n\nMore."), ("initial commit", "")]


def test_a_tracked_file_that_comes_inline_becomes_large(hub: Any) -> None:
    name, data = new_repo(hub), b"inline"
    assert commit(hub, name, inline("a.bin", data), inline("a.txt", data), inline("empty.bin", b"")).status == 200
    rows = {row["path"]: row for row in hub.call("GET", f"/api/models/{name}/tree/main").json()}
    assert rows["a.bin"]["lfs"] == {
        "oid": hashlib.sha256(data).hexdigest(),
        "size": len(data),
        "pointerSize": rows["a.bin"]["lfs"]["pointerSize"],
    }
    assert "lfs" not in rows["a.txt"] | rows["empty.bin"]
    assert hub.call("GET", f"/{name}/resolve/main/a.bin").body == data


REFUSALS = [
    ("deletedFile", {"path": "nope"}, 404, "EntryNotFound", "A file with this name doesn't exist"),
    ("deletedFolder", {"path": "nope/"}, 404, "EntryNotFound", "A file with this name doesn't exist"),
    ("copyFile", {"path": "b", "srcPath": "nope"}, 404, "EntryNotFound", ""),
    ("file", {"path": "..\\x", "content": "", "encoding": "base64"}, 422, None, "backslash"),
    ("file", {"path": "a/../x", "content": "", "encoding": "base64"}, 422, None, ".."),
    ("file", {"path": ".git/config", "content": "", "encoding": "base64"}, 422, None, ".git"),
    ("lfsFile", {"path": "a.bin", "algo": "sha256", "oid": "0" * 64, "size": 5}, 400, None, "0" * 64),
    ("thing", {"path": "a"}, 400, None, "thing"),
]


@pytest.mark.parametrize(
    ("key", "value", "status", "code", "message"), REFUSALS, ids=[f"{row[0]}-{row[2]}-{n}" for n, row in enumerate(REFUSALS)]
)
def test_refused_commits_say_why(hub: Any, key: str, value: dict[str, Any], status: int, code: str | None, message: str) -> None:
    name = new_repo(hub)
    before = hub.call("GET", f"/api/models/{name}/refs").json()
    answer = commit(hub, name, inline("good.txt", b"good"), (key, value))

    assert (answer.status, answer.headers.get("X-Error-Code")) == (status, code)
    assert message in answer.json()["error"]
    assert message in answer.headers["X-Error-Message"]
    assert hub.call("GET", f"/api/models/{name}/refs").json() == before


def test_refused_revisions_and_rights(hub: Any) -> None:
    name = new_repo(hub)
    first = hub.call("GET", f"/api/models/{name}/refs").json()["branches"][0]["targetCommit"]
    assert commit(hub, name, inline("a", b"a"), parentCommit=first).status == 200
    stale = commit(hub, name, inline("b", b"b"), parentCommit=first)
    message = "The branch was updated since you opened this page. Please refresh and try again."
    assert (stale.status, stale.json()["error"], stale.headers["X-Error-Message"]) == (412, message, message)
    missing, fixed = (commit(hub, name, inline("b", b"b"), revision=revision) for revision in ("nope", first))
    assert (missing.status, missing.headers.get("X-Error-Code")) == (404, "RevisionNotFound")
    assert (fixed.status, first in fixed.json()["error"]) == (400, True)
    for token, status, code in ((hub.token2, 403, None), ("", 401, "RepoNotFound"), ("wrong", 401, None)):
        refused = hub.call("POST", f"/api/models/{name}/commit/main", b"{}", token=token)
        assert (refused.status, refused.headers.get("X-Error-Code")) == (status, code)


def test_refs(hub: Any) -> None:
    name = new_repo(hub)
    url = f"/api/models/{name}"
    assert hub.call("POST", url + "/branch/dev%2Fx", {}).status == 200
    assert hub.call("POST", url + "/branch/v1", {"startingPoint": "main"}).status == 200
    assert hub.call("POST", url + "/tag/main", {"tag": "v1", "message": "Note"}).status == 200
    refs = hub.call("GET", url + "/refs?include_prs=1").json()
    rows = [{"name": TEXT, "ref": TEXT, "targetCommit": SHA1}]
    assert faults(refs, {"branches": rows, "converts": rows, "tags": rows, "pullRequests": rows}) == []
    assert [row["ref"] for row in refs["branches"]] == ["refs/heads/dev/x", "refs/heads/main", "refs/heads/v1"]
    assert [row["ref"] for row in refs["tags"]] == ["refs/tags/v1"]
    assert len({row["targetCommit"] for row in refs["branches"] + refs["tags"]}) == 1
    answers = [
        (hub.call("POST", url + "/branch/dev%2Fx"), 409, "Reference refs/heads/dev/x already exists"),
        (hub.call("POST", url + "/tag/main", {"tag": "v1"}), 409, "Reference refs/tags/v1 already exists"),
        (hub.call("DELETE", url + "/branch/main"), 403, "Cannot delete refs/heads/main"),
        (hub.call("DELETE", url + "/branch/nope"), 404, "Invalid rev id: "),
        (hub.call("DELETE", url + "/tag/nope"), 404, "Invalid rev id: "),
        (hub.call("POST", url + "/tag/main", {"tag": "a..b"}), 400, "a..b"),
    ]
    assert [answer.status for answer, _, _ in answers] == [status for _, status, _ in answers]
    assert [message for answer, _, message in answers if message not in answer.json()["error"]] == []


def test_whoami(hub: Any) -> None:
    assert faults(hub.call("GET", "/api/whoami-v2").json(), WHOAMI) == []


def test_who_is_not_known(hub: Any) -> None:
    wrong = hub.call("GET", "/api/whoami-v2", token="hf_wrong", X_Amzn_Trace_Id="trace-1")
    assert (wrong.status, wrong.headers["X-Error-Message"]) == (401, "Invalid credentials in Authorization header")
    assert wrong.headers["X-Request-Id"] == "trace-1"


def test_xet_token(hub: Any) -> None:
    name = new_repo(hub)
    answer = hub.call("GET", f"/api/models/{name}/xet-write-token/main")
    body = answer.json()
    assert faults(body, {"casUrl": re.compile(re.escape(hub.url) + "/.+"), "accessToken": TEXT, "exp": int}) == []
    shown = [answer.headers[f"X-Xet-{field}"] for field in ("Cas-Url", "Access-Token", "Token-Expiration")]
    assert shown == [body["casUrl"], body["accessToken"], str(body["exp"])]
    assert hub.call("GET", f"/api/models/{name}/xet-write-token/main", token=hub.token2).status == 403

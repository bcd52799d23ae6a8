"""What a new repository begins with, by the client that asks and by what it says (docs/decisions/0003)."""

import base64
import uuid
from typing import Any

import pytest

from hfcompat.writing.beginning import beginning_of, is_begun
from storage.errors import BadPath, Invalid, TooLarge
from storage.limits import Limits
from storage.records import RepoKind
from tests.hfcompat.commits import Target, pointer

LIMITS = Limits()
BINARY = b"\0\1" * 300


def create(hub: Any, **body: Any) -> Any:
    return hub.call("POST", "/api/repos/create", {"name": "t" + uuid.uuid4().hex[:12], "type": "model", **body})


def sent(path: str, content: bytes) -> dict[str, str]:
    return {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}


@pytest.mark.parametrize(
    ("body", "agent", "begun"),
    [
        ({}, "", False),
        ({}, "curl/8", False),
        ({"private": False}, "", False),
        ({"organization": None, "private": True}, "", False),
        ({"organization": "alice", "private": False}, "", False),
        ({"organization": "alice"}, "node", True),
        ({"organization": "alice", "visibility": "private"}, "", True),
        ({"visibility": "private"}, "unknown/None; hf_hub/2.4.0; python/3.11", True),
        ({"license": "mit"}, "", True),
        ({"files": [{}]}, "", True),
        ({"init": False, "organization": "alice"}, "hf_hub/2.4.0", False),
        ({"init": True, "private": False}, "", True),
    ],
)
def test_w12_who_gets_a_first_commit(body: dict[str, Any], agent: str, begun: bool) -> None:
    assert is_begun(body, agent) is begun


def test_w12_as_huggingface_js_creates(hub: Any) -> None:
    """With what the body brings: files by the rules of a commit, the licence in the card."""
    files = [sent("a/b.txt", b"text"), sent("weights.safetensors", BINARY)]
    made = create(hub, organization="alice", visibility="private", license="cc-by-4.0", files=files)
    assert made.status == 200, made.body
    target = Target(hub, made.json()["name"])
    info = hub.call("GET", f"/api/models/{target.name}").json()

    assert sorted(target.tree()) == [".gitattributes", "README.md", "a/b.txt", "weights.safetensors"]
    assert [row["title"] for row in target.history()] == ["initial commit"]
    assert target.read("a/b.txt") == b"text"
    assert target.read("weights.safetensors") == BINARY
    assert hub.call("GET", f"/{target.name}/raw/main/weights.safetensors").body == pointer(BINARY)
    assert (info["sha"], info["cardData"]) == (target.tip(), {"license": "cc-by-4.0"})


def test_w12_a_readme_that_is_sent_wins(hub: Any) -> None:
    made = create(
        hub,
        type="space",
        sdk="static",
        license="mit",
        files=[sent("README.md", b"---\nsdk: static\n---\nMine")],
    )
    name = made.json()["name"]

    assert hub.call("GET", f"/spaces/{name}/resolve/main/README.md").body == b"---\nsdk: static\n---\nMine"
    assert hub.call("GET", f"/spaces/{name}/resolve/main/index.html").status == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"files": [sent("a", b""), sent("a/b", b"")]}, 422),
        ({"files": [sent("../a", b"")]}, 422),
        ({"license": "none-such"}, 400),
    ],
)
def test_w12_what_cannot_be_committed_makes_no_repository(hub: Any, body: dict[str, Any], status: int) -> None:
    name = "t" + uuid.uuid4().hex[:12]

    assert create(hub, name=name, **body).status == status
    assert hub.call("GET", f"/api/models/alice/{name}").status == 404


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"files": [sent(str(n), b"") for n in range(101)]}, TooLarge),
        ({"files": ["a"]}, Invalid),
        ({"files": "a"}, Invalid),
        ({"files": [{"path": "a", "content": "%"}]}, Invalid),
        ({"files": [{"path": "a", "content": "x", "encoding": "hex"}]}, Invalid),
        ({"files": [{"path": "a", "content": "\ud800", "encoding": "utf-8"}]}, Invalid),
        ({"files": [{"content": ""}]}, BadPath),
        ({"license": ["mit"]}, Invalid),
        ({"init": False, "files": [sent("a", b"")]}, Invalid),
        ({"sdk": "none"}, Invalid),
    ],
)
def test_w12_what_is_refused(body: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        beginning_of(body, RepoKind.SPACE, LIMITS)


@pytest.mark.parametrize(
    "lost",
    [
        {"secrets": [{"key": "a", "value": "b"}]},
        {"variables": [{"key": "a", "value": "b"}]},
        {"hardware": "t4-small"},
    ],
)
def test_w21_what_would_be_lost_is_refused(hub: Any, lost: dict[str, Any]) -> None:
    name = "t" + uuid.uuid4().hex[:12]
    answer = create(hub, name=name, type="space", sdk="static", **lost)

    assert answer.status == 400
    assert next(iter(lost)) in answer.headers["X-Error-Message"]
    assert hub.call("GET", f"/api/spaces/alice/{name}").status == 404

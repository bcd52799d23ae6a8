"""LFS pointers as other tools write them, pushed by real git and resolved."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from lfs.objects.possession import EMPTY
from lfs.pointer import Pointer, serialize
from tests.gitserver.test_push import Pushing

LFS = "application/vnd.git-lfs+json"


@pytest.fixture
def pushing(hub: Any, tmp_path: Path) -> Pushing:
    return Pushing(hub, tmp_path / "work")


def batch(pushing: Pushing, operation: str, oid: str, size: int) -> dict[str, Any]:
    asked = {"operation": operation, "objects": [{"oid": oid, "size": size}]}
    path = f"/{pushing.name}.git/info/lfs/objects/batch"
    answer = pushing.hub.call("POST", path, asked, Content_Type=LFS, Accept=LFS).json()["objects"][0]
    assert isinstance(answer, dict)
    return answer


def resolved(pushing: Pushing, path: str) -> tuple[int, bytes]:
    answer = pushing.hub.call("GET", f"/{pushing.name}/resolve/main/{path}")
    return answer.status, answer.body


def test_g5_a_pointer_of_an_empty_file_resolves_to_nothing(pushing: Pushing) -> None:
    pushing.commit("empty.bin", serialize(Pointer(EMPTY.sha256, 0)).decode())
    pushing("push", "-q", pushing.url, "main")

    assert resolved(pushing, "empty.bin") == (200, b"")
    assert "actions" not in batch(pushing, "upload", EMPTY.sha256, 0)
    href = batch(pushing, "download", EMPTY.sha256, 0)["actions"]["download"]["href"]
    answer = pushing.hub.call("GET", href.removeprefix(pushing.hub.url))
    assert (answer.status, answer.body) == (200, b"")


def test_g5_a_commit_of_the_api_may_name_the_empty_object(pushing: Pushing) -> None:
    head = {"key": "header", "value": {"summary": "empty"}}
    file = {"key": "lfsFile", "value": {"path": "empty.bin", "algo": "sha256", "oid": EMPTY.sha256, "size": 0}}
    lines = "\n".join(map(json.dumps, (head, file))).encode()
    answer = pushing.hub.call("POST", f"/api/models/{pushing.name}/commit/main", lines, Content_Type="application/x-ndjson")

    assert answer.status == 200, answer.body
    assert resolved(pushing, "empty.bin") == (200, b"")


def test_g6_a_pointer_with_blanks_around_it_is_checked_and_resolved_like_any_other(pushing: Pushing) -> None:
    data = b"weights of " + pushing.name.encode()
    oid = hashlib.sha256(data).hexdigest()
    pushing.commit("model.dat", "\n\n" + serialize(Pointer(oid, len(data))).decode() + "  \n")
    refused = pushing.refused("main")
    action = batch(pushing, "upload", oid, len(data))["actions"]["upload"]
    pushing.hub.call("PUT", action["href"].removeprefix(pushing.hub.url), data, Content_Type="application/octet-stream")
    pushing("push", "-q", pushing.url, "main")

    assert f"remote:   {oid} ({len(data)} bytes)" in refused
    assert resolved(pushing, "model.dat") == (200, data)

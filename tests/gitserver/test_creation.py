"""Repositories that are made by the first push to them (G8), over HTTP; tests/ssh has the same over SSH."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub.app import endpoints
from hub.services import build
from hub.settings import Settings

LFS = {"Content_Type": "application/vnd.git-lfs+json", "Accept": "application/vnd.git-lfs+json"}


@pytest.fixture
def git(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    env = {**os.environ, "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main", *words]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)

    assert run("init", "-q").returncode == 0
    return run


def fresh() -> str:
    return "alice/p" + uuid.uuid4().hex[:12]


@pytest.mark.parametrize("with_lfs", [False, True])
def test_g8_a_push_makes_the_repository(hub: Any, git: Any, tmp_path: Path, with_lfs: bool) -> None:
    name = fresh()
    (tmp_path / "a.bin").write_bytes(b"weights")
    if with_lfs:
        git("lfs", "install", "--local")
        git("lfs", "track", "*.bin")
    git("add", "a.bin")
    git("add", "-A", ".gitattributes")
    git("commit", "-q", "-m", "first")
    pushed = git("-c", "lfs.locksverify=true", "push", hub.git_url(name), "main")
    info = hub.call("GET", f"/api/models/{name}").json()

    assert pushed.returncode == 0, pushed.stderr
    assert f"remote: Created the private repository {name}: {hub.url}/{name}" in pushed.stderr
    assert info["private"] is True
    assert hub.call("GET", f"/{name}/resolve/main/a.bin").body == b"weights"
    assert "Created" not in git("push", hub.git_url(name), "main:again").stderr
    assert hub.call("GET", f"/api/models/{name}", token=hub.token2).status == 404


def test_g8_of_its_kind(hub: Any, git: Any) -> None:
    name = fresh()
    git("commit", "-q", "--allow-empty", "-m", "first")

    assert git("push", hub.git_url(f"datasets/{name}"), "main").returncode == 0
    assert hub.call("GET", f"/api/datasets/{name}").status == 200
    assert hub.call("GET", f"/api/models/{name}").status == 404


def test_g8_asking_makes_nothing(hub: Any) -> None:
    """Nor does a fetch, a download, a deletion, or anything of others."""
    name = fresh()
    base = f"/{name}.git"
    objects = {"operation": "download", "objects": [{"oid": "0" * 64, "size": 1}]}
    upload = objects | {"operation": "upload"}

    def lfs(below: str, body: Any, token: str | None = None) -> Any:
        return hub.call("POST", f"{base}/info/lfs/{below}", body, token=token, **LFS)

    shown = hub.call("GET", f"{base}/info/refs?service=git-receive-pack")
    assert b"capabilities^{}" in shown.body
    assert lfs("locks/verify", {}).json() == {"ours": [], "theirs": []}
    assert hub.call("GET", f"{base}/info/refs?service=git-upload-pack").status == 404
    assert lfs("objects/batch", objects).status == 404
    assert hub.call("GET", f"{base}/info/refs?service=git-receive-pack", token=hub.token2).status == 404
    assert hub.call("GET", f"{base}/info/refs?service=git-receive-pack", token="").status == 401
    assert lfs("objects/batch", upload, token=hub.token2).status == 404
    gone = b"0066" + b"1" * 40 + b" " + b"0" * 40 + b" refs/heads/x\0 x\n0000"
    kind = "application/x-git-receive-pack-request"
    assert hub.call("POST", f"{base}/git-receive-pack", gone, Content_Type=kind).status == 404
    assert hub.call("GET", f"/api/models/{name}").status == 404


def test_g8_off_by_a_setting(tmp_path: Path) -> None:
    services = build(Settings(data=tmp_path / "data", create_on_push=False))
    try:
        assert services.creation is None
        assert not any(row.creates for row in endpoints(services))
    finally:
        services.close()

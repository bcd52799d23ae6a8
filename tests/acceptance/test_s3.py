"""The real clients on a hub whose large objects lie on S3, through the hub and by signed URLs."""

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.hfcompat.commits import Target, large, sha256

MIB = 1 << 20


@pytest.fixture(params=["s3_hub", "s3_link_hub"])
def hub(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def is_direct(hub: Any) -> bool:
    """Whether the hub has sent clients away for their bytes: it has logged redirects then."""
    return any("/resolve/" in line and " 302 " in line for line in hub.log.read_text("utf-8").splitlines())


def test_git_lfs_and_hugging_face(hub: Any, machine: Any, another_machine: Any, request: pytest.FixtureRequest) -> None:
    name = hub.repo(private=True)
    work = machine.home / "work"
    machine.run("git", "clone", "-q", hub.git_url(name), str(work))
    machine.git(work, "lfs", "track", "*.bin")
    by_git, by_hf = os.urandom(20 * MIB), os.urandom(19 * MIB)
    (work / "git é.bin").write_bytes(by_git)
    machine.git(work, "add", "-A")
    machine.git(work, "commit", "-q", "-m", "Large")
    machine.git(work, "push", "-q", "origin", "HEAD")
    source = machine.home / "hf.bin"
    source.write_bytes(by_hf)
    machine.hf("upload", name, str(source), "sub/hf.bin")  # by Xet

    clone = another_machine.clone(name, "clone")
    another_machine.check_sound(clone, {"git é.bin": by_git, "sub/hf.bin": by_hf}, {"git é.bin", "sub/hf.bin"})
    target = another_machine.home / "target"
    another_machine.hf("download", name, "--local-dir", str(target))
    assert ((target / "git é.bin").read_bytes(), (target / "sub" / "hf.bin").read_bytes()) == (by_git, by_hf)
    assert is_direct(hub) == ("s3_link_hub" in request.node.name)


@pytest.mark.parametrize("hub", ["s3_hub"], indirect=True)
def test_200_mb_up_and_down_in_flat_memory(hub: Any, machine: Any, tmp_path: Path) -> None:
    name = hub.repo()
    work = machine.home / "work"
    machine.run("git", "clone", "-q", hub.git_url(name), str(work))
    machine.git(work, "lfs", "track", "*.bin")
    with (work / "big.bin").open("wb") as file:
        file.writelines(os.urandom(MIB) for _ in range(200))
    machine.git(work, "add", "-A")
    machine.git(work, "commit", "-q", "-m", "Big")
    process = psutil.Process(hub.process.pid)
    before = process.memory_info().rss
    machine.git(work, "push", "-q", "origin", "HEAD")
    clone = machine.clone(name, "clone")

    assert machine.git(clone, "lfs", "fsck") == "Git LFS fsck OK"
    assert process.memory_info().rss - before < 64 * MIB
    checked = hub.admin("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("hub", ["s3_link_hub"], indirect=True)
def test_head_never_redirects_and_a_redirect_is_bound(hub: Any, machine: Any) -> None:
    name = hub.repo()
    page = machine.home / "page.html"
    page.write_bytes(b"<script>alert(1)</script>" + os.urandom(11 * MIB))
    machine.hf("upload", name, str(page), "page.html")
    path = f"/{name}/resolve/main/page.html"
    head = hub.call("HEAD", path)
    got = hub.call("GET", path, Range="bytes=0-7")  # urllib follows

    assert head.status == 200
    assert head.headers["X-Linked-Size"] == str(page.stat().st_size)
    assert "Location" not in head.headers
    assert (got.status, got.body) == (206, b"<script>")
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["Content-Disposition"].startswith("attachment;")
    assert hub.call("GET", path, If_None_Match=head.headers["ETag"]).status == 304


@pytest.mark.parametrize("hub", ["s3_link_hub"], indirect=True)
def test_h12_conditions_hold_where_bytes_come_from_s3(hub: Any) -> None:
    target, data = Target(hub, hub.repo()), os.urandom(2000)
    target.upload(data)
    target.made(large("a.bin", data))
    path, tag = f"/{target.name}/resolve/main/a.bin", f'"{sha256(data)}"'
    parts = [hub.call("GET", path, Range="bytes=0-7", If_Range=condition) for condition in (tag, f"W/{tag}", '"other"')]

    assert [(part.status, part.body) for part in parts] == [(206, data[:8]), (200, data), (200, data)]
    assert [hub.call("GET", path, If_Match=condition).status for condition in (tag, f"W/{tag}", '"other"')] == [200, 412, 412]

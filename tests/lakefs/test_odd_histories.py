"""Histories of older programs in LakeFS: files as they are, ids as they were, and commits from both sides on top."""

from collections.abc import Callable
from typing import Any

from lfs.objects.possession import EMPTY
from lfs.pointer import Pointer, serialize
from tests.gitserver.test_odd_histories import odd_history
from tests.lakefs.lake import Lake, Work


def test_g1_g5_an_odd_history_is_files_in_lakefs_and_goes_on_there(
    hub: Any, new_work: Callable[..., Work], new_lake: Callable[[str], Lake]
) -> None:
    name = hub.repo()
    work = new_work(name)
    for raw in odd_history():
        (work.folder / ".git" / "raw").write_bytes(raw.data)
        tip = work("hash-object", "-w", "--literally", "-t", raw.kind.text.decode(), ".git/raw")
    work("push", "-q", "origin", f"{tip}:refs/heads/main")
    lake = new_lake(name)
    lake.branch("side", "main")
    lake.put("side", "folder/new", b"new")
    lake.commit("side", "direct")
    work("fetch", "-q", "origin")
    work("reset", "-q", "--hard", tip)
    work.write({"empty.bin": serialize(Pointer(EMPTY.sha256, 0))})
    work.push()
    files = lake.files("main")

    assert work("rev-parse", "origin/side^") == tip
    assert work("ls-tree", "-r", "--name-only", "origin/side").split() == ["folder/file", "folder/new", "folder/private"]
    assert set(files) == {"folder/file", "folder/private", "empty.bin"}
    assert files["empty.bin"]["size_bytes"] == 0
    assert hub.call("GET", f"/{name}/resolve/main/empty.bin").body == b""

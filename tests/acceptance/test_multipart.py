"""Multipart uploads by the real clients: huggingface_hub's own functions, and its transfer agent under git-lfs."""

import os
from pathlib import Path
from typing import Any

import pytest

MIB = 1 << 20
FILES = {"large.bin": 3 * MIB + 12345, "exact.bin": 3 * MIB, "small.bin": 5000}
CLIENTS = Path(__file__).parent.parent.parent / ".venv" / "clients"


@pytest.fixture
def hub(parts_hub: Any) -> Any:
    return parts_hub


@pytest.fixture(params=["newest", "0.36"])
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def write_files(folder: Path) -> dict[str, bytes]:
    contents = {name: os.urandom(size) for name, size in FILES.items()}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return contents


def requests(hub: Any, ending: str) -> int:
    """How many requests to LFS actions of that name the hub has logged."""
    return sum("/api/lfs/" in line and f"/{ending} " in line for line in hub.log.read_text("utf-8").splitlines())


LFS_UPLOAD = """
import sys, pathlib
from huggingface_hub import CommitOperationAdd, constants
from huggingface_hub.lfs import lfs_upload, post_lfs_batch_info
from huggingface_hub.utils import build_hf_headers
name, folder = sys.argv[1], pathlib.Path(sys.argv[2])
assert constants.HF_HUB_DISABLE_XET
adds = [CommitOperationAdd(path, str(folder / path)) for path in sys.argv[3:]]
for add in adds:
    add.upload_info.sha256
actions, errors, transfer = post_lfs_batch_info([a.upload_info for a in adds], None, "model", name, headers=build_hf_headers())
assert (errors, transfer) == ([], "multipart"), (errors, transfer)
for action in actions:
    (add,) = [a for a in adds if a.upload_info.sha256.hex() == action["oid"]]
    lfs_upload(add, action, headers=build_hf_headers())
again, _, transfer = post_lfs_batch_info([a.upload_info for a in adds], None, "model", name, headers=build_hf_headers())
assert [a.get("actions") for a in again] == [None] * len(adds) and transfer == "basic", (again, transfer)
"""


def test_huggingface_hub(machine: Any, hub: Any, client: str) -> None:
    name = hub.repo(private=True)
    contents = write_files(machine.home)
    machine.environment["HF_HUB_DISABLE_XET"] = "1"
    before = requests(hub, "part"), requests(hub, "complete"), requests(hub, "verify")
    machine.python(client, LFS_UPLOAD, name, str(machine.home), *contents)

    after = requests(hub, "part"), requests(hub, "complete"), requests(hub, "verify")
    assert [new - old for old, new in zip(before, after, strict=True)] == [4 + 3 + 1, 3, 3]
    push_and_compare(machine, hub, name, contents, agent="")


UPLOAD_FOLDER = """
import sys
from huggingface_hub import HfApi, snapshot_download
api, (name, folder, target) = HfApi(), sys.argv[1:]
api.upload_folder(repo_id=name, folder_path=folder, allow_patterns="*.bin")
snapshot_download(name, local_dir=target)
"""


def test_upload_folder_and_download(machine: Any, hub: Any, client: str) -> None:
    name, folder, target = hub.repo(private=True), machine.home / "model", machine.home / "target"
    folder.mkdir()
    contents = write_files(folder)
    machine.environment["HF_HUB_DISABLE_XET"] = "1"
    before = requests(hub, "part"), requests(hub, "complete")
    machine.python(client, UPLOAD_FOLDER, name, str(folder), str(target))

    after = requests(hub, "part"), requests(hub, "complete")
    assert {path: (target / path).read_bytes() for path in contents} == contents
    assert [new - old for old, new in zip(before, after, strict=True)] == [4 + 3 + 1, 3]


def test_the_git_lfs_agent(machine: Any, hub: Any, client: str) -> None:
    before = requests(hub, "part"), requests(hub, "complete")
    with_agent = str(CLIENTS / client / "bin" / "hf")
    push_and_compare(machine, hub, hub.repo(private=True), write_files(machine.home), agent=with_agent)

    after = requests(hub, "part"), requests(hub, "complete")
    assert [new - old for old, new in zip(before, after, strict=True)] == [4 + 3 + 1, 3]


def push_and_compare(machine: Any, hub: Any, name: str, contents: dict[str, bytes], *, agent: str) -> None:
    """Push the files with git-lfs, and clone them: what the hub has is what was sent."""
    work, clone = machine.home / "work", machine.home / "clone"
    machine.run("git", "clone", "-q", hub.git_url(name), str(work))
    if agent:
        machine.git(work, "config", "lfs.customtransfer.multipart.path", agent)
        machine.git(work, "config", "lfs.customtransfer.multipart.args", "lfs-multipart-upload")
    machine.git(work, "lfs", "track", "*.bin")
    for path, data in contents.items():
        (work / path).write_bytes(data)
    machine.git(work, "add", "-A")
    machine.git(work, "commit", "-q", "-m", "Large")
    machine.git(work, "push", "-q", "origin", "HEAD")
    machine.run("git", "clone", "-q", hub.git_url(name), str(clone))

    assert {path: (clone / path).read_bytes() for path in contents} == contents

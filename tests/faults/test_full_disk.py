"""O1: a full disk. Every door says so, nothing is lost, and the hub recovers by itself."""

import base64
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.command.admin import check
from hub.deployment import from_settings
from hub.services import build
from hub.settings import Settings
from storage.blobs.disk import DiskBlobStore
from storage.disk_space import DiskSpace
from storage.errors import DiskFull
from storage.records import BlobRef

FULL = "The hub's disk is full ("
DATA = os.urandom(300_000)  # more than is left, and nothing that could be made smaller
LFS = {"Content_Type": "application/vnd.git-lfs+json"}
GIT = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
# A small disk of the hub's own, which the test sees below /proc/<pid>/root. `exec` keeps the process what it was.
MOUNTED = 'mount -t tmpfs -o size=12m none "$1" && cp -a "$2/." "$1" && shift 2 && exec "$@"'


@dataclass(frozen=True)
class SmallDisk:
    """A hub whose disk the test fills and frees."""

    hub: Any
    data: Path  # as the test sees it
    ballast: Path
    is_mounted: bool

    def fill(self) -> None:
        """All but a page or two."""
        if not self.is_mounted:
            self.ballast.touch()
            return
        with self.ballast.open("wb", buffering=0) as file:
            room = os.statvfs(self.data)
            file.write(bytes((room.f_bavail - 2) * room.f_frsize))

    def free(self) -> None:
        self.ballast.unlink()


def may_mount(*flags: str) -> bool:
    command = ["unshare", *flags, "mount", "-t", "tmpfs", "none", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path, new_launcher: Any) -> Iterator[SmallDisk]:
    flags = next((flags for flags in (("-m",), ("-m", "-r")) if may_mount(*flags)), None)
    launcher = new_launcher(tmp_path / "data", {"KOHAKU_HUB_LIMITS": json.dumps({"disk_reserve_bytes": 1 << 16})})
    launcher.users()
    if flags is None:
        launcher.environment["FULL_DISK"] = str(tmp_path / "full")
        hub = launcher.start(command=(sys.executable, "-m", "tests.faults.full_disk_hub"))
        yield SmallDisk(hub, launcher.data, tmp_path / "full", False)
    else:
        seed = launcher.data.rename(tmp_path / "seed")
        launcher.data.mkdir()
        prefix = ("unshare", *flags, "sh", "-c", MOUNTED, "sh", str(launcher.data), str(seed))
        hub = launcher.start(command=(*prefix, sys.executable, "-m", "tests.guarded_hub"))
        seen = Path(f"/proc/{hub.process.pid}/root{launcher.data}")
        yield SmallDisk(hub, seen, seen / "ballast", True)
    assert hub.stop() == 0
    launcher.close()


def git(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    return subprocess.run(["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, timeout=60, check=False, env=GIT)


def batch(hub: Any, name: str, data: bytes) -> Any:
    wanted = {"operation": "upload", "objects": [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}]}
    return hub.call("POST", f"/{name}.git/info/lfs/objects/batch", wanted, **LFS).json()["objects"][0]


def put(hub: Any, item: Any, data: bytes) -> Any:
    return hub.call("PUT", item["actions"]["upload"]["href"].removeprefix(hub.url), data, token="")


def commit(hub: Any, name: str, path: str, data: bytes) -> Any:
    file = {"key": "file", "value": {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}}
    lines = [{"key": "header", "value": {"summary": "m"}}, file]
    body = "\n".join(map(json.dumps, lines)).encode()
    return hub.call("POST", f"/api/models/{name}/commit/main", body, Content_Type="application/x-ndjson")


def preupload(hub: Any, name: str) -> Any:
    sample = base64.b64encode(DATA[:512]).decode()
    return hub.call("POST", f"/api/models/{name}/preupload/main", {"files": [{"path": "a.bin", "size": len(DATA), "sample": sample}]})


def test_o1_every_door_says_that_the_disk_is_full_and_recovers(disk: SmallDisk, tmp_path: Path) -> None:
    hub, name, small = disk.hub, disk.hub.repo(), b"large object" * 10
    stored = batch(hub, name, small)
    assert put(hub, stored, small).status == commit(hub, name, "a.txt", b"text").status == 200
    pending = batch(hub, name, DATA)
    work = a_commit(hub, name, tmp_path)

    disk.fill()
    pushed = git("push", "origin", "HEAD:main", folder=work)
    answers = [
        put(hub, pending, DATA),
        hub.call("POST", "/api/repos/create", {"type": "model", "name": "more"}),
        commit(hub, name, "b.bin", DATA),
        preupload(hub, name),
    ]
    refused = batch(hub, name, DATA)["error"]
    ready = hub.call("GET", "/readyz", token="")
    cloned = git("clone", "-q", hub.git_url(name), "again", folder=tmp_path)
    read = hub.call("GET", f"/{name}/resolve/main/a.txt")
    told = told_by_the_operators_verbs(disk) if disk.is_mounted else FULL

    assert pushed.returncode == 1
    assert f"[remote rejected] HEAD -> main ({FULL}" in pushed.stderr, pushed.stderr
    assert [answer.status for answer in answers] == [507] * 4, answers
    assert all(FULL in answer.body.decode() and "Ask the operator." in answer.body.decode() for answer in answers)
    assert all("Retry-After" not in answer.headers for answer in answers)
    assert (refused["code"], refused["message"].partition("(")[0] + "(") == (507, FULL)
    assert (ready.status, FULL in ready.json()["disk"]) == (503, True)
    assert told.startswith(FULL)
    assert (cloned.returncode, read.status) == (0, 200)
    assert hub.call("GET", "/api/models/alice/more").status == 404

    disk.free()
    check_that_it_recovers(disk, name, work)


def test_o1_a_large_file_needs_room_for_its_parts_too(disk: SmallDisk) -> None:
    """Xorbs lie beside the object that is made of them: a client that is told so late tries for minutes without a word."""
    if not disk.is_mounted:
        return
    name, room = disk.hub.repo(), os.statvfs(disk.data)
    sample = base64.b64encode(DATA[:512]).decode()
    file = {"path": "a.bin", "size": room.f_bavail * room.f_frsize * 2 // 3, "sample": sample}

    answer = disk.hub.call("POST", f"/api/models/{name}/preupload/main", {"files": [file]})

    assert (answer.status, FULL in answer.body.decode()) == (507, True)


def a_commit(hub: Any, name: str, folder: Path) -> Path:
    assert git("clone", "-q", hub.git_url(name), "work", folder=folder).returncode == 0
    work = folder / "work"
    (work / "a.bin").write_bytes(DATA)
    git("add", "a.bin", folder=work)
    assert git("commit", "-qm", "m", folder=work).returncode == 0
    return work


def check_that_it_recovers(disk: SmallDisk, name: str, work: Path) -> None:
    hub = disk.hub
    assert hub.call("GET", "/readyz", token="").status == 200
    assert put(hub, batch(hub, name, DATA), DATA).status == 200
    assert commit(hub, name, "b.bin", DATA).status == 200
    assert git("push", "origin", "HEAD:refs/heads/other", folder=work).returncode == 0
    check_that_nothing_is_lost(disk)
    lines = hub.log.read_text("utf-8")
    assert lines.count(FULL) == 1, lines
    assert lines.count("There is room again") == 1
    assert "Traceback" not in lines


def told_by_the_operators_verbs(disk: SmallDisk) -> str:
    """The doctor's finding, and what a start says, which ends at once."""
    settings = Settings(data=disk.data, limits={"disk_reserve_bytes": 1 << 16})
    troubles = [finding.trouble for finding in from_settings.examine(settings) if finding.trouble]
    command = [str(Path(sys.executable).parent / "kohakuhub"), "serve", "--port", "0", "--data", str(disk.data / "second")]
    started = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)

    assert started.returncode == 1
    assert f"kohakuhub: {FULL}" in started.stderr, started.stderr
    assert len(troubles) == 1
    return troubles[0]


def check_that_nothing_is_lost(disk: SmallDisk) -> None:
    """Nor is anything left of what was refused."""
    built = build(Settings(data=disk.data))
    try:
        assert check(built) == 0
    finally:
        built.close()
    assert [path.name for path in (disk.data / "incoming").iterdir()] == []


def test_o1_what_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that raises ENOSPC: the bytes that came go, also those that are still buffered."""
    upload = DiskBlobStore(tmp_path / "pool", tmp_path).upload(BlobRef("0" * 64, 10))
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, upload._file.fileno())
    os.close(full)
    space = DiskSpace(tmp_path)
    upload.write(b"0123456789")
    with pytest.raises(DiskFull, match=r"full \(.* free in .*\)\. Ask the operator"), space.guard():
        upload.commit()
    upload.abort()

    assert list(tmp_path.iterdir()) == []


def test_o1_sizes_are_compared_with_the_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = DiskSpace(tmp_path, reserve=100)
    monkeypatch.setattr(DiskSpace, "free", lambda self: 1000)
    space.check(900)
    with pytest.raises(DiskFull, match="901 bytes are to come"):
        space.check(901)
    with pytest.raises(OSError, match="other"), space.guard():
        raise OSError(errno.EIO, "other")

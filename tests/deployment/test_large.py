"""Large things on the cluster as it is deployed: git, LFS and the Hugging Face client through nginx, in flat memory of all processes."""

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.conftest import Machine
from tests.deployment.stack import behind, start_gunicorn, start_nginx

MIB = 1 << 20
SIZES = [pytest.param(200 * MIB, id="200"), pytest.param(600 * MIB, id="600", marks=pytest.mark.long)]  # of the largest file


@pytest.fixture(scope="module", params=["proxy", "links"])
def place(request: pytest.FixtureRequest, new_cluster: Any, s3_server: Any, tmp_path_factory: Any, nginx_program: None) -> Iterator[Any]:
    """A hub through which all bytes go, and one whose clients read large objects from S3 by signed URLs; with its nginx."""
    more = {"KOHAKU_HUB_S3_PUBLIC_ENDPOINT": s3_server.endpoint} if request.param == "links" else {}
    launcher = new_cluster(**more)
    launcher.users()
    running = start_gunicorn(launcher)
    nginx = start_nginx(tmp_path_factory.mktemp("large") / "nginx", running.url)
    yield behind(running, nginx), nginx
    nginx.stop()
    assert running.stop() == 0
    assert "unexpected error" not in running.log.read_text("utf-8")


@pytest.fixture
def hub(place: Any) -> Any:
    return place[0]


def anonymous(pid: int) -> int:
    """Memory that no file stands behind, in bytes: packs are mapped, and the kernel takes those pages back as it likes."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"))
    return int(found[1]) * 1024 if found else 0


@contextmanager
def flat(most_growth: int, *parents: int) -> Iterator[None]:
    """No process of these families grows by more bytes than that meanwhile."""
    family = [process for pid in parents for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True))]
    before = {process.pid: anonymous(process.pid) for process in family}
    most = dict(before)
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            for pid in before:
                most[pid] = max(most[pid], anonymous(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    grown = {f"{process.name()} {process.pid}": (most[process.pid] - before[process.pid]) // MIB for process in family}
    assert max(grown.values()) < most_growth // MIB, grown


def write(path: Path, size: int) -> str:
    """Random bytes; their SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // MIB):
            data = os.urandom(MIB)
            digest.update(data)
            file.write(data)
    return digest.hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("size", SIZES)
def test_git_and_lfs_and_hugging_face(place: Any, machine: Machine, size: int) -> None:
    """Memory grows by a third of the largest file at most."""
    hub, nginx = place
    name = hub.repo()
    work = machine.home / "work"
    machine.run("git", "clone", "-q", hub.git_url(name), str(work))
    machine.git(work, "lfs", "track", "*.bin")
    sums = {f"part-{n}": write(work / f"part-{n}", 10 * MIB) for n in range(size // (30 * MIB))}
    sums["one.bin"] = write(work / "one.bin", size)
    source = machine.home / "hf.safetensors"
    sums["hf.safetensors"] = write(source, size // 3)
    with flat(size // 3, hub.process.pid, nginx.running().pid):
        machine.git(work, "add", "-A")
        machine.git(work, "commit", "-q", "-m", "Large")
        machine.git(work, "push", "-q", "origin", "HEAD")
        machine.hf("upload", name, str(source), source.name)
        clone = machine.home / "clone"
        machine.run("git", "clone", "-q", hub.git_url(name), str(clone))
        assert {path: sha256(clone / path) for path in sums} == sums
        target = machine.home / "target"
        machine.hf("download", name, "--local-dir", str(target))
        assert {path: sha256(target / path) for path in sums} == sums
    assert not any(path.is_file() for path in nginx.folder.rglob("*_temp/*"))
    log = (nginx.folder / "log").read_text("utf-8")
    is_direct = "KOHAKU_HUB_S3_PUBLIC_ENDPOINT" in hub.launcher.environment
    assert bool(re.search(rf'"GET /[^"]*lfs[^"]*" 200 {size}', log)) != is_direct  # one of both ways

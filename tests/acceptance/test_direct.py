"""The real clients on a hub whose S3 they reach: large objects go there both ways, and the hub sees none of the bytes."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.acceptance.conftest import Machine, files
from tests.deployment.stack import behind, start_gunicorn, start_nginx
from tests.servers.proxy import Fault, FaultProxy
from tests.servers.s3 import S3_SERVERS

MIB = 1 << 20
LIMITS = json.dumps({"lfs_direct_bytes": 100_000, "lfs_multipart_bytes": 12 * MIB, "lfs_part_bytes": 5 * MIB})
HUGGING_FACE = ("newest", pytest.param("1.29", marks=pytest.mark.long), "0.36")
SEAWEEDFS, *OTHERS = S3_SERVERS


@pytest.fixture(scope="module", params=[SEAWEEDFS, *(pytest.param(name, marks=pytest.mark.long) for name in OTHERS)])
def hub(request: pytest.FixtureRequest, new_launcher: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    s3 = request.getfixturevalue(request.param)
    environment = s3.environment(s3.make_bucket(), PUBLIC_ENDPOINT=s3.endpoint) | {"KOHAKU_HUB_LIMITS": LIMITS}
    launcher = new_launcher(tmp_path_factory.mktemp("direct") / "data", environment)
    launcher.users()
    running = launcher.start("--workers", "2")
    yield running
    assert running.stop() == 0
    assert "unexpected error" not in running.log.read_text("utf-8")


def requests(hub: Any) -> dict[str, int]:
    """How many requests to each LFS action the hub has logged."""
    lines = [line for line in hub.log.read_text("utf-8").splitlines() if "/api/lfs/" in line]
    return {verb: sum(f"/{verb} " in line for line in lines) for verb in ("upload", "part", "download", "verify", "complete")}


def since(hub: Any, before: dict[str, int]) -> dict[str, int]:
    return {verb: count - before[verb] for verb, count in requests(hub).items() if count != before[verb]}


def write(folder: Path, sizes: dict[str, int]) -> dict[str, bytes]:
    folder.mkdir(exist_ok=True)
    contents = {name: os.urandom(size) for name, size in sizes.items()}
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return contents


def commit_large(machine: Any, name: str, sizes: dict[str, int]) -> tuple[Path, dict[str, bytes]]:
    """A clone with these files committed, not pushed."""
    work = machine.home / "work"
    machine.run("git", "clone", "-q", machine.hub.git_url(name), str(work))
    machine.git(work, "lfs", "track", "*.bin")
    contents = write(work, sizes)
    machine.git(work, "add", "-A")
    machine.git(work, "commit", "-q", "-m", "Large")
    return work, contents


def test_git_lfs(hub: Any, machine: Any, another_machine: Any) -> None:
    name, before = hub.repo(private=True), requests(hub)
    work, contents = commit_large(machine, name, {"a é.bin": 20 * MIB + 1, "b.bin": 300_000, "c.txt.bin": 5000})
    machine.git(work, "push", "-q", "origin", "HEAD")

    assert since(hub, before) == {"upload": 1, "verify": 3}  # the smallest goes through the hub
    clone = another_machine.clone(name, "clone")
    another_machine.check_sound(clone, contents, set(contents))
    checked = hub.admin("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_git_lfs_that_is_killed(hub: Any, machine: Any, another_machine: Any) -> None:
    """Some of its objects were sent and verified, some sent only, some not sent: the next push sends what is missing."""
    name = hub.repo()
    work, contents = commit_large(machine, name, {f"{number}.bin": 3 * MIB for number in range(8)})
    before, until = requests(hub)["verify"], time.monotonic() + 60
    command = ["git", "push", "-q", "origin", "HEAD"]
    with subprocess.Popen(command, cwd=work, env=machine.environment, stderr=subprocess.DEVNULL, start_new_session=True) as push:
        while push.poll() is None and requests(hub)["verify"] == before and time.monotonic() < until:
            time.sleep(0.01)
        with suppress(ProcessLookupError):
            os.killpg(push.pid, signal.SIGKILL)
    machine.git(work, "push", "-q", "origin", "HEAD")

    clone = another_machine.clone(name, "clone")
    another_machine.check_sound(clone, contents, set(contents))


UPLOAD = """
import sys
from huggingface_hub import HfApi, snapshot_download
api, (name, folder, target) = HfApi(), sys.argv[1:]
api.upload_folder(repo_id=name, folder_path=folder, allow_patterns="*.bin")
snapshot_download(name, local_dir=target)
"""


@pytest.mark.parametrize("client", HUGGING_FACE)
@pytest.mark.parametrize("is_parted", [False, True], ids=["basic", "multipart"])
def test_hugging_face(hub: Any, machine: Any, client: str, *, is_parted: bool) -> None:
    name, before, target = hub.repo(private=True), requests(hub), machine.home / "target"
    sizes = {"a.bin": 15 * MIB if is_parted else 11 * MIB, "b.bin": 15 * MIB + 5 if is_parted else 2 * MIB, "c.bin": 99_999}
    contents = write(machine.home / "model", sizes)
    machine.environment["HF_HUB_DISABLE_XET"] = "1"
    machine.python(client, UPLOAD, name, str(machine.home / "model"), str(target))

    found = files(target)
    found.pop(".gitattributes", None)
    assert found == contents
    through_hub = {"part": 1, "complete": 3} if is_parted else {"upload": 1}
    assert since(hub, before) == {**through_hub, "verify": 3}


@pytest.mark.parametrize("client", HUGGING_FACE)
def test_the_git_lfs_agent_of_hugging_face(hub: Any, machine: Any, another_machine: Any, client: str) -> None:
    name, before = hub.repo(private=True), requests(hub)
    work, contents = commit_large(machine, name, {"a.bin": 16 * MIB, "b.bin": 300_000})
    machine.git(work, "config", "lfs.customtransfer.multipart.path", machine.tool(client))
    machine.git(work, "config", "lfs.customtransfer.multipart.args", "lfs-multipart-upload")
    machine.git(work, "push", "-q", "origin", "HEAD")

    assert since(hub, before) == {"complete": 2, "verify": 2}
    clone = another_machine.clone(name, "clone")
    another_machine.check_sound(clone, contents, set(contents))


@pytest.fixture
def slow(s3_server: Any) -> Iterator[FaultProxy]:
    """Between the hub and S3; clients go past it."""
    made = FaultProxy(urlsplit(s3_server.endpoint).port or 0, slow_seconds=0.4)
    yield made
    made.close()


@pytest.fixture
def slow_machine(new_launcher: Any, s3_server: Any, slow: FaultProxy, tmp_path: Path, nginx_program: None) -> Iterator[Machine]:
    """Its hub is as it is deployed, with nginx in front."""
    environment = s3_server.environment(
        s3_server.make_bucket(), ENDPOINT=f"http://127.0.0.1:{slow.port}", PUBLIC_ENDPOINT=s3_server.endpoint
    )
    launcher = new_launcher(tmp_path / "data", environment | {"KOHAKU_HUB_LIMITS": LIMITS})
    launcher.users()
    running = start_gunicorn(launcher)
    nginx = start_nginx(tmp_path / "nginx", running.url)
    yield Machine(tmp_path / "machine", behind(running, nginx))
    nginx.stop()
    assert running.stop() == 0


def test_a_verification_that_takes_longer_than_git_lfs_waits(slow_machine: Machine, slow: FaultProxy) -> None:
    """git-lfs gives up on a silent connection and asks again; the hub goes on meanwhile, and says so as soon as it is done."""
    machine, before = slow_machine, requests(slow_machine.hub)
    name = machine.hub.repo()
    work, contents = commit_large(machine, name, {"a.bin": 2 * MIB})
    machine.git(work, "config", "lfs.activitytimeout", "2")
    machine.git(work, "config", "lfs.transfer.maxverifies", "100")
    with slow.fault(Fault.SLOW):
        machine.git(work, "push", "-q", "origin", "HEAD")

    assert since(machine.hub, before).get("verify", 0) > 1
    machine.check_sound(machine.clone(name, "clone"), contents, set(contents))

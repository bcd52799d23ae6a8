"""SIGKILL at random moments of pushes and uploads: after a restart nothing acknowledged is lost and nothing dangles (I4).

The moments come from a fixed seed. KOHAKU_CRASH_ROUNDS=100 runs more rounds by hand.
"""

import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.writer import Writer

ROUNDS = int(os.environ.get("KOHAKU_CRASH_ROUNDS", "3"))


def kill_while(writer: Writer, kind: str, seconds: float) -> None:
    """So long after something new was acknowledged."""
    hub, before = writer.hub, acknowledged(writer)
    thread = threading.Thread(target=writer.push_loop if kind == "push" else writer.upload_loop)
    thread.start()
    until = time.monotonic() + 60
    while acknowledged(writer) == before:
        assert time.monotonic() < until
        time.sleep(0.005)
    time.sleep(seconds)
    hub.process.send_signal(signal.SIGKILL)
    hub.process.wait(30)
    thread.join(90)
    assert not thread.is_alive()


def acknowledged(writer: Writer) -> int:
    return len(writer.branches) + len(writer.objects)


ON_POSTGRES = pytest.param("push", "postgres", marks=pytest.mark.long)


@pytest.mark.parametrize(("kind", "engines"), [("push", "sqlite"), ("upload", "sqlite"), ON_POSTGRES, ("push", "postgres s3")])
def test_kill_and_restart(request: pytest.FixtureRequest, launcher: Any, tmp_path: Path, kind: str, engines: str) -> None:
    if "postgres" in engines:
        launcher.environment["KOHAKU_HUB_DATABASE_URL"] = request.getfixturevalue("postgres").create()
    if "s3" in engines:
        server = request.getfixturevalue("s3_server")
        launcher.environment |= server.environment(server.make_bucket()) | {"KOHAKU_HUB_PACK_CACHE_BYTES": "100000"}
    launcher.users()
    hub = launcher.start()
    writer = Writer(hub, hub.repo(), tmp_path / "work")
    moments = random.Random(20261124)
    for _ in range(ROUNDS):
        kill_while(writer, kind, moments.uniform(0.0, 0.6))
        found = launcher.admin("check")
        assert (found.returncode, found.stdout) == (0, "")
        writer.hub = hub = launcher.start()
        writer.check_acknowledged()
    if kind == "push":
        clone = tmp_path / "clone"
        assert writer.git("clone", "-q", "--mirror", hub.git_url(writer.name), str(clone)).returncode == 0
        assert subprocess.run(["git", "fsck", "--strict"], cwd=clone, capture_output=True, check=False).returncode == 0
    assert hub.stop() == 0

"""SIGKILL at every step of a whole repack, and at random moments of one while the hub runs: nothing is lost, and the next one ends it."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.writer import Writer
from tests.harness.hubs import COMMAND

STEPS = 10  # calls that killed_repack.py counts, of which two are `add` and two `discard`


@pytest.fixture
def made(request: pytest.FixtureRequest, launcher: Any, new_launcher: Any, engines: str) -> Any:
    environment = {}
    if engines == "postgres s3":
        server = request.getfixturevalue("s3_server")
        environment = server.environment(server.make_bucket())
        environment["KOHAKU_HUB_DATABASE_URL"] = request.getfixturevalue("postgres").create()
    made = new_launcher(launcher.data, environment)
    made.users()
    return made


def killed(launcher: Any, name: str, step: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(Path(__file__).parent / "killed_repack.py"), str(launcher.data), name, step]
    environment = {**os.environ, **launcher.environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def push_away(writer: Writer) -> None:
    """Commits on main, of which the newest is put away again."""
    assert writer.push()
    keep = writer.git("rev-parse", "HEAD").stdout.strip()
    (writer.folder / "away").write_text(str(len(writer.branches)))
    writer.git("add", "-A")
    writer.git("commit", "-q", "-m", "away")
    url = writer.hub.git_url(writer.name)
    assert writer.git("push", "-q", url, "HEAD:refs/heads/main").returncode == 0
    writer.git("reset", "-q", "--hard", keep)
    assert writer.git("push", "-q", "--force", url, "HEAD:refs/heads/main").returncode == 0


@pytest.mark.parametrize("engines", ["sqlite disk", pytest.param("postgres s3", marks=pytest.mark.long)])
def test_a_kill_at_each_step(made: Any, tmp_path: Path) -> None:
    hub = made.start()
    writer = Writer(hub, hub.repo(), tmp_path / "work")
    for step in range(STEPS):
        push_away(writer)
        died = killed(made, writer.name, str(step))
        assert died.returncode == -signal.SIGKILL, (step, died.stderr, died.stdout)
        checked = made.admin("check")
        assert (checked.returncode, checked.stdout) == (0, ""), (step, checked.stderr)
        writer.check_acknowledged()
    push_away(writer)
    done = killed(made, writer.name, "never")
    assert done.returncode == 0, done.stderr
    reached, set_aside, dropped = map(int, done.stdout.split())
    assert reached >= 3 * (STEPS + 1)
    assert (set_aside, dropped > 0) == (0, True)
    checked = made.admin("check")
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr
    writer.check_acknowledged()
    assert writer.git("clone", "-q", "--mirror", hub.git_url(writer.name), str(tmp_path / "clone")).returncode == 0
    assert writer.git("-C", str(tmp_path / "clone"), "fsck", "--strict", "--full").returncode == 0
    assert hub.stop() == 0


@pytest.mark.parametrize("engines", ["postgres s3"])
def test_kills_at_random_while_pushes_go_on(made: Any, tmp_path: Path) -> None:
    hub = made.start()
    writer = Writer(hub, hub.repo(), tmp_path / "work")
    stop, pushed = threading.Event(), []

    def push() -> None:
        while not stop.is_set():
            pushed.append(writer.push())

    thread = threading.Thread(target=push)
    thread.start()
    dice = random.Random(20261125)
    ends = set()
    for _ in range(4):
        command = [str(COMMAND), "admin", "repack", writer.name, "--prune-now", "--data", str(made.data)]
        with subprocess.Popen(command, env={**os.environ, **made.environment}, stdout=subprocess.DEVNULL) as process:
            time.sleep(dice.uniform(0.6, 2.5))
            process.kill()
            ends.add(process.wait(30))
    stop.set()
    thread.join(90)
    checked = made.admin("check")

    assert (checked.returncode, checked.stdout) == (0, ""), checked.stderr
    assert -signal.SIGKILL in ends
    assert pushed.count(True) > 1
    writer.check_acknowledged()
    assert made.admin("repack", writer.name, "--prune-now").returncode == 0
    writer.check_acknowledged()
    assert hub.stop() == 0

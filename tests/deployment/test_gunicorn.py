"""The hub as gunicorn runs it: one migration, several workers, transfers that outlive a stop and a reload."""

import os
import re
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
import pytest

from tests.hub.test_serve import slow_upload, wait_for

MIB = 1 << 20
Start = Callable[..., Any]


def workers(hub: Any) -> set[int]:
    return {child.pid for child in psutil.Process(hub.process.pid).children()}


def finish(upload: socket.socket) -> bytes:
    upload.sendall(b"00")
    answer = upload.recv(4096)
    upload.close()
    return answer


def test_migrated_once_by_the_master_and_one_line_a_request(launcher: Any, by_gunicorn: Start) -> None:
    running = by_gunicorn(launcher, LOG_FORMAT="json")
    count = len(workers(running))
    running.call("GET", "/api/version", token="", X_Forwarded_For="198.51.100.9")

    assert running.stop() == 0
    text = running.log.read_text()
    assert count == 2
    assert text.count("database schema is now 0001") == 1
    assert all(line.startswith("{") for line in text.splitlines())
    assert len([line for line in text.splitlines() if '"path": "/api/version"' in line and '"address": "198.51.100.9"' in line]) == 1


def test_a_running_transfer_finishes_after_sigterm_and_nobody_listens_any_more(launcher: Any, by_gunicorn: Start) -> None:
    launcher.users()
    running = by_gunicorn(launcher)
    waiting = slow_upload(running, 4)
    host, port = waiting.getpeername()
    running.process.send_signal(signal.SIGTERM)
    wait_for("stopping: 1 requests", running.log)
    wait_for("stopping: 0 requests", running.log)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port), timeout=30)

    assert finish(waiting).startswith(b"HTTP/1.1 200")
    assert running.process.wait(30) == 0


def test_a_reload_lets_a_running_transfer_finish_and_others_in(launcher: Any, by_gunicorn: Start) -> None:
    launcher.users()
    running = by_gunicorn(launcher)
    first = workers(running)
    waiting = slow_upload(running, 4)
    running.process.send_signal(signal.SIGHUP)
    wait_for("stopping: 1 requests", running.log)
    answers = [running.call("GET", "/api/version", token="").status for _ in range(50)]

    assert answers == [200] * 50
    assert finish(waiting).startswith(b"HTTP/1.1 200")
    until = time.monotonic() + 30
    while workers(running) & first and time.monotonic() < until:
        time.sleep(0.05)
    assert len(workers(running)) == 2
    assert running.stop() == 0


def test_a_dead_worker_is_replaced_and_workers_leave_with_their_master(launcher: Any, by_gunicorn: Start) -> None:
    launcher.users()
    running = by_gunicorn(launcher)
    first = workers(running)
    os.kill(min(first), signal.SIGKILL)
    until = time.monotonic() + 30
    while len(workers(running) - first) < 1 and time.monotonic() < until:
        time.sleep(0.05)
    children = psutil.Process(running.process.pid).children()
    assert len(children) == 2
    running.process.kill()
    running.process.wait(30)
    _, alive = psutil.wait_procs(children, timeout=30)

    assert alive == []


def test_the_wait_at_a_stop_has_a_limit(launcher: Any, by_gunicorn: Start) -> None:
    launcher.users()
    running = by_gunicorn(launcher, LIMITS='{"stop_seconds": 1}')
    waiting = slow_upload(running, 100)

    assert running.stop() == 0
    assert "did not finish in time" in running.log.read_text()
    waiting.close()


def test_ctrl_c_does_not_wait_for_transfers(launcher: Any, by_gunicorn: Start) -> None:
    launcher.users()
    running = by_gunicorn(launcher)
    waiting = slow_upload(running, 100)
    running.process.send_signal(signal.SIGINT)

    assert running.process.wait(30) == 0
    with suppress(ConnectionResetError):
        assert waiting.recv(4096) == b""
    waiting.close()


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("SESSION_SECRET", "change-me-in-production", "KOHAKU_HUB_SESSION_SECRET: the value is an example"),
        ("S3_ENDPOINT", "nonsense", "KOHAKU_HUB_S3_ENDPOINT: must be http"),
        ("DATABASE_URL", "postgresql://hub@127.0.0.1:9/hub", "Connection refused. Try again"),
    ],
)
def test_a_start_that_cannot_be_is_one_plain_line(launcher: Any, by_gunicorn: Start, setting: str, value: str, message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        by_gunicorn(launcher, **{setting: value})

    assert message in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_bodies_stream(hub: Any, machine: Any, nginx: Any) -> None:
    """200 MB through nginx and a worker, in flat memory of both and without a byte on nginx's disk."""
    name = hub.repo()
    work = machine.home / "work"
    machine.run("git", "clone", "-q", hub.git_url(name), str(work))
    machine.git(work, "lfs", "track", "*.bin")
    for file_name, size in (("big.bin", 200), ("pack", 60)):
        with (work / file_name).open("wb") as file:
            file.writelines(os.urandom(MIB) for _ in range(size))
    machine.git(work, "add", "-A")
    machine.git(work, "commit", "-q", "-m", "Big")
    family = [psutil.Process(pid) for pid in [*workers(hub), *(child.pid for child in psutil.Process(nginx.running().pid).children())]]
    before = {process.pid: process.memory_info().rss for process in family}
    machine.git(work, "push", "-q", "origin", "HEAD")
    clone = machine.clone(name, "clone")

    assert machine.git(clone, "lfs", "fsck") == "Git LFS fsck OK"
    assert (clone / "pack").read_bytes() == (work / "pack").read_bytes()
    grown = {process.name(): (process.memory_info().rss - before[process.pid]) // MIB for process in family}
    assert max(grown.values()) < 200, grown
    assert not [path for path in nginx.folder.rglob("*") if path.is_file() and path.stat().st_size > MIB]


def test_ssh_listens_beside_and_goes_with_a_reload(launcher: Any, by_gunicorn: Start) -> None:
    running = by_gunicorn(launcher, SSH_PORT="0")
    found = re.search(r"SSH: git clone ssh://git@127.0.0.1:(\d+)/", running.log.read_text())
    assert found is not None
    address = ("127.0.0.1", int(found[1]))

    def greetings() -> set[bytes]:
        connections = [socket.create_connection(address, timeout=30) for _ in range(8)]
        heard = {connection.recv(17) for connection in connections}
        for connection in connections:
            connection.close()
        return heard

    before = greetings()
    first = workers(running)
    running.process.send_signal(signal.SIGHUP)
    until = time.monotonic() + 30
    while workers(running) & first and time.monotonic() < until:
        time.sleep(0.05)

    assert before == greetings() == {b"SSH-2.0-KohakuHub"}
    assert running.call("GET", "/api/version", token="").status == 200
    assert running.stop() == 0

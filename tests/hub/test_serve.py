"""The command as a process: start, several workers, stop."""

import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest


def slow_upload(hub: Any, size: int) -> socket.socket:
    """A push whose body has begun and does not end yet."""
    name = hub.repo()
    host, port = hub.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=30)
    head = f"POST /{name}.git/git-receive-pack HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {hub.token}\r\n"
    head += f"Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {size}\r\nExpect: 100-continue\r\n\r\n"
    connection.sendall(head.encode())
    assert connection.recv(4096).startswith(b"HTTP/1.1 100")
    connection.sendall(b"00")
    return connection


def wait_for(text: str, log: Path) -> None:
    until = time.monotonic() + 30
    while text not in log.read_text() and time.monotonic() < until:
        time.sleep(0.02)
    assert text in log.read_text()


def test_health_and_readiness(hub: Any) -> None:
    assert hub.call("GET", "/healthz", token="").json() == {"status": "ok"}
    assert hub.call("GET", "/readyz", token="").json() == {"status": "ready"}


def test_start_up_lines_tell_where_and_how(launcher: Any) -> None:
    running = launcher.start()
    text = running.log.read_text()

    assert running.stop() == 0
    assert running.url in text
    assert str(launcher.data) in text
    assert "create-user" in text


def test_data_is_private_to_its_owner(launcher: Any) -> None:
    launcher.start().stop()

    assert launcher.data.stat().st_mode & 0o777 == 0o700
    assert (launcher.data / "secret.key").stat().st_mode & 0o777 == 0o600
    assert len((launcher.data / "secret.key").read_bytes()) == 32


def test_json_log_lines(launcher: Any) -> None:
    running = launcher.start("--log-format", "json")
    running.call("GET", "/api/version", token="", X_Request_Id="abc123")
    running.stop()
    lines = [json.loads(line) for line in running.log.read_text().splitlines()]
    request = next(line for line in lines if line.get("path") == "/api/version")

    assert request["status"] == 200
    assert request["request_id"] == "abc123"


def test_a_running_request_finishes_after_sigterm_and_new_ones_get_503(launcher: Any) -> None:
    launcher.users()
    running = launcher.start()
    waiting = slow_upload(running, 4)
    idle = socket.create_connection(waiting.getpeername(), timeout=30)
    running.process.send_signal(signal.SIGTERM)
    wait_for("stopping: 1 requests", running.log)
    idle.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    refused = idle.recv(4096)
    waiting.sendall(b"00")
    answer = waiting.recv(4096)

    assert refused.startswith(b"HTTP/1.1 503")
    assert answer.startswith(b"HTTP/1.1 200")
    assert running.process.wait(30) == 0
    waiting.close()
    idle.close()


def test_the_wait_at_a_stop_has_a_limit(launcher: Any) -> None:
    launcher.users()
    running = launcher.start(environment={"KOHAKU_HUB_LIMITS": '{"stop_seconds": 1}'})
    waiting = slow_upload(running, 100)
    started = time.monotonic()

    assert running.stop() == 0
    assert time.monotonic() - started < 20
    waiting.close()


def test_several_workers_share_data_and_a_dead_one_is_replaced(launcher: Any) -> None:
    launcher.users()
    running = launcher.start("--workers", "2")
    children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
    first = children.read_text().split()
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: running.repo(), range(16)))
    os.kill(int(first[0]), signal.SIGKILL)
    until = time.monotonic() + 30
    while len(set(children.read_text().split()) - set(first)) < 1 and time.monotonic() < until:
        time.sleep(0.05)
    answers = [running.call("GET", f"/api/models/{name}").status for name in names]

    assert len(first) == 2
    assert len(set(names)) == 16
    assert answers == [200] * 16
    assert running.stop() == 0


def test_a_taken_port_is_said_plainly(launcher: Any, hub: Any) -> None:
    port = hub.url.rsplit(":", 1)[1]
    with pytest.raises(AssertionError, match="in use"):
        launcher.start("--port", port)


def test_a_client_that_goes_away_is_one_quiet_line(launcher: Any) -> None:
    launcher.users()
    running = launcher.start()
    slow_upload(running, 1000).close()
    wait_for(" 499 ", running.log)
    text = running.log.read_text()

    assert running.stop() == 0
    assert "Traceback" not in text
    assert list((launcher.data / "incoming").iterdir()) == []

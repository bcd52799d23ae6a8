"""SSH as a part of the hub's processes: start, host key, several workers, stop."""

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from gitserver.protocol.pktline import FLUSH
from tests.hub.test_serve import wait_for


def test_several_workers_share_the_port_and_a_dead_one_is_replaced(new_ssh_hub: Any) -> None:
    ssh_hub = new_ssh_hub("--workers", "2")
    name = ssh_hub.hub.repo()
    pid = ssh_hub.hub.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    first = children.read_text().split()
    os.kill(int(first[0]), signal.SIGKILL)
    until = time.monotonic() + 30
    while not set(children.read_text().split()) - set(first) and time.monotonic() < until:
        time.sleep(0.05)

    assert [ssh_hub.ssh(f"git-upload-pack '{name}'", data=FLUSH).returncode for _ in range(6)] == [0] * 6


def test_the_host_key_stays(new_ssh_hub: Any, tmp_path: Path) -> None:
    first = new_ssh_hub()
    key = first.hub.data / "ssh_host_ed25519_key"
    before = key.read_bytes()
    first.hub.stop()
    again = new_ssh_hub(launcher=first.hub.launcher)
    again.keys |= {"alice-ed25519": first.key("nobody")}

    assert again.ssh().returncode == 255  # the key is nobody's, but the host is the one that is known
    assert key.read_bytes() == before
    assert key.stat().st_mode & 0o777 == 0o600
    again.hub.stop()

    given = tmp_path / "shared"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", given], check=True, timeout=60)
    other = new_ssh_hub(launcher=first.hub.launcher, KOHAKU_HUB_SSH_HOST_KEY=str(given))
    other.folder.joinpath("known_hosts").write_text(f"[127.0.0.1]:{other.port} {given.with_suffix('.pub').read_text()}")
    other.keys |= {"bob-ed25519": first.key("bob")}

    assert b"Hi bob!" in other.ssh(user="bob").stderr


def test_a_host_key_that_is_not_there_is_said_plainly(new_launcher: Any, tmp_path: Path) -> None:
    environment = {"KOHAKU_HUB_SSH_PORT": "0", "KOHAKU_HUB_SSH_HOST_KEY": str(tmp_path / "none")}
    with pytest.raises(AssertionError, match="ssh-keygen -t ed25519 -N '' -f"):
        new_launcher(tmp_path / "data").start(environment=environment)


def test_a_running_session_ends_in_peace_after_sigterm(new_ssh_hub: Any) -> None:
    ssh_hub = new_ssh_hub()
    name = ssh_hub.hub.repo()

    async def work(connection: asyncssh.SSHClientConnection) -> tuple[int | None, str, bool]:
        process = await connection.create_process(f"git-upload-pack '{name}'")
        await process.stdout.readexactly(4)
        ssh_hub.hub.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(wait_for, "stopping: 1 requests", ssh_hub.hub.log)
        refused = await connection.run()
        try:
            await asyncssh.connect("127.0.0.1", ssh_hub.port, known_hosts=None, config=None, agent_path=None)
            is_open = True
        except OSError:
            is_open = False
        process.stdin.write(FLUSH.decode())
        return (await process.wait()).exit_status, str(refused.stderr), is_open

    status, refused, is_open = ssh_hub.talk(work)

    assert status == 0
    assert refused.startswith("ERROR: The hub is busy or stopping")
    assert not is_open
    assert ssh_hub.hub.process.wait(30) == 0


def test_the_wait_at_a_stop_has_a_limit(new_ssh_hub: Any) -> None:
    ssh_hub = new_ssh_hub(limits='{"stop_seconds": 1}')
    name = ssh_hub.hub.repo()

    async def work(connection: asyncssh.SSHClientConnection) -> int:
        process = await connection.create_process(f"git-upload-pack '{name}'")
        await process.stdout.readexactly(4)
        return int(ssh_hub.hub.stop())

    assert ssh_hub.talk(work) == 0


def test_without_the_setting_there_is_no_ssh(hub: Any) -> None:
    assert "SSH:" not in hub.log.read_text()
    assert not (hub.data / "ssh_host_ed25519_key").exists()

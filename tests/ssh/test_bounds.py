"""What a client may ask for that no honest one does, and how much of anything."""

import asyncio
import hashlib
import json
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncssh
import psutil
import pytest

from gitserver.protocol.pktline import FLUSH, pkt
from storage.limits import MIB

GREETING = "Hi alice!"


async def greeted(connection: asyncssh.SSHClientConnection) -> bool:
    return str((await connection.run()).stderr).startswith(GREETING)


@pytest.mark.parametrize(
    "line",
    [
        "ls",
        "sh -c id",
        "git",
        "git config -l",
        "git-shell -c id",
        "git-upload-archive 'alice/x.git'",
        "git-upload-pack",
        "git-upload-pack --strict 'alice/x.git'",
        "git-upload-pack 'alice/x.git' 'more'",
        "git-upload-pack 'alice/x.git'; id",
        "git-lfs-authenticate alice/x.git",
        "git-lfs-authenticate alice/x.git delete",
        "git-lfs-transfer alice/x.git download a b",
        "git-upload-pack 'alice/x.git",
        "scp -t /",
        "git-upload-pack " + "x" * 5000,
        "x" * 30_000,
        "\0",
        "git-upload-pack $(id)",
        "GIT_DIR=/ git-upload-pack 'alice/x.git'",
    ],
)
def test_nothing_else_is_run(ssh_hub: Any, line: str) -> None:
    async def work(connection: asyncssh.SSHClientConnection) -> asyncssh.SSHCompletedProcess:
        return await connection.run(line, input="")

    done = ssh_hub.talk(work)

    assert done.exit_status == 1
    assert done.stdout == ""
    assert str(done.stderr).startswith("ERROR: ")
    assert len(str(done.stderr)) < 300


def test_a_command_that_is_no_text_is_refused(ssh_hub: Any) -> None:
    done = ssh_hub.ssh(b"git-upload-pack \xff\xfe".decode("utf-8", "surrogateescape"))

    assert done.returncode != 0
    assert ssh_hub.talk(greeted)


def test_no_doors_beside(ssh_hub: Any) -> None:
    """Forwarding in any direction, terminals, files, agents, windows."""

    async def work(connection: asyncssh.SSHClientConnection) -> list[str]:
        refused: list[str] = []
        port = int(ssh_hub.hub.url.rsplit(":", 1)[1])
        attempts: dict[str, Any] = {
            "out": lambda: connection.open_connection("127.0.0.1", port),
            "socket out": lambda: connection.open_unix_connection("/run/x"),
            "in": lambda: connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", port),
            "socket in": lambda: connection.forward_remote_path("/tmp/kohakuhub-x", "/tmp/kohakuhub-y"),
            "files": connection.start_sftp_client,
            "terminal": lambda: connection.create_process(term_type="xterm"),
        }
        for name, attempt in attempts.items():
            try:
                await attempt()
            except (asyncssh.Error, asyncssh.ChannelListenError, OSError):
                refused.append(name)
        return refused

    assert ssh_hub.talk(work) == ["out", "socket out", "in", "socket in", "files", "terminal"]
    assert not Path("/tmp/kohakuhub-x").exists()


def test_passwords_are_not_asked_for(ssh_hub: Any) -> None:
    async def work() -> None:
        options = {"username": "git", "password": "correct horse battery", "client_keys": None, "known_hosts": None, "config": None}
        await asyncssh.connect("127.0.0.1", ssh_hub.port, agent_path=None, **options)

    with pytest.raises(asyncssh.PermissionDenied):
        asyncio.run(asyncio.wait_for(work(), 60))


def test_the_environment_stays_outside(ssh_hub: Any) -> None:
    """Only GIT_PROTOCOL comes in, and not a long one; the hub's memory does not grow with what is sent."""
    hub = psutil.Process(ssh_hub.hub.process.pid)

    async def work(connection: asyncssh.SSHClientConnection) -> tuple[str, str, int]:
        name = ssh_hub.hub.repo()
        before = hub.memory_info().rss
        many = {f"LD_{number}": "x" * 30_000 for number in range(2000)}
        flooded = await connection.run(f"git-upload-pack '{name}'", env=many | {"GIT_PROTOCOL": "version=2"}, input=FLUSH.decode())
        grown = hub.memory_info().rss - before
        long = await connection.run(f"git-upload-pack '{name}'", env={"GIT_PROTOCOL": "version=2:" + "x" * 2000}, input=FLUSH.decode())
        return str(flooded.stdout), str(long.stdout), grown

    flooded, long, grown = ssh_hub.talk(work)

    assert flooded.startswith("000eversion 2")
    assert "multi_ack" in long
    assert grown < 30 * MIB


def test_sessions_of_one_connection_are_counted(ssh_hub: Any) -> None:
    """Three at once here; what is closed makes room."""
    name = ssh_hub.hub.repo()

    async def work(connection: asyncssh.SSHClientConnection) -> bool:
        open_ones = [await connection.create_process(f"git-upload-pack '{name}'") for _ in range(3)]
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.create_process("x")
        for process in open_ones:
            process.stdin.write(FLUSH.decode())
            await process.wait()
        return await greeted(connection)

    assert ssh_hub.talk(work)


def test_two_dozen_come_at_once_from_one_address(ssh_hub: Any) -> None:
    """A build farm behind one router: none is cut while it signs in, though as many do nothing at all."""
    name, key = ssh_hub.hub.repo(), str(ssh_hub.key("alice"))
    options: dict[str, Any] = {"username": "git", "client_keys": [key], "known_hosts": None, "config": None, "agent_path": None}

    async def fetch() -> int | None:
        async with asyncssh.connect("127.0.0.1", ssh_hub.port, **options) as connection:
            return (await connection.run(f"git-upload-pack '{name}'", input=FLUSH.decode())).exit_status

    async def work() -> list[int | None]:
        return await asyncio.gather(*(fetch() for _ in range(24)))

    idle = [socket.create_connection(("127.0.0.1", ssh_hub.port), timeout=30) for _ in range(24)]
    try:
        assert asyncio.run(asyncio.wait_for(work(), 60)) == [0] * 24
    finally:
        for connection in idle:
            connection.close()
    assert "too many SSH connections" not in ssh_hub.hub.log.read_text()


@pytest.fixture(scope="module")
def small_hub(new_ssh_hub: Any) -> Any:
    """One with little room and patience."""
    numbers = {"waiting": 4, "keys_tried": 3, "user_sessions": 2, "user_connections": 2, "login_seconds": 6, "idle_seconds": 6}
    made = new_ssh_hub(limits=json.dumps({f"ssh_{name}": number for name, number in numbers.items()}))
    made.key("alice")
    return made


def test_who_does_not_sign_in_makes_room_and_is_sent_away(small_hub: Any) -> None:
    waiting = [socket.create_connection(("127.0.0.1", small_hub.port), timeout=30) for _ in range(6)]
    said = []
    for connection in waiting:
        with connection, connection.makefile("rb") as file, suppress(ConnectionResetError):
            said.append(file.read())  # to the end of the time to sign in

    assert [b"Too many connections wait here to sign in" in text for text in said] == [True, True, False, False, False, False]
    assert small_hub.hub.log.read_text().count("too many SSH connections, one from 127.0.0.1 is closed (limit ssh_waiting)") == 2
    assert GREETING.encode() in small_hub.ssh().stderr


def test_not_every_key_of_the_world_is_tried(small_hub: Any) -> None:
    async def work() -> None:
        keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(6)]
        await asyncssh.connect(
            "127.0.0.1", small_hub.port, username="git", client_keys=keys, known_hosts=None, config=None, agent_path=None
        )

    with pytest.raises(asyncssh.PermissionDenied, match="Too many keys"):
        asyncio.run(asyncio.wait_for(work(), 60))


def test_sessions_of_a_user_are_counted_and_silent_ones_end(small_hub: Any) -> None:
    name = small_hub.hub.repo()

    async def work(connection: asyncssh.SSHClientConnection) -> tuple[str, list[int | None]]:
        silent = [await connection.create_process(f"git-upload-pack '{name}'") for _ in range(2)]
        refused = await connection.run()
        return str(refused.stderr), [(await process.wait()).exit_status for process in silent]

    refused, statuses = small_hub.talk(work)

    assert refused.startswith("ERROR: The hub is busy")
    assert statuses == [1, 1]


def test_connections_of_a_user_are_counted_and_idle_ones_end(small_hub: Any) -> None:
    options: dict[str, Any] = {"username": "git", "client_keys": [str(small_hub.key("alice"))], "known_hosts": None, "config": None}

    async def work(connection: asyncssh.SSHClientConnection) -> bool:
        async with asyncssh.connect("127.0.0.1", small_hub.port, agent_path=None, **options):
            third = await asyncssh.connect("127.0.0.1", small_hub.port, agent_path=None, **options)
            await third.wait_closed()
            is_good = await greeted(connection)
        await connection.wait_closed()
        return is_good

    assert small_hub.talk(work)


def test_a_client_that_does_not_read_holds_up_itself_alone(ssh_hub: Any) -> None:
    """It may open a window of any size: the hub keeps little of what it does not take."""
    name, data = ssh_hub.hub.repo(), bytes(100 * MIB)
    oid = hashlib.sha256(data).hexdigest()
    body = {"operation": "upload", "objects": [{"oid": oid, "size": len(data)}]}
    kind = "application/vnd.git-lfs+json"
    batch = ssh_hub.hub.call("POST", f"/{name}.git/info/lfs/objects/batch", body, Content_Type=kind, Accept=kind).json()
    path = batch["objects"][0]["actions"]["upload"]["href"].removeprefix(ssh_hub.hub.url)
    assert ssh_hub.hub.call("PUT", path, data, token="", Content_Type="application/octet-stream").status == 200
    hub = psutil.Process(ssh_hub.hub.process.pid)

    async def work(connection: asyncssh.SSHClientConnection) -> tuple[int, bool]:
        before = hub.memory_info().rss
        process = await connection.create_process(f"git-lfs-transfer {name} download", encoding=None, window=1 << 30)
        process.stdin.write(pkt(b"version 1\n") + FLUSH + pkt(f"get-object {oid}\n".encode()) + FLUSH)
        await process.stdout.readexactly(100)
        transport = connection._transport
        assert transport is not None
        transport.pause_reading()
        grown = [hub.memory_info().rss - before]
        until = time.monotonic() + 20
        while time.monotonic() < until and (len(grown) < 10 or grown[-1] > grown[-10]):
            await asyncio.sleep(0.2)
            grown.append(hub.memory_info().rss - before)
        others = await asyncio.to_thread(ssh_hub.ssh)
        return max(grown), GREETING.encode() in others.stderr

    grown, is_alive = ssh_hub.talk(work)

    assert grown < 30 * MIB
    assert is_alive


def test_a_push_from_a_client_that_keeps_its_side_open(ssh_hub: Any, tmp_path: Path) -> None:
    """JGit and libgit2 do; and one that sends byte by byte."""
    name = ssh_hub.hub.repo()
    git = ssh_hub.git(tmp_path).start()
    oid = git.commit("first", a="a")
    (tmp_path / "revs").write_text(oid)
    git("-c", "pack.threads=1", "pack-objects", "--all", "-q", "p")
    pack = next(tmp_path.glob("p-*.pack")).read_bytes()
    head = pkt(f"{'0' * 40} {oid} refs/heads/main\0report-status".encode()) + FLUSH

    async def work(connection: asyncssh.SSHClientConnection) -> bytes:
        process = await connection.create_process(f"git-receive-pack '{name}'", encoding=None)
        for byte in head + pack:
            process.stdin.write(bytes((byte,)))
        out: bytes = await process.stdout.read()
        return out

    said = ssh_hub.talk(work)

    assert said.endswith(pkt(b"unpack ok\n") + pkt(b"ok refs/heads/main\n") + FLUSH)
    assert git("ls-remote", ssh_hub.url(name), "main").startswith(oid)


@pytest.mark.parametrize(
    "said",
    [
        b"nonsense",
        b"0001",
        pkt(b"x" * 100) + FLUSH,
        pkt(b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/main\0report-status") + FLUSH + b"PACK\0\0\0\2\0\0\0\1broken",
        pkt(b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/main\0report-status") + FLUSH,
        pkt(b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/main\0report-status"),
        (pkt(b"0" * 40 + b" " + b"1" * 40 + b" refs/heads/" + b"x" * 60_000)) * 60,
        b"",
    ],
    ids=range(8),
)
def test_broken_pushes(ssh_hub: Any, said: bytes) -> None:
    name = ssh_hub.hub.repo()
    ssh_hub.ssh(f"git-receive-pack '{name}'", data=said)

    assert ssh_hub.ssh(f"git-upload-pack '{name}'", data=FLUSH).returncode == 0
    assert ssh_hub.hub.call("GET", f"/api/models/{name}/refs").json()["branches"] == []
    ssh_hub.hub.wait_until_tidy()


@pytest.mark.parametrize(
    "said",
    [b"nonsense", pkt(b"want x\n") + FLUSH, pkt(b"want " + b"1" * 40 + b"\n") + FLUSH + pkt(b"done\n"), pkt(b"deepen x") + FLUSH],
)
def test_broken_fetches(ssh_hub: Any, said: bytes) -> None:
    name = ssh_hub.hub.repo()
    done = ssh_hub.ssh(f"git-upload-pack '{name}'", data=said)

    assert done.returncode == 1
    assert b"ERR " in done.stdout


def test_the_limit_of_a_request_holds(ssh_hub: Any) -> None:
    name = ssh_hub.hub.repo()
    line = pkt(b"ref-prefix " + b"x" * 65000 + b"\n")

    async def work(connection: asyncssh.SSHClientConnection) -> bytes:
        process = await connection.create_process(f"git-upload-pack '{name}'", encoding=None, env={"GIT_PROTOCOL": "version=2"})
        process.stdin.write(pkt(b"command=ls-refs\n") + b"0001" + line * 300)
        out: bytes = await process.stdout.read()
        return out

    assert b"larger than the limit of 16777216 bytes" in ssh_hub.talk(work)

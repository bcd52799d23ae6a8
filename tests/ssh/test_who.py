"""Who gets in, to what, and what the others are told."""

import asyncio
import subprocess
from pathlib import Path
from typing import Any

import asyncssh
import pytest


def test_a_shell_is_greeted_and_refused(ssh_hub: Any) -> None:
    done = ssh_hub.ssh()

    assert done.returncode == 1
    assert done.stderr.startswith(b"Hi alice! Your key is good. There is no shell access here")


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_kinds_of_keys(ssh_hub: Any, kind: str) -> None:
    line = [*ssh_hub.command("bob", kind).split(), "git@127.0.0.1"]

    assert b"Hi bob!" in subprocess.run(line, capture_output=True, timeout=60, check=False).stderr


def test_signatures_by_sha1_are_not_taken(ssh_hub: Any) -> None:
    options: dict[str, Any] = {"username": "git", "client_keys": [str(ssh_hub.key("bob", "rsa"))], "known_hosts": None, "config": None}

    async def work(algorithm: str) -> str:
        async with asyncssh.connect("127.0.0.1", ssh_hub.port, agent_path=None, signature_algs=[algorithm], **options) as connection:
            return str((await connection.run()).stderr)

    assert asyncio.run(asyncio.wait_for(work("rsa-sha2-256"), 60)).startswith("Hi bob!")
    with pytest.raises(asyncssh.PermissionDenied):
        asyncio.run(asyncio.wait_for(work("ssh-rsa"), 60))


def test_an_unknown_key_gets_nowhere(ssh_hub: Any) -> None:
    done = ssh_hub.ssh(user="nobody")

    assert done.returncode == 255
    assert b"Permission denied (publickey)" in done.stderr


def test_the_user_is_called_git(ssh_hub: Any) -> None:
    done = ssh_hub.ssh(login="alice")

    assert done.returncode == 255
    assert b"The user is called git here" in done.stderr
    assert b"Permission denied (publickey)" in done.stderr


def test_private_and_missing_look_the_same(ssh_hub: Any) -> None:
    private = ssh_hub.hub.repo(private=True)
    answers = {
        (done.returncode, done.stdout, done.stderr)
        for name in (private, "alice/nothing", "nobody/x", "a/b/c/d", "alice/..", "x")
        for verb in (
            "git-upload-pack '{}.git'",
            "git-receive-pack '{}.git'",
            "git-lfs-authenticate {} download",
            "git-lfs-transfer {} upload",
        )
        for done in [ssh_hub.ssh(verb.format(name), user="bob")]
    }

    assert answers == {(1, b"", b"ERROR: Repository not found.\r\n")}


def test_a_reader_reads_and_does_not_write(ssh_hub: Any, tmp_path: Path) -> None:
    name = ssh_hub.hub.repo()
    alice = ssh_hub.git(tmp_path / "alice").start()
    first = alice.commit("first", a="a")
    alice("push", "-q", ssh_hub.url(name), "main")
    bob = ssh_hub.git(tmp_path / "bob", user="bob")
    bob("clone", "-q", ssh_hub.url(name), "clone")
    bob.at("clone").commit("second", a="b")
    refused = bob.at("clone").run("push", "origin", "main")

    assert f"ERROR: You may read {name}, but this needs the write right, which bob lacks. Ask alice, its owner, for" in refused.stderr
    assert "token" not in refused.stderr
    for command in (f"git-lfs-authenticate {name} upload", f"git-lfs-transfer {name} upload"):
        assert b"needs the write right" in ssh_hub.ssh(command, user="bob").stderr
    assert alice("ls-remote", ssh_hub.url(name), "main").startswith(first)


def test_a_deleted_key_is_over_at_once(ssh_hub: Any, tmp_path: Path) -> None:
    """Also on a connection that is open."""
    token = ssh_hub.hub.launcher.admin("create-token", "alice", "--name", "keys", "--scope", "admin").stdout.strip()
    path = ssh_hub.folder / "passing"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True, timeout=60)
    answer = ssh_hub.hub.call("POST", "/api/user/keys", {"title": "passing", "key": path.with_suffix(".pub").read_text()}, token=token)
    ssh_hub.keys["passing-ed25519"] = path

    async def work(connection: asyncssh.SSHClientConnection) -> tuple[str, str]:
        before = await connection.run()
        ssh_hub.hub.call("DELETE", f"/api/user/keys/{answer.json()['id']}", token=token)
        after = await connection.run()
        return str(before.stderr), str(after.stderr)

    before, after = ssh_hub.talk(work, user="passing")

    assert answer.status == 200, answer
    assert before.startswith("Hi alice!")
    assert after.startswith("ERROR: This SSH key is no longer known here")
    assert ssh_hub.ssh(user="passing").returncode == 255


def test_asking_about_a_key_is_no_proof(ssh_hub: Any) -> None:
    """Who holds bob's key and names alice's public one first is bob."""
    public = asyncssh.read_public_key(str(ssh_hub.key("alice")) + ".pub")

    class Claim(asyncssh.SSHClient):
        """Offers alice's key with a signature by bob's, then bob's own."""

        def __init__(self) -> None:
            false = asyncssh.load_keypairs([str(ssh_hub.key("bob"))])[0]
            false.public_data = public.public_data
            self.keys = [false, *asyncssh.load_keypairs([str(ssh_hub.key("bob"))])]

        def public_key_auth_requested(self) -> asyncssh.SSHKeyPair | None:
            return self.keys.pop(0) if self.keys else None

    async def work() -> tuple[str, int]:
        options: dict[str, Any] = {"username": "git", "known_hosts": None, "config": None, "agent_path": None, "client_keys": ()}
        connection, client = await asyncssh.create_connection(Claim, "127.0.0.1", ssh_hub.port, **options)
        said = str((await connection.run()).stderr)
        connection.close()
        await connection.wait_closed()
        assert isinstance(client, Claim)
        return said, len(client.keys)

    said, left = asyncio.run(asyncio.wait_for(work(), 60))

    assert said.startswith("Hi bob!")
    assert left == 0


def test_the_last_use_of_a_key_is_noted(ssh_hub: Any) -> None:
    ssh_hub.ssh()
    keys = ssh_hub.hub.call("GET", "/api/user/keys").json()

    assert any(key["last_used"] for key in keys if key["title"] == "alice-ed25519")

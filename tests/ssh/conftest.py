"""A hub that speaks SSH, and the real ssh, git and git-lfs as people with keys of their own."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncssh
import pytest

from tests.servers.needs import need

T = TypeVar("T")

LIMITS = '{"ssh_connection_sessions": 3, "lfs_batch_objects": 20}'


@dataclass
class SshHub:
    """A running hub; `key` makes keys and hands them to accounts."""

    hub: Any
    port: int
    folder: Path
    keys: dict[str, Path] = field(default_factory=dict)

    def key(self, user: str, kind: str = "ed25519") -> Path:
        """Of an account of the hub, made once; of nobody when there is no such account."""
        name = f"{user}-{kind}"
        if name not in self.keys:
            path = self.keys[name] = self.folder / name
            subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", path], check=True, timeout=60)
            if user in ("alice", "bob"):
                self.register(user, path.with_suffix(".pub").read_text())
        return self.keys[name]

    def register(self, user: str, text: str) -> None:
        made = self.hub.launcher.admin("add-ssh-key", user, "--key-stdin", stdin=text)
        assert made.returncode == 0, made.stderr

    def url(self, name: str) -> str:
        return f"ssh://git@127.0.0.1:{self.port}/{name}.git"

    def command(self, user: str = "alice", kind: str = "ed25519") -> str:
        """The ssh that git runs as `user`: nothing of this machine's own configuration."""
        known = self.folder / "known_hosts"
        if not known.exists():
            key = self.hub.data / "ssh_host_ed25519_key"
            public = subprocess.run(["ssh-keygen", "-y", "-f", key], check=True, capture_output=True, text=True, timeout=60).stdout
            known.write_text(f"[127.0.0.1]:{self.port} {public}")
        options = ("IdentitiesOnly=yes", "IdentityAgent=none", "BatchMode=yes", "StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}")
        return f"ssh -F none -i {self.key(user, kind)} -p {self.port} " + " ".join(f"-o {option}" for option in options)

    def ssh(self, *words: str, user: str = "alice", login: str = "git", data: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        line = [*self.command(user).split(), "-T", f"{login}@127.0.0.1", *words]
        return subprocess.run(line, input=data, capture_output=True, timeout=60, check=False)

    def git(self, path: Path, user: str = "alice", version: int = 2) -> "Git":
        return Git(path, self.command(user), version)

    def talk(self, work: Callable[[asyncssh.SSHClientConnection], Awaitable[T]], user: str = "alice") -> T:
        """A connection of asyncssh's, for what the ssh client never does."""

        async def run() -> T:
            async with asyncssh.connect(
                "127.0.0.1",
                self.port,
                username="git",
                client_keys=[str(self.key(user))],
                known_hosts=None,
                config=None,
                agent_path=None,
            ) as connection:
                return await work(connection)

        return asyncio.run(asyncio.wait_for(run(), 60))


class Git:
    """git and git-lfs in one folder, as one person."""

    def __init__(self, path: Path, ssh: str, version: int = 2) -> None:
        self.path = path
        self.ssh = ssh
        self.settings = [f"protocol.version={version}", "gc.auto=0", "init.defaultBranch=main", "lfs.locksverify=false"]
        path.mkdir(parents=True, exist_ok=True)

    def __call__(self, *args: str) -> str:
        done = self.run(*args)
        assert done.returncode == 0, (args, done.stderr)
        return done.stdout.strip()

    def run(self, *args: str) -> "subprocess.CompletedProcess[str]":
        names = {"AUTHOR": "A", "COMMITTER": "A"}
        people = {f"GIT_{who}_{what}": value for who in names for what, value in (("NAME", "A"), ("EMAIL", "a@example.org"))}
        bin_folder = str(Path(sys.executable).parent)
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "SSH_"))},
            **people,
            "HOME": str(self.path),
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_SSH_COMMAND": self.ssh,
            "LC_ALL": "C",
        }
        flags = [word for setting in self.settings for word in ("-c", setting)]
        return subprocess.run(["git", *flags, *args], cwd=self.path, env=env, capture_output=True, text=True, timeout=120, check=False)

    def start(self) -> "Git":
        self("init", "-q")
        return self

    def commit(self, message: str, **files: str) -> str:
        for name, content in files.items():
            (self.path / name).write_text(content)
        self("add", "-A")
        self("commit", "-q", "--allow-empty", "-m", message)
        return self("rev-parse", "HEAD")

    def at(self, path: str) -> "Git":
        """A clone inside."""
        inner = Git(self.path / path, self.ssh)
        inner.settings = self.settings
        return inner


@pytest.fixture(scope="session")
def ssh_program() -> None:
    need("" if shutil.which("ssh") and shutil.which("ssh-keygen") else "the ssh client is missing: sh tests/servers/openssh.sh")


@pytest.fixture(scope="session")
def new_ssh_hub(ssh_program: None, new_launcher: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., SshHub]]:
    """Starts hubs with SSH; they are stopped at the end, and nothing unexpected may stand in their logs."""
    started: list[SshHub] = []

    def start(*options: str, limits: str = LIMITS, launcher: Any = None, **environment: str) -> SshHub:
        folder = tmp_path_factory.mktemp("ssh")
        if launcher is None:
            launcher = new_launcher(folder / "data")
            launcher.users()
        hub = launcher.start(*options, environment={"KOHAKU_HUB_SSH_PORT": "0", "KOHAKU_HUB_LIMITS": limits, **environment})
        found = re.search(r"SSH: git clone ssh://git@127.0.0.1:(\d+)/", hub.log.read_text())
        assert found is not None
        started.append(SshHub(hub, int(found[1]), folder))
        return started[-1]

    yield start
    for made in started:
        if made.hub.process.poll() is None:
            assert made.hub.stop() == 0
        wrong = [line for line in made.hub.log.read_text().splitlines() if "unexpected error" in line or "Traceback" in line]
        assert not wrong, made.hub.log.read_text()


@pytest.fixture(scope="session")
def ssh_hub(new_ssh_hub: Callable[..., SshHub]) -> SshHub:
    return new_ssh_hub()

"""The real clients, each run as a person would: its own home, nothing configured but the address and the token."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
CLIENTS = ROOT / ".venv" / "clients"


class Machine:
    """A computer with git, git-lfs and a Hugging Face client; `home` is all that it remembers."""

    def __init__(self, home: Path, hub: Any) -> None:
        self.home = home
        self.hub = hub
        home.mkdir(parents=True)
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": hub.token,
        }
        self.run("git", "config", "--global", "user.name", "Ann")
        self.run("git", "config", "--global", "user.email", "ann@example.org")
        self.run("git", "config", "--global", "init.defaultBranch", "main")
        self.run("git", "lfs", "install")

    def run(self, *command: str, folder: Path | None = None, may_fail: bool = False) -> str:
        """Standard output; the command must succeed unless it may fail (then both outputs)."""
        where = folder or self.home
        done = subprocess.run(command, cwd=where, env=self.environment, capture_output=True, text=True, timeout=280, check=False)
        if may_fail:
            return done.stdout + done.stderr
        assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def git(self, folder: Path, *arguments: str) -> str:
        return self.run("git", *arguments, folder=folder).strip()

    def python(self, client: str, script: str, *arguments: str) -> str:
        """`script` in the environment of that client."""
        return self.run(str(CLIENTS / client / "bin" / "python"), "-c", script, *arguments)

    def hf(self, *arguments: str) -> str:
        return self.run(str(CLIENTS / "newest" / "bin" / "hf"), *arguments)


@pytest.fixture
def machine(hub: Any, tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine", hub)


@pytest.fixture
def another_machine(hub: Any, tmp_path: Path) -> Machine:
    return Machine(tmp_path / "another", hub)

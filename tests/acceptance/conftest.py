"""The real clients, each run as a person would: its own home, nothing configured but the address and the token."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.forked import Forks
from tests.harness.run import shared
from tests.servers.shared import CLIENTS

# The command line `hf`, as its script calls it.
HF = "import sys; from huggingface_hub.cli.hf import main; sys.argv[0] = 'hf'; main()"
# As `git config --global` and `git lfs install` leave it.
GIT_CONFIG = """
[user]
    name = Ann
    email = ann@example.org
[init]
    defaultBranch = main
[filter "lfs"]
    clean = git-lfs clean -- %f
    smudge = git-lfs smudge -- %f
    process = git-lfs filter-process
    required = true
"""


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
        (home / ".gitconfig").write_text(GIT_CONFIG)

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
        """`script` in the environment of that client, in a process that is forked from one that has imported what it needs."""
        forks: Forks = shared(client)
        done = forks.run({"code": script}, arguments, environment=self.environment, folder=self.home, timeout=280)
        assert done.returncode == 0, f"{script}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def tool(self, client: str) -> str:
        """The command line of that client."""
        shared(f"set-up {client}")
        return str(CLIENTS / client / "bin" / "hf")

    def hf(self, *arguments: str) -> str:
        return self.python("newest", HF, *arguments)

    def clone(self, name: str, folder: str) -> Path:
        """A clone of `name` with its large files."""
        self.run("git", "clone", "-q", self.hub.git_url(name), folder)
        return self.home / folder

    def refs(self, name: str) -> dict[str, str]:
        """What git sees, by the full name of the ref."""
        listed = self.run("git", "ls-remote", self.hub.git_url(name)).splitlines()
        return {ref: oid for oid, ref in (line.split("\t") for line in listed)}

    def check_sound(self, work: Path, wanted: dict[str, bytes], large: set[str]) -> None:
        """The clone holds `wanted` and nothing else beside .gitattributes; git and git-lfs find nothing wrong and nothing to do."""
        found = files(work)
        found.pop(".gitattributes")
        assert {path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path)} == set()
        assert set(self.git(work, "-c", "core.quotePath=false", "lfs", "ls-files", "--name-only").splitlines()) == large
        assert self.git(work, "status", "--porcelain") == ""
        self.git(work, "fsck", "--strict")
        self.git(work, "lfs", "fsck")


def files(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` that is not the clients' own."""
    found = (path for path in folder.rglob("*") if path.is_file() and not {".git", ".cache"} & set(path.relative_to(folder).parts))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture(scope="module", params=["embedded_hub", "cluster_hub"])
def hub(request: pytest.FixtureRequest) -> Any:
    """What the clients can do they can do on the embedded default, and on the cluster as it is deployed."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def machine(hub: Any, tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine", hub)


@pytest.fixture
def another_machine(hub: Any, tmp_path: Path) -> Machine:
    return Machine(tmp_path / "another", hub)


@pytest.fixture(scope="module")
def make_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Any], Machine]]:
    """New computers that talk to a given hub, for fixtures of a module; they are gone after it."""
    folder = tmp_path_factory.mktemp("machines")
    yield lambda hub: Machine(Path(tempfile.mkdtemp(dir=folder)) / "home", hub)
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def files_below() -> Callable[[Path], dict[str, bytes]]:
    return files

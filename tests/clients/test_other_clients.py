"""Clients besides git and the Hugging Face ones, as they are: clone, clone of depth 1, push, and a large file."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients import programs
from tests.servers.needs import need_program

_HERE = Path(__file__).parent
_SECONDS = 120
_LARGE = 3 << 20  # of a file in git
_LARGER = 24 << 20  # of a file that @huggingface/hub sends apart from the commit
# A package that needs no other one to be built, so that pip asks no index.
_BACKEND = """
import zipfile

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "fromthehub-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        wheel.write("fromthehub.py")
        wheel.writestr("fromthehub-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: fromthehub\\nVersion: 1.0\\n")
        wheel.writestr("fromthehub-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("fromthehub-1.0.dist-info/RECORD", "")
    return name
"""
_PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.fixture(scope="session")
def pygit2_client() -> list[str]:
    need_program("pygit2", programs.missing_pygit2)
    return [str(programs.PYGIT2), str(_HERE / "pygit2_client.py")]


@pytest.fixture(scope="session")
def node_clients() -> dict[str, list[str]]:
    if reason := programs.without_node():
        pytest.skip(reason)
    need_program("node", programs.missing_node_clients)
    return {name: ["node", str(_HERE / f"{name}.mjs")] for name in ("isomorphic", "huggingface")}


@pytest.fixture(scope="session")
def gogit_client() -> list[str]:
    if reason := programs.without_go():
        pytest.skip(reason)
    need_program("gogit", programs.missing_gogit)
    return [str(programs.GOGIT)]


@pytest.fixture
def repo(hub: Any, tmp_path: Path) -> str:
    """Of three commits, and the first page that the hub makes."""
    name: str = hub.repo(private=True)
    work = tmp_path / "made"
    git(tmp_path, "clone", "-q", hub.git_url(name), str(work))
    for number in range(3):
        (work / "file.txt").write_text(f"{number}\n")
        commit(work, f"Number {number}")
    git(work, "push", "-q", "origin", "HEAD")
    return name


def git(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(["git", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(work: Path, message: str) -> None:
    git(work, "add", "-A")
    git(work, "-c", "user.name=Ann", "-c", "user.email=ann@example.org", "commit", "-q", "-m", message)


def run(command: list[str], folder: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "NODE_CLIENTS": str(programs.NODE_CLIENTS), "LANG": "C.UTF-8"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def large_file(path: Path, size: int) -> str:
    """Its SHA-256."""
    path.write_bytes(os.urandom(size))
    return digest(path)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_git_client(command: list[str], hub: Any, name: str, folder: Path) -> None:
    sent = large_file(folder / "large", _LARGE)
    total = int(git(folder / "made", "rev-list", "--count", "HEAD"))

    said = json.loads(run([*command, f"{hub.url}/{name}.git", hub.user, hub.token, str(folder), str(folder / "large")], folder))

    assert (said["full"], said["shallow"]) == (total, 1)
    git(folder, "clone", "-q", hub.git_url(name), "back")
    assert git(folder / "back", "rev-parse", "HEAD") == said["pushed"]
    assert digest(folder / "back" / "large.bin") == sent
    assert (folder / "full" / "file.txt").read_text() == "2\n"
    git(folder / "back", "fsck", "--strict")


def test_pygit2(hub: Any, pygit2_client: list[str], repo: str, tmp_path: Path) -> None:
    check_git_client(pygit2_client, hub, repo, tmp_path)


def test_isomorphic_git(hub: Any, node_clients: dict[str, list[str]], repo: str, tmp_path: Path) -> None:
    check_git_client(node_clients["isomorphic"], hub, repo, tmp_path)


def test_go_git(hub: Any, gogit_client: list[str], repo: str, tmp_path: Path) -> None:
    check_git_client(gogit_client, hub, repo, tmp_path)


def test_huggingface_hub_for_javascript(hub: Any, node_clients: dict[str, list[str]], tmp_path: Path) -> None:
    sent = large_file(tmp_path / "large", _LARGER)
    name = f"{hub.user}/js{os.urandom(6).hex()}"
    arguments = [hub.url, hub.token, name, str(tmp_path / "large"), str(tmp_path / "back")]

    files = json.loads(run([*node_clients["huggingface"], *arguments], tmp_path))

    assert ["large.bin", _LARGER, True] in files
    assert ["small.txt", 6, False] in files
    assert digest(tmp_path / "back") == sent


@pytest.mark.parametrize("revision", ["", "@v1"])
def test_pip_installs_from_the_hub(hub: Any, repo: str, tmp_path: Path, revision: str) -> None:
    work = tmp_path / "made"
    texts = {"backend.py": _BACKEND, "pyproject.toml": _PROJECT, "fromthehub.py": "NUMBER = 1\n"}
    for path, text in texts.items():
        (work / path).write_text(text)
    commit(work, "A package")
    git(work, "tag", "v1")
    (work / "fromthehub.py").write_text("NUMBER = 2\n")
    commit(work, "Its next version")
    git(work, "push", "-q", "origin", "HEAD", "v1")

    options = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", str(tmp_path / "into")]
    run([sys.executable, "-m", "pip", "install", "-q", *options, f"git+{hub.git_url(repo)}{revision}"], tmp_path)

    assert (tmp_path / "into" / "fromthehub.py").read_text() == f"NUMBER = {1 if revision else 2}\n"

"""`make cluster`: all servers start, keep their data over a stop, and leave no process."""

import inspect
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from shutil import rmtree

import psutil
import pytest
import requests

from tests.harness.hubs import COMMAND, ROOT
from tests.servers import cluster, postgres, s3
from tests.servers.needs import need
from tests.two_users import PASSWORD

_SECONDS = 180


@pytest.fixture
def folder(lakefs_program: None, nginx_program: None) -> Iterator[Path]:
    """Where PostgreSQL may go when the tests run as root."""
    need(postgres.missing() or s3.missing())
    made = Path(tempfile.mkdtemp(prefix="kohaku-cluster-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    rmtree(made)


@contextmanager
def running(folder: Path, **environment: str) -> "Iterator[subprocess.Popen[str]]":
    """Once it has said how to go on."""
    with started([sys.executable, "-m", "tests.servers.cluster", "--data", str(folder)], ROOT, **environment) as process:
        yield process


@contextmanager
def started(command: list[str], where: Path, **environment: str) -> "Iterator[subprocess.Popen[str]]":
    # A shell that starts the tests in the background has Ctrl-C ignored by all that it starts.
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, cwd=where, env=os.environ | environment, stdout=subprocess.PIPE, text=True, preexec_fn=heeds) as process:
        try:
            assert process.stdout is not None
            until = time.monotonic() + _SECONDS
            for line in process.stdout:
                assert time.monotonic() < until
                if "Ctrl-C" in line:
                    break
            else:
                raise AssertionError("the cluster did not start")
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(_SECONDS)


def environment(folder: Path) -> dict[str, str]:
    words = shlex.split((folder / "env").read_text())
    return dict(word.split("=", 1) for word in words if "=" in word)


def keys(folder: Path) -> dict[str, str]:
    """What stays the same; a port may be taken by somebody else in between."""
    return {name: value for name, value in environment(folder).items() if name.endswith("_KEY")}


def admin(folder: Path, *arguments: str) -> str:
    command = [str(COMMAND), "admin", *arguments]
    given = {**os.environ, **environment(folder)}
    return subprocess.run(command, env=given, input=PASSWORD + "\n", capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def lakefs_repositories(folder: Path) -> int:
    known = environment(folder)
    path, auth = "/api/v1/repositories", (known["KOHAKU_HUB_LAKEFS_ACCESS_KEY"], known["KOHAKU_HUB_LAKEFS_SECRET_KEY"])
    answer = requests.get(known["KOHAKU_HUB_LAKEFS_ENDPOINT"] + path, auth=auth, timeout=60)
    assert answer.status_code == 200
    return len(answer.json()["results"])


def call(folder: Path, token: str, path: str, body: object = None) -> object:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(environment(folder)["KOHAKU_HUB_BASE_URL"] + path, data, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_the_cluster_keeps_what_it_was_given_and_stops_as_one(folder: Path) -> None:
    """Ctrl-C the first time; the second time one of its servers dies. Each leaves no process."""
    port = postgres.free_port()
    with running(folder, KOHAKU_CLUSTER_PORT=str(port)) as process:
        assert environment(folder)["KOHAKU_HUB_BASE_URL"] == f"http://127.0.0.1:{port}"
        admin(folder, "create-user", "ann", "--email", "ann@example.org", "--password-stdin")
        token = admin(folder, "create-token", "ann", "--name", "laptop", "--scope", "write")
        call(folder, token, "/api/repos/create", {"type": "model", "name": "first"})
        members = family(process)
    assert process.returncode == 0
    assert [one for one in members if one.is_running()] == []
    before = keys(folder)
    with running(folder) as process:
        info = call(folder, token, "/api/models/ann/first")
        repositories = lakefs_repositories(folder)
        members = family(process)
        next(one for one in members if "weed" in one.name()).kill()
        assert process.wait(_SECONDS) == 1
        said = process.stdout.read() if process.stdout else ""

    assert [one for one in members if one.is_running()] == []
    assert "S3 has ended" in said
    assert repositories == 1
    assert len(before) == 4
    assert keys(folder) == before
    assert isinstance(info, dict)
    assert info["id"] == "ann/first"


def test_what_is_missing_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.servers.lakefs.PROGRAM", Path("/nowhere"))

    assert "tests/servers/lakefs.sh" in cluster._refuse(folder)


def test_o3_make_cluster_asks_for_each_program_by_its_own_script() -> None:
    """Seaweed comes with the extra `test`, as everything of Python."""
    recipe = re.search(r"^cluster:(.*)\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert recipe is not None
    told = re.findall(r"\w+\.missing\(\)", inspect.getsource(cluster._refuse))

    assert "$(VENV)/installed-test" in recipe[1]
    assert {*re.findall(r"sh tests/servers/(\w+)\.sh", recipe[2])} == {word.split(".")[0] for word in told} - {"s3"}


def test_o3_a_taken_port_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("KOHAKU_CLUSTER_PORT", str(taken.getsockname()[1]))
        assert "KOHAKU_CLUSTER_PORT" in cluster._refuse(folder)

    assert cluster._refuse(folder) == ""
    monkeypatch.setenv("KOHAKU_CLUSTER_PORT", "http")
    assert "KOHAKU_CLUSTER_PORT" in cluster._refuse(folder)


@pytest.mark.long
def test_o3_make_cluster_from_a_fresh_clone(folder: Path) -> None:
    """What was committed is enough; only the cache of programs is that of the other tests."""
    tree, port = folder / "tree", postgres.free_port()
    subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True, timeout=60)
    with started(["make", "cluster"], tree, KOHAKU_CLUSTER_PORT=str(port), VIRTUAL_ENV="") as process:
        members = family(process)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as answer:
            assert answer.status == 200
        for one in members:
            if "tests.servers.cluster" in one.cmdline():
                one.send_signal(signal.SIGINT)  # as a terminal does: to all of them
    assert [one for one in members if one.is_running()] == []

"""Clones that are made ahead: by processes of the hub's own, once for all who ask for the same, whatever becomes of those."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.lakefs.lake import Work

PROCESSES = "1"


@pytest.fixture
def launch(tmp_path: Path, new_launcher: Any) -> Iterator[Callable[..., Any]]:
    """Starts hubs that serve small repositories as large ones."""
    launcher = new_launcher(tmp_path / "data")
    launcher.users()
    started = []

    def start(**settings: str) -> Any:
        environment = {
            "LIMITS": json.dumps({"prepared_objects": 50, "apart_pack_objects": 1}),
            "WORKSHOP_PROCESSES": PROCESSES,
            **settings,
        }
        started.append(launcher.start(environment={f"KOHAKU_HUB_{name}": value for name, value in environment.items()}))
        return started[-1]

    yield start
    for hub in started:
        if hub.process.poll() is None:
            assert hub.stop() == 0
        assert "unexpected error" not in hub.log.read_text("utf-8")


@pytest.fixture
def hub(launch: Callable[..., Any]) -> Any:
    return launch()


@pytest.fixture
def name(hub: Any) -> str:
    return str(hub.repo())


@pytest.fixture
def work(hub: Any, name: str, tmp_path: Path) -> Work:
    made = Work(tmp_path / "work", hub.git_url(name))
    for number in range(30):
        made.write({f"d{number % 4}/f{number % 7}": os.urandom(300) * 4, "all": f"{number}\n".encode() * 200})
    made.push("main")
    return made


def prepared(hub: Any, kind: str) -> set[str]:
    return {path.name for path in (hub.data / "prepared").glob(f"*/{kind}-*")}


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """The process pool's processes. Threads and processes may end while they are looked at."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return [child for child in found if b"spawn_main" in command_line(child)]


def command_line(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def clone(hub: Any, name: str, target: Path, *options: str) -> str:
    """A whole and sound clone; its HEAD."""
    commands = [
        ["git", "clone", "-q", *options, hub.git_url(name), str(target)],
        ["git", "-C", str(target), "fsck", "--strict"],
        ["git", "-C", str(target), "rev-parse", "HEAD"],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_clone_is_kept_for_the_next(hub: Any, name: str, work: Work, tmp_path: Path) -> None:
    wait_for(lambda: prepared(hub, "reach"))  # after the push, in the background
    for number, options in enumerate([(), (), ("--filter=blob:none", "--no-checkout"), ("--depth", "1"), ("--depth", "1")]):
        clone(hub, name, tmp_path / f"clone{number}", *options)
    wait_for(lambda: len(prepared(hub, "answer")) == 3)
    assert not list((hub.data / "incoming").iterdir())

    assert hub.call("DELETE", "/api/repos/delete", {"type": "model", "name": name.partition("/")[2]}).status == 200
    wait_for(lambda: not prepared(hub, "*"))


def test_what_was_pushed_meanwhile_is_there(hub: Any, name: str, work: Work, tmp_path: Path) -> None:
    clone(hub, name, tmp_path / "before")
    tip = work.write({"new": b"n"})
    work.push("main")
    assert clone(hub, name, tmp_path / "after") == tip


def test_many_at_once(hub: Any, name: str, work: Work, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tips = pool.map(lambda number: clone(hub, name, tmp_path / f"clone{number}"), range(8))
        assert set(tips) == {work("rev-parse", "HEAD")}


def test_its_processes_are_killed(hub: Any, name: str, work: Work, tmp_path: Path) -> None:
    """By the kernel, for a lack of memory: clones go on, and the next one has new processes."""
    wait_for(lambda: children(hub.process.pid))
    for number in range(3):
        for child in children(hub.process.pid):
            os.kill(child, signal.SIGKILL)
        clone(hub, name, tmp_path / f"clone{number}", "--depth", str(number + 1))
    clone(hub, name, tmp_path / "last")
    wait_for(lambda: prepared(hub, "answer"))


def test_they_end_with_the_hub(launch: Callable[..., Any], hub: Any, name: str, work: Work, tmp_path: Path) -> None:
    """However it ends."""
    wait_for(lambda: children(hub.process.pid))
    kids = children(hub.process.pid)
    os.kill(hub.process.pid, signal.SIGKILL)
    hub.process.wait(30)
    wait_for(lambda: not any(Path(f"/proc/{kid}").exists() for kid in kids))

    second = launch()
    clone(second, name, tmp_path / "clone")
    kids = children(second.process.pid)
    assert len(kids) == int(PROCESSES)
    assert second.stop() == 0
    assert not any(Path(f"/proc/{kid}").exists() for kid in kids)


def test_nothing_is_kept_where_there_is_no_room(launch: Callable[..., Any], hub: Any, name: str, work: Work, tmp_path: Path) -> None:
    assert hub.stop() == 0
    second = launch(PREPARED_BYTES="0")
    clone(second, name, tmp_path / "one")
    clone(second, name, tmp_path / "two")
    wait_for(lambda: not prepared(second, "answer"))


def test_a_large_push_is_checked_apart(hub: Any, name: str, work: Work, tmp_path: Path) -> None:
    """It is answered as any other: taken with its progress, or refused with the reason."""
    before = {*children(hub.process.pid)}
    work.write({"large": os.urandom(100_000)})
    done = work.run("push", "--progress", "origin", "main")
    assert done.returncode == 0, done.stderr
    assert b"remote: Checking objects: 3/3, done." in done.stderr
    wait_for(lambda: {*children(hub.process.pid)} <= before)

    tree = subprocess.run(["git", "mktree"], cwd=work.folder, input=b"", capture_output=True, check=True).stdout.decode().strip()
    blob = work("rev-parse", "HEAD:large")
    (tmp_path / "tree").write_bytes(b"100644 .git\0" + bytes.fromhex(blob) + b"100644 more\0" + bytes.fromhex(blob))
    bad = work("hash-object", "-t", "tree", "-w", "--literally", str(tmp_path / "tree"))
    work("commit-tree", tree, "-m", "x")
    commit = work("commit-tree", bad, "-m", "x")
    (work.folder / "noise").write_bytes(os.urandom(5000))
    tip = work("commit-tree", tree, "-p", commit, "-m", os.urandom(3000).hex())
    assert "hasDotgit: '.git' stands for .git" in work.refused("push", "origin", f"{tip}:refs/heads/bad")
    assert "refs/heads/bad" not in work.remote()


def test_the_process_that_checks_a_push_is_killed(hub: Any, name: str, work: Work) -> None:
    """The client is told, nothing is stored, and the next push goes."""
    stop = threading.Event()

    def kill() -> None:
        before = {*children(hub.process.pid)}
        while not stop.is_set():
            for child in {*children(hub.process.pid)} - before:
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        tip = work.write({"large": os.urandom(100_000)})
        assert "The process that checked the push was ended. Push again." in work.refused("push", "origin", "main")
    finally:
        stop.set()
        killer.join()
    assert work.remote()["refs/heads/main"] != tip
    work.push("main")
    assert work.remote()["refs/heads/main"] == tip
    assert not list((hub.data / "incoming").iterdir())


def test_a_process_that_stands_still(launch: Callable[..., Any], tmp_path: Path) -> None:
    """A clone is made without it; a push that it should check is refused, and goes when it is sent again."""
    limits = {"prepared_objects": 50, "apart_pack_objects": 1, "answer_seconds": 1, "check_seconds": 6}
    hub = launch(LIMITS=json.dumps(limits))
    name = str(hub.repo())
    work = Work(tmp_path / "work", hub.git_url(name))
    for number in range(30):
        tip = work.write({f"f{number}": os.urandom(300)})
    work.push("main")
    wait_for(lambda: prepared(hub, "reach"))
    standing = children(hub.process.pid)
    for child in standing:
        os.kill(child, signal.SIGSTOP)
    assert clone(hub, name, tmp_path / "clone") == tip

    with ThreadPoolExecutor(1) as pool:
        work.write({"more": os.urandom(300)})
        refused = pool.submit(work.refused, "push", "origin", "main")
        wait_for(lambda: {*children(hub.process.pid)} - {*standing})
        (checking,) = {*children(hub.process.pid)} - {*standing}
        os.kill(checking, signal.SIGSTOP)
        assert "took longer than 6 seconds. Push fewer commits at a time." in refused.result(60)
    wait_for(lambda: not Path(f"/proc/{checking}").exists())
    work.push("main")
    assert hub.stop() == 0
    assert not any(Path(f"/proc/{child}").exists() for child in standing)


def test_a_damaged_file_of_reachability_is_made_again(hub: Any, name: str, work: Work, launch: Callable[..., Any], tmp_path: Path) -> None:
    wait_for(lambda: prepared(hub, "reach"))
    assert hub.stop() == 0
    (file,) = (hub.data / "prepared").glob("*/reach-*")
    whole = file.read_bytes()
    file.write_bytes(bytes(len(whole)))
    again = launch()
    clone(again, name, tmp_path / "clone")
    wait_for(lambda: file.exists() and file.read_bytes() == whole)


def test_there_is_no_room_for_what_is_prepared(hub: Any, name: str, work: Work, tmp_path: Path) -> None:
    """Of an incoming folder that takes no file."""
    wait_for(lambda: prepared(hub, "reach"))
    incoming = hub.data / "incoming"
    incoming.rename(hub.data / "away")
    try:
        clone(hub, name, tmp_path / "clone", "--depth", "1")
    finally:
        (hub.data / "away").rename(incoming)
    assert not prepared(hub, "answer")

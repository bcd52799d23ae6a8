"""Whole repacks: when, in which order entries stand, new deltas, and the process that does the work."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitserver.maintenance.order import RepackOrder
from gitserver.maintenance.processes import RepackProcess
from gitserver.maintenance.repack import Repacker
from gitserver.maintenance.tiers import wants_whole
from gitserver.objects.pack_writer import PackWriter
from gitserver.objects.store import Kind, RawObject
from storage.errors import Unavailable
from storage.limits import Limits
from storage.records import PackInfo
from tests.gitserver.test_merge_git import wait_for

LIMITS = Limits(whole_pack_bytes=10_000, whole_beside_objects=100, whole_beside_bytes=2000)


def packs(*sizes: tuple[int, int], dead: int | None = None) -> list[PackInfo]:
    return [PackInfo(f"{number:040x}", objects, size, dead) for number, (objects, size) in enumerate(sizes)]


def test_a_whole_repack_is_worth_it_when_enough_lies_beside_the_largest_pack() -> None:
    assert not wants_whole([], LIMITS)
    assert not wants_whole(packs((1000, 9000)), LIMITS)
    assert not wants_whole(packs((100, 100), (99, 100)), LIMITS)  # too little in all
    assert wants_whole(packs((100, 100), (50, 100), (50, 100)), LIMITS)
    assert not wants_whole(packs((1000, 100), (249, 100)), LIMITS)  # too little beside it
    assert wants_whole(packs((1000, 100), (250, 100)), LIMITS)
    assert wants_whole(packs((10, 9000), (10, 2250)), LIMITS)  # by bytes
    assert not wants_whole(packs((10, 9000), (10, 2249)), LIMITS)


def test_what_stays_as_it_is_does_not_count() -> None:
    assert not wants_whole(packs((1000, 10_001), (500, 100)), LIMITS)
    assert wants_whole(packs((1000, 10_001), (500, 100), (125, 100)), LIMITS)
    assert not wants_whole([*packs((100, 100)), *packs((500, 100), dead=1)], LIMITS)


def repacker(hub: Any, **limits: int) -> Repacker:
    return Repacker(hub.packs, hub.stores, hub.versions, Limits(**limits))


def grow(work: Any, count: int) -> None:
    """A folder of many files, of which a few change with every commit, as a dataset's card and index do."""
    rng = random.Random(count)
    for number in range(300):
        (work.path / f"data{number:04d}").write_text(f"{number}")
    table = [rng.randbytes(30).hex() for _ in range(400)]
    for number in range(count):
        table[rng.randrange(400)] = rng.randbytes(30).hex()
        work.commit(f"c{number}", {f"data{rng.randrange(300):04d}": rng.randbytes(20).hex(), "index.txt": "\n".join(table)})
    work("tag", "-a", "v1", "-m", "one", "HEAD~3")


def load_whole(hub: Any, work: Any) -> int:
    """All objects as the hub's own commits store them, without deltas; the size of the pack."""
    folder = hub.packs.quarantine()
    writer = PackWriter(folder / "p.pack")
    kinds = {kind.text.decode(): kind for kind in Kind}
    for oid in sorted(work.objects()):
        kind = work("cat-file", "-t", oid)
        writer.add(RawObject(kinds[kind], work.run("cat-file", kind, oid).stdout))
    writer.close()
    data = (folder / "p.pack").read_bytes()
    work("index-pack", str(folder / "p.pack"))
    info = PackInfo(data[-20:].hex(), int.from_bytes(data[8:12], "big"), len(data))
    (folder / "p.idx").chmod(0o600)
    hub.packs.add(hub.repo.id, info, folder / "p.pack", folder / "p.idx")
    hub.database.write(lambda tx: hub.packs.record(tx, hub.repo.id, info))
    hub.set_refs(work)
    return len(data)


def shown(hub: Any, git: Any) -> list[tuple[str, int, int]]:
    """(kind, offset, depth) of each entry in order, as git sees them. git makes the very same index, and finds every object sound."""
    (info,) = hub.packs.list(hub.repo.id)
    (pack,) = [pack for pack in hub.objects.packs() if pack.info == info]
    judge = git.path / "judge"
    git("init", "-q", "--bare", str(judge))
    made = judge / "made.pack"
    made.write_bytes(bytes(pack.data))
    assert git("-C", str(judge), "index-pack", "--strict", "made.pack") == info.id
    folder = judge.parent.parent / "hub" / "git" / hub.repo.id
    assert made.with_suffix(".idx").read_bytes() == (folder / f"pack-{info.id}.idx").read_bytes()
    lines = [line.split() for line in git("-C", str(judge), "verify-pack", "-v", "made.idx").splitlines()]
    rows = [(words[1], int(words[4]), int(words[5]) if len(words) > 5 else 0) for words in lines if len(words[0]) == 40]
    return sorted(rows, key=lambda row: row[1])


def test_objects_that_were_whole_become_deltas(fetch_hub: Any, work: Any, tmp_path: Path) -> None:
    grow(work, 130)
    before = load_whole(fetch_hub, work)
    done = repacker(fetch_hub).repack(fetch_hub.repo.id)
    client = type(work)(tmp_path / "client")
    entries = shown(fetch_hub, client)
    (info,) = fetch_hub.packs.list(fetch_hub.repo.id)

    assert done is not None
    assert done.reached == len(entries) == len(work.objects())
    assert [kind for kind, _, _ in entries] == sorted((kind for kind, _, _ in entries), key=["commit", "tag", "tree", "blob"].index)
    assert max(depth for _, _, depth in entries) == 50
    assert sum(depth > 0 for kind, _, depth in entries if kind == "tree") > 120
    assert sum(depth > 0 for kind, _, depth in entries if kind == "blob") > 120
    assert info.size < before / 5
    client("clone", "-q", "--mirror", fetch_hub.url, "clone")
    assert client("-C", "clone", "fsck", "--strict", "--full") == ""


def test_the_newest_comes_first(fetch_hub: Any, work: Any) -> None:
    grow(work, 20)
    load_whole(fetch_hub, work)
    repacker(fetch_hub).repack(fetch_hub.repo.id)
    (pack,) = fetch_hub.objects.packs()
    stored = [oid.hex() for _, oid in pack.oids()]

    assert stored[:20] == work("rev-list", "HEAD").split()
    assert stored[20] == work("rev-parse", "v1")
    assert stored[21] == work("rev-parse", "HEAD^{tree}")


def test_stored_deltas_stay_and_chains_are_cut(fetch_hub: Any, work: Any, tmp_path: Path) -> None:
    """Thin pushes, of which each goes on with the chain of the one before."""
    for number in range(90):
        lines = "".join(f"line {n} {number if n == number % 97 else n * n}\n" for n in range(300))
        work.commit(f"c{number}", {"file": lines, "d/other": lines[::-1]})
        fetch_hub.load(work, "HEAD", *(["^HEAD^"] if number else []), thin=number > 0)
    sizes = [info.size for info in fetch_hub.packs.list(fetch_hub.repo.id)]
    repacker(fetch_hub, delta_repack_bytes=1).repack(fetch_hub.repo.id)
    entries = shown(fetch_hub, type(work)(tmp_path / "client"))

    assert len(entries) == len(work.objects())
    assert sum(depth > 0 for _, _, depth in entries) > 150
    assert max(depth for _, _, depth in entries) <= 50
    assert fetch_hub.packs.list(fetch_hub.repo.id)[0].size < sum(sizes) / 5


def test_no_more_is_looked_at_than_the_limits_say(fetch_hub: Any, work: Any, tmp_path: Path) -> None:
    grow(work, 30)
    load_whole(fetch_hub, work)
    repacker(fetch_hub, delta_object_bytes=15_000, delta_repack_bytes=500_000).repack(fetch_hub.repo.id)
    entries = shown(fetch_hub, type(work)(tmp_path / "client"))

    assert not any(depth for kind, _, depth in entries if kind == "blob")  # the index has 24,000 bytes
    assert 10 < sum(depth > 0 for kind, _, depth in entries if kind == "tree") < 28  # 10,000 bytes each, two for a try


def test_damage_is_told_and_changes_nothing(fetch_hub: Any, work: Any) -> None:
    grow(work, 5)
    fetch_hub.load(work)
    (info,) = fetch_hub.packs.list(fetch_hub.repo.id)
    path = next(Path(work.path.parent / "hub" / "git").glob("*/*.pack"))
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[-21] ^= 1  # of a blob, which no walk reads
    path.write_bytes(data)
    fetch_hub.packs._open.clear()
    incoming = set((work.path.parent / "hub" / "incoming").iterdir())
    with pytest.raises(Unavailable, match=f"{info.id} is damaged at [0-9]+, and nothing was repacked"):
        repacker(fetch_hub).repack(fetch_hub.repo.id)

    assert fetch_hub.packs.list(fetch_hub.repo.id) == [info]
    assert set((work.path.parent / "hub" / "incoming").iterdir()) == incoming


def test_a_process_that_takes_too_long_is_ended(fetch_hub: Any, work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitserver.maintenance.processes._COMMAND", (sys.executable, "-c", "import time; time.sleep(600)"))
    with pytest.raises(Unavailable, match="longer than 1 seconds"):
        RepackProcess(1).run(RepackOrder(str(work.path), (), (), 1, 1), [])
    assert sleepers() == []


def test_a_process_that_dies_is_told(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (sys.executable, "-c", "import sys; sys.exit('out of everything')")
    monkeypatch.setattr("gitserver.maintenance.processes._COMMAND", command)
    with pytest.raises(Unavailable, match=r"status 1\. out of everything"):
        RepackProcess(60).run(RepackOrder(str(work.path), (), (), 1, 1), [])


def test_a_stop_ends_the_process(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitserver.maintenance.processes._COMMAND", (sys.executable, "-c", "import time; time.sleep(600)"))
    process_pool, seen = RepackProcess(600), []

    def run() -> None:
        try:
            process_pool.run(RepackOrder(str(work.path), (), (), 1, 1), [])
        except Unavailable as error:
            seen.append(error.message)

    thread = threading.Thread(target=run)
    thread.start()
    assert wait_for(sleepers)
    process_pool.close()
    thread.join(30)

    assert seen == ["A repack was stopped with status -9."]
    with pytest.raises(Unavailable, match="stopping"):
        process_pool.run(RepackOrder(str(work.path), (), (), 1, 1), [])
    assert sleepers() == []


def sleepers() -> list[str]:
    """Processes of ours that run the command of these tests; servers of other tests may run, too."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return [child for task in tasks for child in of_task(task) if "time.sleep(600)" in Path(f"/proc/{child}/cmdline").read_text()]


def of_task(task: Path) -> list[str]:
    try:
        return (task / "children").read_text().split()
    except FileNotFoundError:  # the thread ended
        return []


def test_the_process_goes_when_its_hub_does(work: Any) -> None:
    """Its parent's end closes its standard input, in the midst of a job that waits for a pack that never comes."""
    command = [sys.executable, "-c", STUCK]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(RepackOrder(str(work.path), (), (), 1, 1).text() + "\n")
        process.stdin.close()
        assert process.wait(60) == 1


STUCK = """
import time
from gitserver.maintenance import worker as repack
repack.repack = lambda job: time.sleep(600)
repack.main()
"""


def test_a_job_survives_its_way() -> None:
    job = RepackOrder("folder", (), ("00" * 20,), 1, 2)

    assert RepackOrder.parse(job.text()) == job
    assert json.loads(job.text())["roots"] == ["00" * 20]


def push(work: Any, url: str, *refs: str) -> None:
    work("push", "-q", "--force", url, *refs)


def test_pushes_start_whole_repacks(launcher: Any, work: Any, tmp_path: Path) -> None:
    launcher.users()
    hub = launcher.start(environment={"KOHAKU_HUB_LIMITS": '{"whole_beside_objects": 30}'})
    url = hub.git_url(hub.repo())
    for number in range(36):
        work.commit(f"c{number}", {f"file{number % 3}": f"{number}"})
        push(work, url, "HEAD:refs/heads/main")
    (folder,) = (hub.data / "git").iterdir()

    assert wait_for(lambda: len(list(folder.glob("*.pack"))) < 12)
    client = type(work)(tmp_path / "client")
    client("clone", "-q", "--mirror", url, "clone")
    assert client("-C", "clone", "fsck", "--strict", "--full") == ""
    found = launcher.admin("check")
    assert (found.returncode, found.stdout) == (0, "")
    assert hub.stop() == 0
    assert "not merged" not in hub.log.read_text("utf-8")


def test_nothing_to_repack_is_said(launcher: Any) -> None:
    launcher.users()
    hub = launcher.start()
    name = hub.repo()
    done = launcher.admin("repack", name)
    nameless = launcher.admin("repack", "nope")
    also = launcher.admin("protect", "datasets/nope", "main")

    assert (done.returncode, nameless.returncode, also.returncode) == (0, 1, 1)
    assert done.stdout == f"{name} has no objects, so there is nothing to do.\n"
    assert "'nope' does not name a repository. Give NAMESPACE/NAME" in nameless.stderr
    assert "'datasets/nope' does not name a repository. Give NAMESPACE/NAME" in also.stderr
    assert hub.stop() == 0


def test_a_running_hub_and_the_operator(launcher: Any, work: Any, tmp_path: Path) -> None:
    """What was force-pushed away goes when the operator says so; clones, pushes and repacks go on beside each other."""
    launcher.users()
    hub = launcher.start("--workers", "2")
    name = hub.repo()
    url = hub.git_url(name)
    grow(work, 5)
    push(work, url, "HEAD:refs/heads/main", "v1")
    tip = work("rev-parse", "HEAD")
    away = work.commit("away", {"secret": "s"})
    push(work, url, "HEAD:refs/heads/main")
    work("reset", "-q", "--hard", tip)
    push(work, url, "HEAD:refs/heads/main")
    client = type(work)(tmp_path / "client")
    client("clone", "-q", "--mirror", url, "before")
    assert "set aside" in repack(launcher, name)
    stop = threading.Event()
    trouble: list[str] = []
    threads = [
        threading.Thread(target=repeat, args=(stop, trouble, one)) for one in (lambda: cloned(client, url), lambda: pushed(work, url))
    ]
    for thread in threads:
        thread.start()
    for _ in range(4):
        repack(launcher, name, "--prune-now")
    stop.set()
    for thread in threads:
        thread.join(60)

    assert trouble == []
    client("clone", "-q", "--mirror", url, "after")
    assert client("-C", "after", "fsck", "--strict", "--full") == ""
    assert client.run("-C", "after", "cat-file", "-e", away).returncode != 0
    assert hub.call("GET", f"/api/models/{name}/commits/{away}").status == 404
    found = launcher.admin("check")
    assert (found.returncode, found.stdout) == (0, "")
    assert hub.stop() == 0


def repack(launcher: Any, name: str, *options: str) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        done = launcher.admin("repack", name, *options)
        if done.returncode == 0:
            return str(done.stdout)
        assert "Try again in a moment" in done.stderr, done.stderr
    raise AssertionError("the hub merges all the time")


def repeat(stop: threading.Event, trouble: list[str], work: Callable[[], str]) -> None:
    while not stop.is_set():
        if text := work():
            trouble.append(text)


def cloned(client: Any, url: str) -> str:
    """Empty when all of it came and is sound. Of `side` nothing is asked: its old tip may go between the list of refs and the fetch."""
    number = len(list(client.path.iterdir()))
    made = client.run("clone", "-q", "--bare", "--single-branch", "--branch", "main", url, f"c{number}")
    if made.returncode:
        return str(made.stderr.decode())
    return str(client.run("-C", f"c{number}", "fsck", "--strict", "--full").stderr.decode())


def pushed(work: Any, url: str) -> str:
    """A commit on main, and one on a branch that is moved away from it again."""
    work.commit("more", {"more": str(time.monotonic_ns())})
    made = work.run("push", "-q", "--force", url, "HEAD:refs/heads/main")
    side = work("commit-tree", "HEAD^{tree}", "-m", str(time.monotonic_ns()))
    gone = work.run("push", "-q", "--force", url, f"{side}:refs/heads/side")
    return "".join(one.stderr.decode() for one in (made, gone) if one.returncode)


def test_a_killed_process_is_told(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (sys.executable, "-c", f"import os; os.kill(os.getpid(), {signal.SIGKILL.value})")
    monkeypatch.setattr("gitserver.maintenance.processes._COMMAND", command)
    with pytest.raises(Unavailable, match="stopped with status -9"):
        RepackProcess(60).run(RepackOrder(str(work.path), (), (), 1, 1), [])

"""git on two machines that have nothing in common but PostgreSQL and a bucket. Their caches hold 300 kB of packs."""

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from storage.blobs.bucket import Bucket
from storage.database.postgres import PostgresDatabase

CACHE_BYTES = 300_000


@pytest.fixture
def hub(two_hubs: Any) -> Any:
    return two_hubs[0]


@pytest.fixture
def stored(two_hubs: Any, s3_server: Any) -> Any:
    """The bucket of both."""
    made = Bucket(s3_server.config(two_hubs[0].launcher.environment["KOHAKU_HUB_S3_BUCKET"]))
    yield made
    made.close()


def commit(machine: Any, work: Path, name: str, data: bytes) -> str:
    (work / name).write_bytes(data)
    machine.git(work, "add", "-A")
    machine.git(work, "commit", "-q", "-m", name)
    return str(machine.git(work, "rev-parse", "HEAD"))


def start_work(machine: Any, name: str) -> Path:
    machine.run("git", "clone", "-q", machine.hub.git_url(name), name.rpartition("/")[2])
    return Path(machine.home / name.rpartition("/")[2])


@pytest.fixture
def packs_of(two_hubs: Any, stored: Bucket) -> Iterator[Callable[[str], set[str]]]:
    """Keys of the packs that the bucket has of a repository, as it was when it was asked for first."""
    rows = PostgresDatabase(two_hubs[0].launcher.environment["KOHAKU_HUB_DATABASE_URL"], 2, 30, 5)
    ids: dict[str, str] = {}

    def find(name: str) -> set[str]:
        if name not in ids:
            ids[name] = (rows.one("SELECT id FROM repos WHERE name_key = :key", {"key": name.lower()}) or {})["id"]
        return {found.key for found in stored.list(f"git/{ids[name]}/") if found.key.endswith(".pack")}

    yield find
    rows.close()


def test_each_machine_has_what_the_other_took(two_hubs: Any, machine: Any, make_machine: Any, packs_of: Any) -> None:
    one, two = two_hubs
    name = one.repo(private=True)
    other = make_machine(two)
    work = start_work(machine, name)
    first = commit(machine, work, "first", os.urandom(200_000))
    machine.git(work, "push", "-q", "origin", "HEAD")
    clone = start_work(other, name)
    assert other.git(clone, "rev-parse", "HEAD") == first
    second = commit(other, clone, "second", b"from the other machine")
    other.git(clone, "push", "-q", "origin", "HEAD")
    machine.git(work, "pull", "-q")
    assert machine.git(work, "rev-parse", "HEAD") == second
    lines = [{"key": "header", "value": {"summary": "by the API"}}, {"key": "file", "value": {"path": "third", "content": "dGhyZWU="}}]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    made = one.call("POST", f"/api/models/{name}/commit/main", body, Content_Type="application/x-ndjson")
    assert made.status == 200, made
    assert two.call("GET", f"/{name}/resolve/main/third").body == b"three"
    other.git(clone, "pull", "-q")
    assert other.git(clone, "rev-parse", "HEAD") == made.json()["commitOid"]
    other.git(clone, "fsck", "--strict")
    for hub in two_hubs:
        checked = hub.admin("check")
        assert checked.returncode == 0, checked.stdout + checked.stderr
    assert len(packs_of(name)) >= 3
    assert one.call("DELETE", "/api/repos/delete", {"type": "model", "name": name.partition("/")[2]}).status == 200
    assert packs_of(name) == set()
    assert two.call("GET", f"/api/models/{name}").status == 404


def cached_bytes(hub: Any) -> int:
    return sum(path.stat().st_size for path in (hub.data / "pack-cache").glob("*/*"))


def test_many_clones_while_packs_are_dropped_from_the_caches(two_hubs: Any, make_machine: Any) -> None:
    """Eight repositories of four packs each, 3 MB, are cloned by eight clients at once from four workers."""
    pushers = [make_machine(two_hubs[number % 2]) for number in range(8)]
    names = [pusher.hub.repo() for pusher in pushers]

    def fill(number: int) -> str:
        work = start_work(pushers[number], names[number])
        for file in range(4):
            head = commit(pushers[number], work, f"f{file}", os.urandom(100_000))
            pushers[number].git(work, "push", "-q", "origin", "HEAD")
        return head

    def clone(number: int) -> str:
        machine = make_machine(two_hubs[number // 8 % 2])
        work = start_work(machine, names[number % 8])
        machine.git(work, "fsck", "--strict")
        return str(machine.git(work, "rev-parse", "HEAD"))

    with ThreadPoolExecutor(8) as pool:
        heads = list(pool.map(fill, range(8)))
        assert list(pool.map(clone, range(32))) == heads * 4
    for hub in two_hubs:
        assert 0 < cached_bytes(hub) <= CACHE_BYTES + 2 * CACHE_BYTES // 256
        assert list((hub.data / "incoming").iterdir()) == []


def test_both_machines_merge_at_once(two_hubs: Any, make_machine: Any, packs_of: Any) -> None:
    name = two_hubs[0].repo()
    pushers = [make_machine(hub) for hub in two_hubs]

    def push(number: int) -> list[str]:
        work = start_work(pushers[number], name)
        heads = []
        for turn in range(20):
            heads.append(commit(pushers[number], work, f"file{number}", b"%d" % turn * 1000))
            pushers[number].git(work, "push", "-q", "origin", f"HEAD:refs/heads/b{number}-{turn}")
        return heads

    with ThreadPoolExecutor(2) as pool:
        heads = list(pool.map(push, range(2)))
    wanted = {f"refs/remotes/origin/b{number}-{turn}": head for number, made in enumerate(heads) for turn, head in enumerate(made)}
    until = time.monotonic() + 60
    while len(packs_of(name)) >= 32 and time.monotonic() < until:
        time.sleep(0.05)
    assert len(packs_of(name)) < 32
    for hub in two_hubs:
        machine = make_machine(hub)
        work = start_work(machine, name)
        listed = machine.git(work, "for-each-ref", "--format=%(refname) %(objectname)", "refs/remotes/origin/b*").splitlines()
        assert dict(line.split() for line in listed) == wanted
        machine.git(work, "fsck", "--strict")
        checked = hub.admin("check")
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_pack_of_many_parts_that_no_cache_holds(two_hubs: Any, machine: Any, make_machine: Any) -> None:
    """Over 64 MiB it goes to the bucket in parts; every reader fetches it for himself."""
    one, two = two_hubs
    work = start_work(machine, one.repo())
    for number in range(6):
        (work / f"big{number}").write_bytes(os.urandom(15_000_000))
    head = commit(machine, work, "small", b"x")
    machine.git(work, "push", "-q", "origin", "HEAD")
    for hub in (two, one):
        other = make_machine(hub)
        clone = start_work(other, f"{hub.user}/{work.name}")
        assert other.git(clone, "rev-parse", "HEAD") == head
        other.git(clone, "fsck", "--strict")
        assert cached_bytes(hub) <= CACHE_BYTES + 2 * CACHE_BYTES // 256

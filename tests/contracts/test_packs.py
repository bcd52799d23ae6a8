"""The PackStore contract, on files on the disk and in a bucket. A machine is a store with eyes of its own."""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from hub.services import Services
from storage.blobs.bucket import Bucket
from storage.errors import Unavailable
from storage.filecache import FileCache
from storage.packs import PackStore
from storage.packs.base import PackFiles, old_ids
from storage.packs.disk import DiskPackFiles
from storage.packs.s3 import S3PackFiles
from storage.records import RepoKind, RepoName, Scope
from tests.contracts.packmaker import Made, make_pack

Machine: TypeAlias = Callable[[], PackStore]


@pytest.fixture
def machine(store_kind: str, open_bucket: Callable[[str], Bucket], services: Services, tmp_path: Path) -> Iterator[Machine]:
    """One more each time: on the disk it is another process, in the bucket another machine with an empty cache."""
    bucket = open_bucket(store_kind) if store_kind != "disk" else None
    made: list[PackStore] = []

    def start() -> PackStore:
        folder = tmp_path / f"machine{len(made)}"
        for name in ("incoming", "cache"):
            (folder / name).mkdir(parents=True)
        files: PackFiles = DiskPackFiles(services.settings.data / "git")
        if bucket is not None:
            files = S3PackFiles(bucket, FileCache(folder / "cache", 1 << 30), folder / "incoming")
        made.append(PackStore(files, folder / "incoming", services.database))
        return made[-1]

    yield start
    assert list(tmp_path.glob("machine*/incoming/*")) == []


@pytest.fixture
def store(machine: Machine) -> PackStore:
    return machine()


@pytest.fixture
def repo(services: Services) -> str:
    return make_repo(services, "r")


def make_repo(services: Services, name: str) -> str:
    user = services.users.by_name("ann") or services.users.create("ann", "ann@example.org", "long enough")
    return services.repos.create(
        user.principal(Scope.WRITE, from_session=False), RepoName(RepoKind.MODEL, "ann", name), is_private=False
    ).id


@pytest.fixture
def push(services: Services) -> Callable[..., Made]:
    """A pack of these blobs becomes part of the repository."""

    def push(store: PackStore, repo_id: str, *blobs: bytes) -> Made:
        made = add(store, repo_id, *blobs)
        services.database.write(lambda tx: store.record(tx, repo_id, made.info))
        return made

    return push


def add(store: PackStore, repo_id: str, *blobs: bytes) -> Made:
    folder = store.quarantine()
    made = make_pack(folder, *blobs)
    store.add(repo_id, made.info, made.pack, made.index)
    folder.rmdir()
    return made


@pytest.mark.parametrize("blobs", [(b"small",), tuple(b"%d" % n for n in range(600)), (os.urandom(200_000), b"x")])
def test_what_one_machine_adds_another_reads(machine: Machine, push: Any, repo: str, blobs: tuple[bytes, ...]) -> None:
    one, two = machine(), machine()
    made = push(one, repo, *blobs)
    for store in (one, two, machine()):
        (pack,) = store.open_listed(repo, [])
        entries = store.entries(repo, made.info)

        assert store.list(repo) == [made.info]
        assert bytes(pack.data) == made.data
        assert store.open(repo, made.info) is pack
        assert sorted(entries) == list(entries)
        assert [(entry.offset, entry.oid) for entry in entries] == pack.oids()
        assert {entry.oid for entry in entries} == made.blobs.keys()
        assert all(pack.offset(entry.oid) == entry.offset for entry in entries)
        assert pack.offset(bytes(20)) is None
        assert pack.end(entries[-1].offset) == made.info.size - 20


def test_what_was_added_shows_when_it_is_recorded(store: PackStore, push: Any, repo: str) -> None:
    add(store, repo, b"not recorded")
    assert store.list(repo) == []
    made = push(store, repo, b"recorded")
    push(store, repo, b"recorded")
    assert store.list(repo) == [made.info]
    assert store.open_listed(repo, [])[0].data == made.data


def test_a_listing_that_did_not_change_is_the_same(machine: Machine, push: Any, repo: str) -> None:
    one, two = machine(), machine()
    push(one, repo, b"first")
    held = two.open_listed(repo, [])
    assert two.open_listed(repo, held) is held
    push(one, repo, b"second")
    assert two.open_listed(repo, held)[1:] == held


def test_many_packs_are_opened_newest_first(machine: Machine, push: Any, repo: str) -> None:
    one, two = machine(), machine()
    made = [push(one, repo, b"%d" % number) for number in range(30)]
    packs = two.open_listed(repo, [])
    assert [pack.info for pack in packs] == two.list(repo)
    assert {bytes(pack.data) for pack in packs} == {pack.data for pack in made}
    one.remove(repo, [made[7].info, made[3].info])
    with pytest.raises(Unavailable, match=f"({made[7].info.id}|{made[3].info.id}) is missing"):
        machine().open_listed(repo, [])


def test_many_who_open_a_pack_at_once_get_the_same(machine: Machine, push: Any, repo: str) -> None:
    made = push(machine(), repo, os.urandom(300_000))
    store = machine()
    with ThreadPoolExecutor(8) as pool:
        packs = list(pool.map(lambda _: store.open(repo, made.info), range(8)))
    assert all(pack is packs[0] for pack in packs)


def test_a_lost_pack_is_reported(machine: Machine, push: Any, repo: str) -> None:
    store = machine()
    made = push(store, repo, b"lost")
    store.remove(repo, [made.info])
    for ask in (lambda: store.open(repo, made.info), lambda: store.entries(repo, made.info), lambda: store.open_listed(repo, [])):
        with pytest.raises(Unavailable, match=f"{made.info.id} is missing from (the disk|bucket b[0-9a-f]+)"):
            ask()


def test_a_check_asks_for_what_is_stored_and_not_for_copies(machine: Machine, push: Any, repo: str) -> None:
    one, two = machine(), machine()
    kept, lost = push(one, repo, b"kept"), push(one, repo, b"lost")
    assert len(two.open_listed(repo, [])) == 2
    assert list(two.lost(repo)) == []
    one.remove(repo, [lost.info])
    (line,) = two.lost(repo)
    assert line.startswith(f"pack {lost.info.id} is missing from ")
    assert two.list(repo) == [lost.info, kept.info]


def test_who_has_a_removed_pack_open_reads_on(machine: Machine, push: Any, repo: str) -> None:
    one, two = machine(), machine()
    made = push(one, repo, os.urandom(200_000))
    packs = [store.open(repo, made.info) for store in (one, two)]
    one.remove(repo, [made.info])
    assert [bytes(pack.data) for pack in packs] == [made.data, made.data]
    with pytest.raises(Unavailable, match="is missing"):
        machine().open(repo, made.info)


def test_replaced_packs_are_read_in_their_successor(machine: Machine, push: Any, repo: str) -> None:
    one, two = machine(), machine()
    sources = [push(one, repo, b"a"), push(one, repo, b"b")]
    old = [made.info for made in sources]
    merged = add(one, repo, b"a", b"b")

    assert one.replace(repo, old, merged.info) is True
    assert two.replace(repo, old, add(two, repo, b"b", b"a").info) is False
    assert two.list(repo) == [merged.info]
    one.remove(repo, old)
    rows, looks = two.list, iter([old])  # the first look came before the merge
    two.list = lambda repo_id: next(looks, None) or rows(repo_id)  # type: ignore[method-assign]
    assert [pack.data for pack in two.open_listed(repo, [])] == [merged.data]


def test_merges_of_two_machines_at_once(machine: Machine, push: Any, repo: str) -> None:
    machines = [machine() for _ in range(4)]
    old = [push(machines[0], repo, b"%d" % n).info for n in range(4)]
    start = threading.Barrier(4)

    def merge(number: int) -> bool:
        merged = add(machines[number], repo, *(b"%d" % n for n in range(4)), b"own %d" % number)
        start.wait(30)
        return machines[number].replace(repo, old, merged.info)

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(merge, range(4)))
    (left,) = machine().open_listed(repo, [])
    assert sorted(won) == [False, False, False, True]
    assert left.info.objects == 5


def test_what_no_row_names_is_swept_when_it_is_old(machine: Machine, push: Any, repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = machine(), machine()
    kept, lost = push(one, repo, b"kept"), add(one, repo, b"lost")
    two.sweep(repo)
    assert machine().open(repo, lost.info).data == lost.data
    monkeypatch.setattr("storage.packs.store._GRACE_SECONDS", -60)
    two.sweep(repo)
    fresh = machine()
    assert fresh.open(repo, kept.info).data == kept.data
    with pytest.raises(Unavailable, match="is missing"):
        fresh.open(repo, lost.info)
    fresh.sweep("f" * 32)


def test_what_is_pushed_again_during_a_sweep_stays(machine: Machine, repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = machine()
    again = add(store, repo, b"again")
    looks = iter([{again.info.id}, set[str]()])  # it was old, and then it was not
    monkeypatch.setattr(store._files, "older", lambda repo_id, seconds: next(looks))
    store.sweep(repo)
    assert machine().open(repo, again.info).data == again.data


def test_a_pack_is_as_old_as_its_newest_file() -> None:
    """The other may have come again just now."""
    found = [("pack-a.pack", 4e9), ("pack-a.idx", 1.0), ("pack-b.pack", 1.0), ("pack-b.idx", 2.0), ("pack-c.pack", 4e9)]
    assert old_ids(found, 60) == {"b"}


def test_a_deleted_repository_is_gone_and_no_other(machine: Machine, push: Any, services: Services, repo: str) -> None:
    one, two = machine(), machine()
    other = make_repo(services, "other")
    gone, kept = push(one, repo, b"same"), push(one, other, b"same")
    two.remove_repo(repo)
    two.remove_repo(repo)
    with pytest.raises(Unavailable, match="is missing"):
        machine().open(repo, gone.info)
    assert machine().open(other, kept.info).data == kept.data


def test_one_merges_on_one_machine(store: PackStore, push: Any, repo: str) -> None:
    push(store, repo, b"x")
    with store.merging(repo) as first, store.merging(repo) as second:
        assert (first, second) == (True, False)
    with store.merging(repo) as third:
        assert third is True


def test_where_nothing_is_stored_nobody_else_merges(store: PackStore, repo: str) -> None:
    with store.merging(repo) as is_ours:
        assert is_ours is True

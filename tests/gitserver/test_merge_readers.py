"""Readers beside merges: an old listing, a running clone, other processes."""

import threading
from typing import Any

import pytest

from gitserver.fetch.objectset import ObjectSet
from gitserver.fetch.packing import Packing, Rules
from gitserver.maintenance.tiers import FULL
from gitserver.objects.store import ObjectStores
from storage.errors import Unavailable
from storage.packs import PackStore
from storage.records import PackInfo


class LateReader(PackStore):
    """Reads rows that are out of date as often as `stale` holds them."""

    stale: list[list[PackInfo]]

    def list(self, repo_id: str) -> Any:
        return self.stale.pop() if self.stale else super().list(repo_id)


def late_reader(shelf: Any, stale: list[list[PackInfo]]) -> LateReader:
    data = shelf.services.settings.data
    reader = LateReader(shelf.services.stores.packs, data / "incoming", shelf.services.database)
    reader.stale = stale
    return reader


def test_a_reader_with_an_old_listing_looks_again(shelf: Any) -> None:
    shelf.fill(FULL)
    old = shelf.stored()
    shelf.merge()
    reader = late_reader(shelf, [old])
    objects = ObjectStores(reader).of(shelf.repo.id)

    assert [pack.info for pack in objects.packs()] == shelf.stored()
    assert {oid: objects.get(oid) for oid in shelf.made} == shelf.made


def test_a_lost_pack_is_reported_and_not_looked_for_again(shelf: Any) -> None:
    shelf.fill(2)
    lost = shelf.stored()[1]
    (shelf.folder / f"pack-{lost.id}.idx").unlink()
    with pytest.raises(Unavailable, match=f"{lost.id} is missing from the disk"):
        late_reader(shelf, []).open_listed(shelf.repo.id, [])
    with pytest.raises(Unavailable, match="again and again"):
        late_reader(shelf, [[PackInfo(digit * 40, 3, 100)] for digit in "ab" * 5]).open_listed(shelf.repo.id, [])


def test_a_listing_that_did_not_change_costs_no_file(shelf: Any) -> None:
    shelf.fill(3)
    store = shelf.services.packs
    held = store.open_listed(shelf.repo.id, [])
    shelf.commit(b"more")
    more = store.open_listed(shelf.repo.id, held)

    assert store.open_listed(shelf.repo.id, more) is more
    assert more[1:] == held


def test_a_clone_goes_on_while_its_packs_are_merged(shelf: Any, work: Any) -> None:
    shelf.fill(FULL)
    objects = shelf.services.objects.of(shelf.repo.id)
    pieces = Packing(objects, ObjectSet(set(shelf.made)), ObjectSet(), Rules(ofs_delta=True, thin=False)).pieces()
    start = [bytes(next(pieces)) for _ in range(3)]
    shelf.merge()
    objects.refresh()
    work("index-pack", "--stdin", data=b"".join([*start, *(bytes(piece) for piece in pieces)]))

    assert len(objects.packs()) == 1
    assert work("cat-file", "-t", shelf.commits[-1].hex()) == "commit"
    assert work("fsck", "--strict", "--full", shelf.commits[-1].hex()) == ""


def test_readers_and_writers_at_the_same_time(busy_shelf: Any) -> None:
    """Another process reads everything again and again while commits are made and merged."""
    shelf = busy_shelf
    shelf.fill(1)
    stop, seen = threading.Event(), []

    def read() -> None:
        data = shelf.services.settings.data
        while not stop.is_set():
            made = dict(shelf.made)
            objects = ObjectStores(PackStore(shelf.services.stores.packs, data / "incoming", shelf.services.database)).of(shelf.repo.id)
            seen.append({oid for oid in shelf.commits if oid in made and objects.get(oid) != made[oid]})

    thread = threading.Thread(target=read)
    thread.start()
    shelf.fill(FULL * 8)
    stop.set()
    thread.join()

    assert len(seen) > 1
    assert not any(seen)
    shelf.services.background_repack.close()
    shelf.check()

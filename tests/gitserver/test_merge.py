"""Merging of small packs: nothing is lost or changed, at whatever moment it stops and whoever else is at work."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from gitserver.maintenance.tiers import FULL, choose
from gitserver.objects.store import Kind, RawObject, object_id
from storage.errors import Unavailable
from storage.limits import Limits
from storage.records import ZERO_OID, PackInfo, RefUpdate


def packs(*objects: int, size: int = 100) -> list[PackInfo]:
    return [PackInfo(f"{number:040x}", count, size) for number, count in enumerate(objects)]


def test_a_tier_is_merged_when_it_is_full() -> None:
    few, full = packs(*[3] * (FULL - 1)), packs(*[3] * FULL)

    assert choose(few, Limits()) == []
    assert choose(full, Limits()) == full[::-1]
    assert choose(packs(*[3] * 8, *[20] * 8, *[300] * 8), Limits()) == []
    assert choose(packs(*[300] * FULL, 3, *[20] * FULL), Limits()) == packs(*[300] * FULL, 3, *[20] * FULL)[:FULL:-1]


def test_large_packs_stay_and_one_merge_is_bounded() -> None:
    limits = Limits(small_pack_bytes=1000, small_pack_objects=100)

    assert choose(packs(*[3] * FULL, size=1001), limits) == []
    assert choose(packs(*[101] * FULL), limits) == []
    assert len(choose(packs(*[3] * FULL, size=1000), limits)) == 8
    assert len(choose(packs(*[100] * FULL), limits)) == 8


def test_many_commits_leave_few_packs_and_every_object(shelf: Any) -> None:
    for number in range(FULL * FULL):
        shelf.commit(b"content %d" % number)
        if number % 5 == 0:
            shelf.merge()
    shelf.merge()

    assert len(shelf.stored()) < 2 * FULL
    assert shelf.packs_on_disk() == shelf.ids()
    assert sum(info.objects for info in shelf.stored()) == len(shelf.made)
    shelf.check()


def test_pushes_start_merges(busy_shelf: Any) -> None:
    shelf = busy_shelf
    shelf.fill(FULL - 1)
    assert len(shelf.stored()) == FULL - 1
    shelf.commit(b"one more")
    until = time.monotonic() + 30
    while len(list(shelf.folder.iterdir())) != 2 and time.monotonic() < until:
        time.sleep(0.01)

    assert shelf.packs_on_disk() == shelf.ids()
    assert len(shelf.stored()) == 1
    shelf.check()


def test_a_failed_merge_is_logged_and_no_push_fails(busy_shelf: Any, caplog: pytest.LogCaptureFixture) -> None:
    shelf = busy_shelf
    shelf.fill(FULL - 1)
    spoil(shelf, shelf.stored()[3])
    shelf.commit(b"one more")
    shelf.commit(b"and more")
    until = time.monotonic() + 30
    while "were not merged" not in caplog.text and time.monotonic() < until:
        time.sleep(0.01)

    assert len(shelf.stored()) == FULL + 1
    assert "were not merged" in caplog.text
    assert "is damaged" in caplog.text


def spoil(shelf: Any, info: PackInfo) -> None:
    """Change the last byte before the trailer, and let nobody keep the sound bytes."""
    path = shelf.folder / f"pack-{info.id}.pack"
    data = bytearray(path.read_bytes())
    data[-21] ^= 1
    path.write_bytes(data)
    shelf.services.packs._open.clear()


def test_a_closed_background_repack_takes_no_more(shelf: Any) -> None:
    shelf.fill(FULL + 1)
    shelf.merge()
    worker = shelf.worker()
    worker.close()
    worker.enqueue(shelf.repo.id)
    worker.merge(shelf.repo.id)

    assert len(shelf.stored()) == 1


def test_damage_stops_a_merge_and_changes_nothing(shelf: Any) -> None:
    shelf.fill(FULL)
    before = shelf.stored()
    spoil(shelf, before[-1])
    with pytest.raises(Unavailable, match=f"{before[-1].id} is damaged"):
        shelf.merge()

    assert shelf.stored() == before
    assert shelf.packs_on_disk() == shelf.ids()
    assert list((shelf.services.settings.data / "incoming").iterdir()) == []


def test_objects_of_several_packs_are_stored_once(shelf: Any) -> None:
    shared = [RawObject(Kind.BLOB, b"shared %d" % number) for number in range(3)]
    shelf.commit(b"first")
    for number in range(FULL):
        own = RawObject(Kind.BLOB, b"own %d" % number)
        shelf.store([*shared, own], RefUpdate(b"refs/tags/t%d" % number, ZERO_OID, object_id(own.kind, own.data)))
    shelf.merge()

    assert [info.objects for info in shelf.stored()] == [len(shelf.made)]
    shelf.check()


def test_a_pack_that_holds_all_the_others_is_its_own_background_repack(shelf: Any) -> None:
    """The merged pack is then byte for byte one of its sources, whose row and files must stay."""
    blobs = [RawObject(Kind.BLOB, b"blob %d" % number) for number in range(FULL - 1)]
    tag = RefUpdate(b"refs/tags/all", ZERO_OID, object_id(blobs[0].kind, blobs[0].data))
    shelf.store(blobs, tag)
    (whole,) = shelf.stored()
    for number, blob in enumerate(blobs):
        shelf.store([blob], RefUpdate(b"refs/tags/t%d" % number, ZERO_OID, object_id(blob.kind, blob.data)))
    assert len(shelf.stored()) == FULL
    shelf.merge()

    assert shelf.stored() == [whole]
    assert shelf.packs_on_disk() == {whole.id}
    shelf.check()


def test_a_pack_pushed_again_after_it_was_merged(shelf: Any) -> None:
    """Its files are being removed: it must not be listed once more."""
    shelf.fill(FULL - 1)
    blob = RawObject(Kind.BLOB, b"again")
    update = RefUpdate(b"refs/tags/t", ZERO_OID, object_id(blob.kind, blob.data))
    shelf.store([blob], update)
    sources = shelf.stored()
    shelf.merge()
    listed = shelf.stored()
    shelf.store([blob], RefUpdate(b"refs/tags/u", ZERO_OID, update.new))
    shelf.services.packs.remove(shelf.repo.id, sources)  # a slow background_repack

    assert shelf.stored() == listed
    shelf.check()


def test_what_was_merged_a_day_ago_is_forgotten_and_may_come_again(shelf: Any) -> None:
    blob = RawObject(Kind.BLOB, b"again")
    update = RefUpdate(b"refs/tags/t", ZERO_OID, object_id(blob.kind, blob.data))
    shelf.store([blob], update)
    shelf.fill(FULL - 1)
    shelf.merge()
    long_ago = time.time_ns() // 1000 - 90_000 * 1_000_000
    shelf.services.database.write(lambda tx: tx.run("UPDATE packs SET merged_at = :at WHERE merged_at IS NOT NULL", {"at": long_ago}))
    shelf.fill(FULL)
    shelf.merge()
    rows = shelf.services.database.read(lambda tx: tx.all("SELECT id FROM packs WHERE merged_at IS NOT NULL"))
    shelf.store([blob], RefUpdate(b"refs/tags/u", ZERO_OID, update.new))

    assert len(rows) == FULL
    assert len(shelf.stored()) == 3
    shelf.check()


def test_two_workers_merge_the_same_packs(shelf: Any, tmp_path: Path) -> None:
    """Both make the very same pack; the second finds its sources gone, and must not remove it."""
    shelf.fill(FULL)
    sources = shelf.stored()
    one, two = shelf.worker(), shelf.worker()
    made = [worker.write(shelf.repo.id, sources, tmp_path / f"{n}.pack") for n, worker in enumerate((one, two))]

    assert one.publish(shelf.repo.id, sources, made[0], tmp_path / "0.pack") is True
    assert two.publish(shelf.repo.id, sources, made[1], tmp_path / "1.pack") is False
    assert shelf.stored() == [made[0]]
    assert shelf.packs_on_disk() == shelf.ids()
    shelf.check()


def test_two_workers_merge_some_of_the_same_packs(shelf: Any, tmp_path: Path) -> None:
    shelf.fill(FULL + 1)
    sources = shelf.stored()
    one, two = shelf.worker(), shelf.worker()
    first = one.write(shelf.repo.id, sources[1:], tmp_path / "0.pack")
    second = two.write(shelf.repo.id, sources, tmp_path / "1.pack")

    assert one.publish(shelf.repo.id, sources[1:], first, tmp_path / "0.pack") is True
    assert two.publish(shelf.repo.id, sources, second, tmp_path / "1.pack") is False
    assert shelf.stored() in ([first, sources[0]], [sources[0], first])
    assert shelf.packs_on_disk() == shelf.ids()
    shelf.check()


def test_one_worker_at_a_time(shelf: Any) -> None:
    shelf.fill(FULL)
    with shelf.services.packs.merging(shelf.repo.id) as is_ours:
        shelf.merge()
        assert (is_ours, len(shelf.stored())) == (True, FULL)
    shelf.merge()

    assert len(shelf.stored()) == 1


@pytest.mark.parametrize("step", ["written", "added", "replaced"])
def test_a_crash_after_each_step(shelf: Any, step: str) -> None:
    shelf.fill(FULL)
    sources = shelf.stored()
    worker, packs = shelf.worker(), shelf.services.packs
    pack = packs.quarantine() / "merged.pack"
    merged = worker.write(shelf.repo.id, sources, pack)
    if step != "written":
        packs.add(shelf.repo.id, merged, pack, pack.with_suffix(".idx"))
    if step == "replaced":
        assert packs.replace(shelf.repo.id, sources, merged)
    shelf.check()
    shelf.fill(FULL)
    shelf.merge()
    shelf.check()

    assert len(shelf.stored()) <= 2


def test_old_files_without_a_row_are_swept(shelf: Any) -> None:
    shelf.fill(FULL - 1)
    names = [f"pack-{digit * 40}.{ending}" for digit in "ab" for ending in ("pack", "idx")]
    for name in names:
        (shelf.folder / name).write_bytes(b"x")
    for name in [*names[:2], f"pack-{shelf.stored()[0].id}.pack"]:
        os.utime(shelf.folder / name, (0, 0))
    shelf.merge()

    assert len(shelf.stored()) == FULL - 1
    assert shelf.packs_on_disk() == shelf.ids() | {"b" * 40}
    shelf.check()


def test_a_repository_deleted_during_its_merge(shelf: Any, tmp_path: Path) -> None:
    shelf.fill(FULL)
    sources = shelf.stored()
    worker = shelf.worker()
    merged = worker.write(shelf.repo.id, sources, tmp_path / "0.pack")
    shelf.services.repos.delete(shelf.repo)
    shelf.services.packs.remove_repo(shelf.repo.id)

    assert worker.publish(shelf.repo.id, sources, merged, tmp_path / "0.pack") is False
    assert shelf.packs_on_disk() == set()
    shelf.merge()

"""Whole repacks on both databases, on the disk and in buckets: nothing that anybody can count on is lost, whoever else is at work."""

from pathlib import Path

import pytest

from gitserver.maintenance.order import RepackResult
from gitserver.maintenance.repack import Look
from gitserver.objects.store import Kind, RawObject, object_id
from storage.errors import Unavailable
from storage.records import ZERO_OID, PackInfo, RefUpdate
from tests.contracts.sites import Site, Sites

DAY = 86400


def test_all_packs_become_one(site: Site, new_site: Sites) -> None:
    tips = [site.commit("main", b"content %d" % number) for number in range(20)]
    done = site.repack()
    other = new_site()

    assert (done.reached, done.set_aside, done.dropped) == (60, 0, 0)
    assert (site.live(), site.dead()) == ([60], [])
    assert all(other.has(oid) for oid in site.made)
    other.check()
    other.commit("main", b"more", parents=[tips[-1]])
    other.check()


def test_what_was_pushed_away_is_kept_for_a_while_and_then_dropped(site: Site, new_site: Sites) -> None:
    first = site.commit("main", b"first")
    away = [site.commit("main", b"away %d" % number) for number in range(3)]
    site.commit("main", b"instead", parents=[first])
    done = site.repack()

    assert (done.reached, done.set_aside, done.dropped) == (6, 9, 0)
    assert all(site.has(oid) for oid in away)
    site.check()
    site.age(13 * DAY)
    assert site.repack().dropped == 0
    assert all(new_site().has(oid) for oid in away)
    site.age(DAY)
    done = site.repack()

    assert (done.reached, done.set_aside, done.dropped) == (6, 0, 9)
    assert not any(site.has(oid) for oid in away)
    assert site.move("back", away[0]) == "missing necessary objects"
    assert site.leftovers() == 0
    site.check()


@pytest.mark.parametrize("ref", [b"refs/tags/t", b"refs/notes/n", b"refs/hub/lost/x", b"refs/pr/1", b"refs/remotes/mirror/x"])
def test_every_ref_keeps_what_it_leads_to(site: Site, ref: bytes) -> None:
    kept = site.commit("other", b"kept")
    sql = "UPDATE refs SET name = :to WHERE name = :ref"
    site.services.database.write(lambda tx: tx.run(sql, {"to": ref, "ref": b"refs/heads/other"}))
    site.commit("main", b"main")

    assert site.repack(0).dropped == 0
    assert site.has(kept)


def test_a_tag_keeps_what_it_leads_to(site: Site) -> None:
    site.commit("main", b"main")
    kept = site.commit("other", b"kept")
    inner = RawObject(Kind.TAG, b"object %s\ntype commit\ntag t\ntagger A <a@example.org> 1 +0000\n\nm\n" % kept.hex().encode())
    inner_id = object_id(inner.kind, inner.data)
    outer = RawObject(Kind.TAG, b"object %s\ntype tag\ntag u\ntagger A <a@example.org> 1 +0000\n\nm\n" % inner_id.hex().encode())
    site.store([inner, outer], RefUpdate(b"refs/tags/u", ZERO_OID, object_id(outer.kind, outer.data)))
    tree = site.commit("third", b"tree")
    root = site.stores.of(site.repo.id).commit(tree).tree
    site.store([RawObject(Kind.BLOB, b"x")], RefUpdate(b"refs/tags/tree", ZERO_OID, root))
    site.move("other", ZERO_OID)
    site.move("third", ZERO_OID)
    done = site.repack(0)

    assert site.has(kept)
    assert site.has(inner_id)
    assert site.has(root)
    assert done.dropped == 2  # a commit, and a blob that nothing leads to
    site.check()


def test_what_is_wanted_again_comes_back(site: Site) -> None:
    first = site.commit("main", b"first")
    away = site.commit("main", b"away")
    site.commit("main", b"instead", parents=[first])
    assert site.repack().set_aside == 3
    assert site.move("back", away) == ""
    done = site.repack(0)

    assert (done.reached, done.dropped) == (9, 3)  # the pack that was set aside is dropped; what it held is in the other one
    assert site.has(away)
    site.check()


def test_a_push_builds_on_what_was_set_aside(site: Site) -> None:
    first = site.commit("main", b"first")
    away = site.commit("main", b"away")
    site.commit("main", b"instead", parents=[first])
    site.repack()
    new = site.commit("new", b"new", parents=[away])
    site.age(15 * DAY)
    site.repack()

    assert all(site.has(oid) for oid in (first, away, new))
    site.check()


def test_what_is_dropped_first_is_named_by_nothing_that_stays(site: Site) -> None:
    """A commit that was set aside long ago, and a child of it that came and went since: the child's pack must hold its parent."""
    first = site.commit("main", b"first")
    old = site.commit("main", b"old")
    site.commit("main", b"instead", parents=[first])
    site.repack()
    child = site.commit("side", b"child", parents=[old])
    site.move("side", ZERO_OID)
    site.age(15 * DAY)
    site.repack()

    assert site.has(child)
    assert site.has(old)
    site.check()
    site.age(15 * DAY)
    assert site.repack().dropped == 6
    assert not site.has(old)
    site.check()


def test_packs_that_were_set_aside_do_not_pile_up(site: Site) -> None:
    first = site.commit("main", b"first")
    away = []
    for number in range(10):
        away.append(site.commit("main", b"away %d" % number))
        site.commit("main", b"instead %d" % number, parents=[first])
        site.repack()
        site.check()
        assert len(site.dead()) <= 8
    assert all(site.has(oid) for oid in away)
    assert site.repack(0).dropped > 0
    assert not any(site.has(oid) for oid in away)
    site.check()


def test_a_pack_is_pushed_again_after_its_objects_went(site: Site) -> None:
    """Byte for byte the same pack, whose row must not say that it was merged into another one."""
    first = site.commit("main", b"first")
    blob = RawObject(Kind.BLOB, b"away")
    site.store([blob], RefUpdate(b"refs/tags/t", ZERO_OID, object_id(blob.kind, blob.data)))
    site.writer.move(site.repo, site.actor, [RefUpdate(b"refs/tags/t", object_id(blob.kind, blob.data), ZERO_OID)])
    assert site.repack(0).dropped == 1
    site.store([blob], RefUpdate(b"refs/tags/t", ZERO_OID, object_id(blob.kind, blob.data)))

    assert site.has(object_id(blob.kind, blob.data))
    assert site.has(first)
    site.check()
    assert site.repack(0).dropped == 0
    assert site.live() == [4]
    site.check()


def test_a_repack_that_makes_what_was_merged_before(site: Site) -> None:
    """After a push and its undoing the main pack is the one of before, whose row says that it was merged."""
    first = site.commit("main", b"first")
    site.repack()
    (before,) = site.packs.list(site.repo.id)
    site.commit("main", b"second")
    site.repack()
    assert site.live() == [6]
    site.move("main", first)
    site.repack(0)

    assert site.packs.list(site.repo.id) == [before]
    assert site.has(first)
    site.check()


def test_large_packs_stay_as_they_are(new_site: Sites) -> None:
    site = new_site(whole_pack_bytes=2000)
    first = site.commit("main", b"first")
    noise = bytes(byte * 7 % 251 ^ byte % 13 for byte in range(100)) + b"".join(b"%d" % (n * n) for n in range(1000))
    large = site.commit("large", noise, parents=[first])
    (kept,) = [info for info in site.packs.list(site.repo.id) if info.size > 2000]
    for number in range(5):
        site.commit("main", b"small %d" % number)
    site.repack()

    assert site.live() == [3, 18]
    assert kept in site.packs.list(site.repo.id)
    site.check()
    site.move("large", ZERO_OID)
    assert site.repack().set_aside == 3
    assert site.has(large)
    site.check()
    site.age(15 * DAY)
    assert site.repack().dropped == 3
    assert not site.has(large)
    assert site.has(first)
    site.check()


@pytest.mark.parametrize("step", ["written", "added", "replaced", "published"])
def test_a_crash_after_each_step(site: Site, step: str) -> None:
    """Everything is as it was, and the next repack ends it."""
    first = site.commit("main", b"first")
    away = site.commit("main", b"away")
    site.commit("main", b"instead", parents=[first])
    look = site.repacker.look(site.repo.id)
    folder = site.packs.quarantine()
    made = site.repacker.write(site.repo.id, look, folder)
    stop_after(site, step, look, made, folder)
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()

    assert all(site.has(oid) for oid in (first, away))
    done = site.repack(0)
    assert (done.reached, done.dropped) == (6, 3)
    assert site.has(first)
    assert not site.has(away)


def stop_after(site: Site, step: str, look: Look, made: RepackResult, folder: Path) -> None:
    if step == "published":
        assert site.repacker.publish(site.repo.id, look, made, folder)
        return
    main, dead = made.main, made.dead
    assert main is not None
    assert dead is not None
    if step != "written":
        for info, name in ((main, "main"), (dead, "dead")):
            site.packs.add(site.repo.id, info, folder / f"{name}.pack", folder / f"{name}.idx")
    if step == "replaced":
        assert site.packs.replace(site.repo.id, look.sources, main, PackInfo(dead.id, dead.objects, dead.size, 1))


def test_damage_changes_nothing(site: Site) -> None:
    site.commit("main", b"first")
    site.services.database.write(lambda tx: tx.run("UPDATE refs SET oid = :oid", {"oid": b"x" * 20}))
    before = site.packs.list(site.repo.id)
    with pytest.raises(Unavailable, match="named but missing"):
        site.repack(0)

    assert site.packs.list(site.repo.id) == before

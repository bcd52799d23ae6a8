"""Whole repacks on both databases, on the disk and in buckets: nothing that anybody can count on is lost, whoever else is at work."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from gitserver.commit.packfile import PackWriter
from gitserver.merge.job import Made
from gitserver.merge.repacker import Look
from gitserver.objects import Kind, RawObject, object_id
from gitserver.receive.commands import PushRequest
from hub.services import Services
from storage.errors import Dropped, ObjectNotFound, Unavailable
from storage.filecache import FileCache
from storage.limits import Limits
from storage.packs.base import PackFiles
from storage.packs.disk import DiskPackFiles
from storage.packs.s3 import S3PackFiles
from storage.records import ZERO_OID, PackInfo, RefUpdate, RepoKind, RepoName, Scope
from tests.contracts.sites import Site, make_site
from tests.servers.s3 import S3_SERVERS

Sites: TypeAlias = Callable[..., Site]
DAY = 86400


@pytest.fixture(params=["disk", *S3_SERVERS])
def new_site(request: pytest.FixtureRequest, services: Services, tmp_path: Path) -> Iterator[Sites]:
    """One more machine each time, on the same repository."""
    services.merger.close()
    bucket = request.getfixturevalue("open_bucket")(request.param) if request.param != "disk" else None
    actor = services.users.create("ann", "ann@example.org", "long enough").principal(Scope.WRITE, from_session=False)
    repo = services.repos.create(actor, RepoName(RepoKind.MODEL, "ann", "r"), is_private=False)
    made: list[Site] = []

    def start(**limits: int) -> Site:
        folder = tmp_path / f"machine{len(made)}"
        for name in ("incoming", "cache"):
            (folder / name).mkdir(parents=True)
        files: PackFiles = DiskPackFiles(services.settings.data / "git")
        if bucket is not None:
            files = S3PackFiles(bucket, FileCache(folder / "cache", 1 << 30), folder / "incoming")
        made.append(make_site(services, repo, actor, files, folder / "incoming", Limits(**limits)))
        return made[-1]

    yield start
    for site in made:
        site.repacker.close()
    assert list(tmp_path.glob("machine*/incoming/*")) == []


@pytest.fixture
def site(new_site: Sites) -> Site:
    return new_site()


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


def paused(site: Site, at: str, act: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """`act` happens once, in the midst of something that this site does."""
    work, done = getattr(site.packs, at), [0]

    def run(*arguments: Any) -> Any:
        done[0] += 1
        if done[0] == 1:
            act()
        return work(*arguments)

    monkeypatch.setattr(site.packs, at, run)
    return done


def test_objects_go_between_the_check_of_a_commit_and_its_rows(site: Site, new_site: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's own commits are made once more, with what was there."""
    other = new_site()
    first = site.commit("main", b"first")
    blob = RawObject(Kind.BLOB, b"away")
    site.commit("main", blob.data)
    site.commit("main", b"instead", parents=[first])
    assert site.repack().set_aside == 3
    seen = []
    done = paused(site, "add", lambda: seen.append(other.repack(0).dropped), monkeypatch)
    site.commit("again", blob.data, parents=[first])

    assert seen == [3]
    assert done == [2]
    assert site.has(object_id(blob.kind, blob.data))
    site.check()


def test_objects_go_between_the_check_of_a_push_and_its_rows(
    site: Site, new_site: Sites, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The client is told to push once more; then it is told what is missing."""
    other = new_site()
    first = site.commit("main", b"first")
    away = site.commit("main", b"away")
    site.commit("main", b"instead", parents=[first])
    site.repack()
    tree = site.stores.of(site.repo.id).commit(away).tree
    lines = b"tree %s\nparent %s\nauthor A <a@e> 1 +0000\ncommitter A <a@e> 1 +0000\n\nm\n" % (tree.hex().encode(), away.hex().encode())
    commit = RawObject(Kind.COMMIT, lines)
    oid = object_id(commit.kind, commit.data)

    def push() -> Any:
        pack = tmp_path / "pushed.pack"
        writer = PackWriter(pack)
        writer.add(commit)
        writer.close()
        request = PushRequest((RefUpdate(b"refs/heads/side", ZERO_OID, oid),), frozenset())
        return site.pusher.receive(site.repo, site.actor, request, pack, lambda text: None)

    paused(site, "add", lambda: other.repack(0), monkeypatch)
    with pytest.raises(Dropped, match="once more"):
        push()

    assert site.ref("side") == ZERO_OID
    assert f"lacks commit {away.hex()}" in push().unpack
    site.check()


def test_a_ref_moves_onto_what_goes_at_that_moment(site: Site, new_site: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    other = new_site()
    first = site.commit("main", b"first")
    away = site.commit("main", b"away")
    site.commit("main", b"instead", parents=[first])
    site.repack()
    append = site.versions.append

    def late(*arguments: Any, **named: Any) -> Any:
        if site.dead():
            assert other.repack(0).dropped == 3
        return append(*arguments, **named)

    monkeypatch.setattr(site.versions, "append", late)

    assert site.move("back", away) == "missing necessary objects"
    assert site.ref("back") == ZERO_OID
    site.check()


def test_a_push_comes_while_objects_are_about_to_go(site: Site, new_site: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    other = new_site()
    first = site.commit("main", b"first")
    away = site.commit("main", b"away")
    site.commit("main", b"instead", parents=[first])
    site.repack()
    drop, pushed = site.packs.upkeep.drop, []

    def late(*arguments: Any) -> bool:
        if not pushed:
            pushed.append(other.commit("side", b"child", parents=[away]))
        return drop(*arguments)

    monkeypatch.setattr(site.packs.upkeep, "drop", late)

    assert site.repack(0).dropped == 0
    assert site.has(away)
    site.check()
    assert site.repack(0).dropped == 3
    assert site.has(away)
    site.check()


def test_a_push_that_names_nothing_old_does_not_keep_it(site: Site, new_site: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    other = new_site()
    first = site.commit("main", b"first")
    site.commit("main", b"away")
    site.commit("main", b"instead", parents=[first])
    drop, pushed = site.packs.upkeep.drop, []

    def late(*arguments: Any) -> bool:
        if len(pushed) < 3:
            pushed.append(other.commit("side", b"%d" % len(pushed), parents=[first]))
        return drop(*arguments)

    monkeypatch.setattr(site.packs.upkeep, "drop", late)

    assert site.repack(0).dropped == 3
    assert all(site.has(oid) for oid in pushed)
    site.check()


def test_a_pack_is_pushed_again_after_its_objects_went(site: Site) -> None:
    """Byte for byte the same pack, whose row must not say that it was merged into another one."""
    first = site.commit("main", b"first")
    blob = RawObject(Kind.BLOB, b"away")
    site.store([blob], RefUpdate(b"refs/tags/t", ZERO_OID, object_id(blob.kind, blob.data)))
    site.pusher.move(site.repo, site.actor, [RefUpdate(b"refs/tags/t", object_id(blob.kind, blob.data), ZERO_OID)])
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


def test_two_machines_repack_at_once(site: Site, new_site: Sites) -> None:
    other = new_site()
    for number in range(5):
        site.commit("main", b"content %d" % number)
    looks = [machine.repacker.look(site.repo.id) for machine in (site, other)]
    folders = [machine.packs.quarantine() for machine in (site, other)]
    machines = list(zip((site, other), looks, folders, strict=True))
    made = [machine.repacker.write(site.repo.id, look, folder) for machine, look, folder in machines]
    known = [machine.repacker.publish(site.repo.id, *rest) for machine, rest in zip((site, other), zip(looks, made, folders), strict=True)]

    assert made[0] == made[1]
    assert known == [{made[0].main}, None]
    assert site.live() == [15]
    for machine, folder in zip((site, other), folders, strict=True):
        assert folder.is_dir()
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        machine.check()


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


def stop_after(site: Site, step: str, look: Look, made: Made, folder: Path) -> None:
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


def test_readers_beside_repacks_and_pushes(site: Site, new_site: Sites) -> None:
    """Another machine reads everything that leads from the branch, again and again."""
    reader, stop, seen = new_site(), threading.Event(), []
    site.commit("main", b"start")

    def read() -> None:
        while not stop.is_set():
            objects = reader.stores.of(reader.repo.id)
            objects.refresh()
            oid = reader.ref("main")
            try:
                while True:
                    node = objects.commit(oid)
                    objects.tree(node.tree)
                    if not node.parents:
                        break
                    oid = node.parents[0]
                seen.append("")
            except (ObjectNotFound, Unavailable) as error:
                seen.append(error.message)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(6):
        tip = site.ref("main")
        site.commit("main", b"away %d" % number)
        site.commit("main", b"instead %d" % number, parents=[tip])
        site.repack(0)
    stop.set()
    thread.join()

    assert len(seen) > 1
    assert set(seen) == {""}
    site.check()

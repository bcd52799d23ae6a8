"""Whole repacks beside pushes and each other: no one goes by what the other is changing."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitserver.objects.pack_writer import PackWriter
from gitserver.objects.store import Kind, RawObject, object_id
from gitserver.receive.commands import PushRequest
from storage.errors import Dropped, ObjectNotFound, Unavailable
from storage.records import ZERO_OID, RefUpdate
from tests.contracts.sites import Site, Sites


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
    seen: list[int] = []
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


def test_objects_go_that_a_push_does_not_count_on(site: Site, new_site: Sites, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The push is looked at once more, and taken."""
    other = new_site()
    first = site.commit("main", b"first")
    site.commit("main", b"away")
    site.commit("main", b"instead", parents=[first])
    site.repack()
    tree = site.stores.of(site.repo.id).commit(first).tree
    pack, seen = tmp_path / "pushed.pack", []
    lines = b"tree %s\nparent %s\nauthor A <a@e> 1 +0000\ncommitter A <a@e> 1 +0000\n\nm\n" % (tree.hex().encode(), first.hex().encode())
    writer = PackWriter(pack)
    oid = writer.add(RawObject(Kind.COMMIT, lines))
    writer.close()
    paused(site, "add", lambda: seen.append(other.repack(0).dropped), monkeypatch)
    request = PushRequest((RefUpdate(b"refs/heads/side", ZERO_OID, oid),), frozenset())
    result = site.pusher.receive(site.repo, site.actor, request, pack, lambda text: None)

    assert (seen, [one.reason for one in result.refs]) == ([3], [""])
    assert site.ref("side") == oid
    assert site.has(oid)
    assert site.leftovers() == 0
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
    drop = site.packs.upkeep.drop
    pushed: list[bytes] = []

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
    drop = site.packs.upkeep.drop
    pushed: list[bytes] = []

    def late(*arguments: Any) -> bool:
        if len(pushed) < 3:
            pushed.append(other.commit("side", b"%d" % len(pushed), parents=[first]))
        return drop(*arguments)

    monkeypatch.setattr(site.packs.upkeep, "drop", late)

    assert site.repack(0).dropped == 3
    assert all(site.has(oid) for oid in pushed)
    site.check()


@pytest.mark.parametrize("at", ["roots", "list"])
@pytest.mark.parametrize("times", [1, 100])
def test_pushes_come_while_a_repack_looks_around(site: Site, new_site: Sites, monkeypatch: pytest.MonkeyPatch, at: str, times: int) -> None:
    """However often: what came too late to be seen as reached is set aside at worst, and never dropped."""
    other = new_site()
    site.commit("main", b"first")
    owner: Any = site.versions if at == "roots" else site.packs
    ask, pushed = getattr(owner, at), [0]

    def late(repo_id: str) -> Any:
        if pushed[0] < times:
            pushed[0] += 1
            other.commit("main", b"late %d" % pushed[0])
        return ask(repo_id)

    monkeypatch.setattr(owner, at, late)
    done = site.repack(0)
    monkeypatch.undo()

    assert done.dropped == 0
    assert all(site.has(oid) for oid in (*site.made, *other.made))
    site.check()
    assert site.repack(0).dropped <= 3 * times
    assert site.live() == [3 * (pushed[0] + 1)]
    assert all(site.has(oid) for oid in (*site.made, *other.made))
    site.check()


def test_two_machines_repack_at_once(site: Site, new_site: Sites) -> None:
    other = new_site()
    for number in range(5):
        site.commit("main", b"content %d" % number)
    folders = [machine.packs.quarantine() for machine in (site, other)]
    looks = [machine.repacker.look(site.repo.id) for machine in (site, other)]
    parts = list(zip((site.repacker, other.repacker), looks, folders, strict=True))
    made = [repacker.write(site.repo.id, look, folder) for repacker, look, folder in parts]
    known = [parts[n][0].publish(site.repo.id, looks[n], made[n], folders[n]) for n in range(2)]

    assert made[0] == made[1]
    assert known == [{made[0].main}, None]
    assert site.live() == [15]
    for machine, folder in zip((site, other), folders, strict=True):
        assert folder.is_dir()
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        machine.check()


def test_readers_beside_repacks_and_pushes(site: Site, new_site: Sites) -> None:
    """Another machine reads everything that leads from the branch, again and again."""
    reader, stop = new_site(), threading.Event()
    seen: list[str] = []
    site.commit("main", b"start")

    def read() -> None:
        while not stop.wait(0.005):  # a loop without any rest would keep the other thread from its work
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

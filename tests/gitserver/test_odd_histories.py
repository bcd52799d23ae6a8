"""Histories as older programs wrote them: pushed by real git, read by everything that reads, and given back byte for byte."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from gitserver.history.log import log
from gitserver.maintenance.repack import Repacker
from gitserver.objects.store import Kind, ObjectStores, RawObject, object_id
from gitserver.workers.tasks import make_reach, stock_of
from storage.limits import Limits
from storage.packs import PackStore
from storage.records import ZERO_OID, RefUpdate
from tests.gitserver.conftest import Shelf
from tests.gitserver.test_push import Pushing

PEOPLE = (
    b"A<a@example.org>01112911993 +051800",
    b"<> 9223372036854775808 +0000",
    b"A A <<a@example.org>> <b@example.org> 1112911994 -0700",
    b"A <a@example.org> " + b"9" * 5000,
)


def odd_history() -> list[RawObject]:
    """The last is the newest commit; each has a file below a folder of a zero-padded mode."""
    raws: list[RawObject] = []

    def add(kind: Kind, data: bytes) -> bytes:
        raws.append(RawObject(kind, data))
        return object_id(kind, data)

    tip = b""
    for number, person in enumerate(PEOPLE):
        blob = add(Kind.BLOB, b"%d" % number)
        inner = add(Kind.TREE, b"0100644 file\0" + blob + b"100600 private\0" + blob)
        root = add(Kind.TREE, b"040000 folder\0" + inner)
        parent = b"parent %s\n" % tip.hex().encode() if tip else b""
        tip = add(Kind.COMMIT, b"tree %s\n%sauthor %s\ncommitter %s\n\nodd\n" % (root.hex().encode(), parent, person, person))
    return raws


def test_g1_everything_that_reads_an_odd_history_copes(shelf: Shelf, tmp_path: Path) -> None:
    raws, services = odd_history(), shelf.services
    tip = object_id(Kind.COMMIT, raws[-1].data)
    shelf.store(raws, RefUpdate(b"refs/heads/main", ZERO_OID, tip))
    snapshot = services.browser.at(shelf.repo, "main")
    make_reach(stock_of(snapshot.objects), shelf.stored()[0].id, tmp_path / "reach")

    assert [(commit.author.name, commit.author.email, commit.author.time) for commit in log(snapshot)] == [
        (b"A", b"a@example.org", 0),
        (b"A A", b"a@example.org", 1112911994),
        (b"", b"", 0),
        (b"A", b"a@example.org", 1112911993),
    ]
    assert [entry.path for entry in services.browser.page(snapshot, b"", 10, is_recursive=True)] == [
        b"folder",
        b"folder/file",
        b"folder/private",
    ]
    assert (tmp_path / "reach").stat().st_size > 0
    shelf.check()
    stores = ObjectStores(PackStore(services.stores.packs, services.settings.data / "incoming", services.database))
    repacker = Repacker(services.packs, stores, services.versions, Limits())
    assert repacker.repack(shelf.repo.id, 0) is not None
    repacker.close()
    shelf.check()


@pytest.fixture
def pushing(hub: Any, tmp_path: Path) -> Pushing:
    return Pushing(hub, tmp_path / "work")


def write(pushing: Pushing, raw: RawObject) -> str:
    kind = raw.kind.text.decode()
    return pushing("hash-object", "-w", "--stdin", "--literally", "-t", kind, data=raw.data)


def test_g1_an_odd_history_is_pushed_and_comes_back_as_it_was(pushing: Pushing) -> None:
    *_, tip = [write(pushing, raw) for raw in odd_history()]
    pushing("update-ref", "refs/heads/main", tip)
    pushing("push", "-q", "--mirror", pushing.url)
    pushing("clone", "-q", "--bare", pushing.url, "copy")
    listed = pushing.hub.call("GET", f"/api/models/{pushing.name}/commits/main").json()
    first, last = (pushing.hub.call("GET", f"/{pushing.name}/resolve/main/folder/{name}").body for name in ("file", "private"))

    assert pushing("-C", "copy", "rev-list", "--objects", "--all") == pushing("rev-list", "--objects", "--all")
    assert [commit["date"] for commit in listed] == [
        "1970-01-01T00:00:00.000Z",
        "2005-04-07T22:13:14.000Z",
        "1970-01-01T00:00:00.000Z",
        "2005-04-07T22:13:13.000Z",
    ]
    assert (first, last) == (b"3", b"3")


def test_g1_a_commit_of_the_api_goes_on_top_of_an_odd_history(pushing: Pushing) -> None:
    *_, tip = [write(pushing, raw) for raw in odd_history()]
    pushing("update-ref", "refs/heads/main", tip)
    pushing("push", "-q", pushing.url, "main")
    lines = b'{"key":"header","value":{"summary":"new"}}\n{"key":"file","value":{"path":"new","content":"eA==","encoding":"base64"}}\n'
    answer = pushing.hub.call("POST", f"/api/models/{pushing.name}/commit/main", lines, Content_Type="application/x-ndjson")
    pushing("fetch", "-q", pushing.url, "main")

    assert answer.status == 200, answer.body
    assert pushing("rev-parse", "FETCH_HEAD:folder") == pushing("rev-parse", "main:folder")
    assert pushing("rev-parse", "FETCH_HEAD^") == tip


def test_g1_warnings_and_g2_refusals_are_shown_by_git(pushing: Pushing) -> None:
    blob = write(pushing, RawObject(Kind.BLOB, b"/elsewhere"))
    entry = b"\0" + bytes.fromhex(blob)
    good = b"A <a@example.org> 1 +0000"
    tree = write(pushing, RawObject(Kind.TREE, b"120000 .gitignore" + entry))
    form = b"tree %s\nauthor %s\ncommitter %s\n\nm\n"
    taken = write(pushing, RawObject(Kind.COMMIT, form % (tree.encode(), good, good)))
    refused = write(pushing, RawObject(Kind.COMMIT, form % (tree.encode(), good, b"nobody 1 +0000")))
    done = pushing.run("push", pushing.url, f"{taken}:refs/heads/main")
    told = pushing.refused(f"{refused}:refs/heads/other")

    assert done.returncode == 0
    assert f"remote: warning: tree {tree}: gitignoreSymlink: '.gitignore' is a symbolic link".encode() in done.stderr
    message = f"fsck error in commit {refused}: missingEmail: no e-mail address in < and >, in the line 'committer nobody 1 +0000'"
    assert f"remote: {message}" in told


def test_g1_a_large_push_tells_its_warnings_too(new_launcher: Any, tmp_path: Path) -> None:
    """Where a process of its own checks the pack, and an operator wants to be told."""
    environment = {"KOHAKU_HUB_FSCK": '{"zeroPaddedFilemode": "warn"}', "KOHAKU_HUB_LIMITS": '{"apart_pack_objects": 1}'}
    launcher = new_launcher(tmp_path / "data", environment)
    launcher.users()
    hub = launcher.start()
    pushing = Pushing(hub, tmp_path / "work")
    *_, tip = [write(pushing, raw) for raw in odd_history()]
    done: subprocess.CompletedProcess[bytes] = pushing.run("push", pushing.url, f"{tip}:refs/heads/main")

    assert done.returncode == 0
    assert b"remote: warning: tree " in done.stderr
    assert b": zeroPaddedFilemode: '040000' of 'folder'" in done.stderr
    assert hub.stop() == 0

"""Commits through the API: what each operation does, alone and with others."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.hfcompat.commits import STALE, Target, head, line, put


@pytest.fixture
def target(hub: Any) -> Target:
    """A new repository with two files and a folder."""
    target = Target(hub, hub.repo())
    target.made(put("a.txt", b"a"), put("f/one.txt", b"1"), put("f/g/two.txt", b"2"))
    return target


def git(work: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-c", "init.defaultBranch=main")
    environment = {**os.environ, "HOME": str(work), "GIT_CONFIG_NOSYSTEM": "1", "GIT_LFS_SKIP_SMUDGE": "1"}
    done = subprocess.run(["git", *identity, *arguments], cwd=work, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_answer(target: Target) -> None:
    answer = target.commit(head("Title", description="Body\n\nmore"), put("b.txt"))
    oid = answer.json()["commitOid"]

    assert answer.json() == {
        "success": True,
        "commitOid": oid,
        "commitUrl": f"{target.hub.url}/{target.name}/commit/{oid}",
        "hookOutput": "",
    }
    assert target.tip() == oid
    newest = target.history()[0]
    assert (newest["id"], newest["title"], newest["message"]) == (oid, "Title", "Body\n\nmore")
    assert newest["authors"] == [{"user": "alice"}]


def test_an_empty_repository_begins_with_its_initial_commit(hub: Any) -> None:
    target = Target(hub, hub.repo())
    target.made(put("a.txt", b"a"))

    assert [commit["title"] for commit in target.history()] == ["A change", "initial commit"]
    assert set(target.tree()) == {".gitattributes", "a.txt"}
    assert b"*.safetensors filter=lfs" in (target.read(".gitattributes") or b"")


def test_files_are_made_and_replaced(target: Target) -> None:
    target.made(put("a.txt", b"new"), put("deep/er/x.bin.txt", bytes(range(256))), put("empty", b""))

    assert target.read("a.txt") == b"new"
    assert target.read("deep/er/x.bin.txt") == bytes(range(256))
    assert target.read("empty") == b""
    assert target.read("f/g/two.txt") == b"2"


def test_the_last_of_two_contents_counts(target: Target) -> None:
    target.made(put("x.txt", b"first"), put("x.txt", b"second"))

    assert target.read("x.txt") == b"second"


def test_text_encoding(target: Target) -> None:
    target.made(line("file", path="x.txt", content="é", encoding="utf-8"), line("file", path="y.txt", content="eA=="))

    assert (target.read("x.txt"), target.read("y.txt")) == ("é".encode(), b"x")


@pytest.mark.parametrize("key", ["deletedFile", "deletedFolder"])
@pytest.mark.parametrize("path", ["f", "f/"])
def test_a_folder_is_deleted_under_either_name(target: Target, key: str, path: str) -> None:
    target.made(line(key, path=path))

    assert set(target.tree()) == {".gitattributes", "a.txt"}


def test_folders_that_became_empty_are_gone(target: Target) -> None:
    target.made(line("deletedFile", path="f/g/two.txt"))
    assert target.hub.call("GET", f"/api/models/{target.name}/tree/main/f/g").status == 404
    target.made(line("deletedFile", path="f/one.txt"), line("deletedFile", path="a.txt"), line("deletedFile", path=".gitattributes"))

    assert target.tree() == {}
    assert target.made(put("again.txt")) == target.tip()


@pytest.mark.parametrize("path", ["nope", "f/nope", "nope/nope", "a.txt/x", "F"])
def test_delete_of_what_is_not_there(target: Target, path: str) -> None:
    before, stored = target.tip(), target.stored()
    answer = target.commit(head(), put("new.txt"), line("deletedFile", path=path))

    assert (answer.status, answer.headers["X-Error-Code"]) == (404, "EntryNotFound")
    assert "A file with this name doesn't exist" in answer.json()["error"]
    assert (target.tip(), target.stored()) == (before, stored)


def test_copies(target: Target) -> None:
    old = target.tip()
    target.made(put("a.txt", b"changed"))
    copies = (
        line("copyFile", path="now.txt", srcPath="a.txt"),
        line("copyFile", path="then.txt", srcPath="a.txt", srcRevision=old),
        line("copyFile", path="c/d.txt", srcPath="f/g/two.txt", srcRevision="main"),
    )
    target.made(*copies)

    assert [target.read(path) for path in ("now.txt", "then.txt", "c/d.txt")] == [b"changed", b"a", b"2"]
    for value, status in (({"srcPath": "nope"}, 404), ({"srcPath": "f"}, 400), ({"srcPath": "a.txt", "srcRevision": "nope"}, 404)):
        assert target.commit(head(), line("copyFile", path="x", **value)).status == status
    assert target.commit(head(), line("copyFile", path="x", srcPath="a.txt", srcRevision=5)).status == 400


def test_a_move_is_a_copy_and_a_delete(target: Target) -> None:
    target.made(line("deletedFile", path="f/one.txt"), line("copyFile", path="f/moved.txt", srcPath="f/one.txt"))

    assert (target.read("f/one.txt"), target.read("f/moved.txt")) == (None, b"1")


def test_an_empty_commit(target: Target) -> None:
    before = target.tree()
    first, second = target.made(), target.made()

    assert first != second
    assert target.tree() == before
    assert [commit["id"] for commit in target.history()][:2] == [second, first]


def test_a_file_in_the_place_of_a_folder_and_back(target: Target) -> None:
    before = target.tip()
    for lines in ((put("f"),), (put("a.txt/x"),), (put("n", b"1"), put("n/m", b"2")), (put("n/m", b"1"), put("n", b"2"))):
        assert target.commit(head(), *lines).status == 422
    assert target.tip() == before
    target.made(line("deletedFolder", path="f"), put("f", b"a file"), line("deletedFile", path="a.txt"), put("a.txt/x", b"below"))

    assert (target.read("f"), target.read("a.txt/x")) == (b"a file", b"below")


def test_executables_links_and_their_kin(hub: Any, tmp_path: Path) -> None:
    target = Target(hub, hub.repo())
    (tmp_path / "run.sh").write_text("old")
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "link").symlink_to("run.sh")
    (tmp_path / "folder-link").symlink_to("/etc")
    for command in (("init", "-q"), ("add", "run.sh", "link", "folder-link"), ("commit", "-qm", "x")):
        git(tmp_path, *command)
    git(tmp_path, "push", "-q", hub.git_url(target.name), "main")
    assert target.commit(head(), put("folder-link/passwd")).status == 422
    target.made(put("run.sh", b"new"), put("link", b"now a file"), line("copyFile", path="copy.sh", srcPath="run.sh"))
    git(tmp_path, "pull", "-q", hub.git_url(target.name), "main")

    modes = {row.split()[-1]: row.split()[0] for row in git(tmp_path, "ls-tree", "HEAD").splitlines()}
    assert modes == {"run.sh": "100755", "copy.sh": "100755", "link": "100644", "folder-link": "120000"}
    git(tmp_path, "fsck", "--strict")


def test_where_commits_go(target: Target) -> None:
    repo, tip = f"/api/models/{target.name}", target.tip()
    assert target.hub.call("POST", f"{repo}/branch/feature%2Fx").status == 200
    assert target.hub.call("POST", f"{repo}/tag/main", {"tag": "v1"}).status == 200
    made = target.made(put("x.txt"), branch="feature/x")
    missing = target.commit(head(), put("x.txt"), branch="nope")

    assert (target.tip("feature/x"), target.tip()) == (made, tip)
    assert (missing.status, missing.headers["X-Error-Code"]) == (404, "RevisionNotFound")
    assert target.commit(head(), put("x.txt"), branch="refs/heads/feature/x").status == 200
    for revision in ("v1", tip, "refs/tags/v1"):
        refused = target.commit(head(), put("x.txt"), branch=revision)
        assert (refused.status, "Commits go onto branches" in refused.json()["error"]) == (400, True)
    assert target.commit(head(), put("x.txt"), query="?create_pr=1").status == 403
    for branch in ("refs/pr/1", "refs/convert/parquet", "nope\nx", "..", "%2e%2e", "main.lock", "\udcff"):
        name = branch.encode("utf-8", "replace").decode()
        assert target.commit(head(), put("x.txt"), branch=name).status in (400, 404)


def test_a_branch_elsewhere_in_an_empty_repository(hub: Any) -> None:
    target = Target(hub, hub.repo())

    assert target.commit(head(), put("x.txt"), branch="other").status == 404
    assert target.commit(head(parentCommit="ab" * 20), put("x.txt")).status == 412
    assert target.commit(head(), line("deletedFile", path="x.txt")).status == 404
    assert target.tip() == ""


def test_a_stale_parent(target: Target) -> None:
    old = target.tip()
    new = target.made(put("x.txt"))
    stored = target.stored()
    answer = target.commit(head(parentCommit=old), put("y.txt"))

    assert (answer.status, answer.json()["error"]) == (412, STALE)
    assert (target.tip(), target.stored()) == (new, stored)
    assert target.commit(head(parentCommit=new), put("y.txt")).status == 200
    assert target.commit(head(parentCommit="main"), put("z.txt")).status == 400


def test_the_same_payload_twice_is_one_commit(target: Target) -> None:
    parent = target.tip()
    for lines in ((head("once"), put("x.txt")), (head("with a parent", parentCommit=parent), put("y.txt"))):
        parent = target.tip()
        if b"parentCommit" in lines[0]:
            lines = (head("with a parent", parentCommit=parent), put("y.txt"))
        answers = [target.commit(*lines).json()["commitOid"] for _ in range(3)]
        assert answers == [target.tip()] * 3
    assert len(target.history()) == 4


def test_the_same_payload_after_others_committed_is_another_commit(target: Target) -> None:
    first = target.made(put("x.txt", b"1"))
    target.made(put("x.txt", b"2"))
    again = target.made(put("x.txt", b"1"))

    assert first != again
    assert target.read("x.txt") == b"1"


def test_many_commit_at_once_and_nothing_is_lost(target: Target) -> None:
    def one(number: int) -> int:
        return int(target.commit(head(f"number {number}"), put(f"n/{number}.txt", b"%d" % number)).status)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(24))) == [200] * 24
    history = target.history()

    assert {commit["title"] for commit in history[:24]} == {f"number {number}" for number in range(24)}
    assert [commit["parents"] for commit in history[:-1]] == [[commit["id"]] for commit in history[1:]]
    assert {path for path in target.tree() if path.startswith("n/")} == {f"n/{number}.txt" for number in range(24)}


def test_of_many_who_saw_the_same_parent_one_wins(target: Target) -> None:
    parent = target.tip()

    def one(number: int) -> Any:
        return target.commit(head(f"number {number}", parentCommit=parent), put("x.txt", b"%d" % number))

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(8)))
    won = [answer for answer in answers if answer.status == 200]

    assert len(won) == 1
    assert [answer.json()["error"] for answer in answers if answer.status == 412] == [STALE] * 7
    assert target.tip() == won[0].json()["commitOid"]
    assert target.history()[1]["id"] == parent


def test_the_first_commit_of_many_at_once(hub: Any) -> None:
    target = Target(hub, hub.repo())
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda number: target.commit(head(), put(f"{number}.txt")).status, range(6))) == [200] * 6

    assert [commit["title"] for commit in target.history()] == ["A change"] * 6 + ["initial commit"]
    assert len(target.tree()) == 7


def test_the_deepest_paths(target: Target) -> None:
    """512 folders in 1,024 bytes: made, read, listed, copied, checked by git, and deleted."""
    deep = "a/" * 511 + "bc"
    target.made(put(deep, b"deep"), put("a/" * 511 + "dd", b"too"))
    target.made(line("copyFile", path="copy", srcPath=deep), line("deletedFile", path="a/" * 511 + "dd"))

    assert target.read(deep) == target.read("copy") == b"deep"
    assert deep in target.tree()
    assert target.commit(head(), put("a/" * 511 + "bcd")).status == 422
    target.made(line("deletedFile", path=deep))
    assert not [path for path in target.tree() if path.startswith("a/")]

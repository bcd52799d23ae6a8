"""Repositories come from C git elsewhere, with everything; they follow it; they go on after a death."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.mirror.source import Elsewhere, git, refs

NAME = "alice/brought"
PATH = f"/api/models/{NAME}/import"


def wait(hub: Any, *states: str, path: str = PATH) -> dict[str, Any]:
    """The job's answer, once it is in one of the states."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        answer = hub.call("GET", path)
        assert answer.status == 200, answer
        shown: dict[str, Any] = answer.json()
        if shown["state"] in states:
            return shown
        time.sleep(0.05)
    raise AssertionError(f"the import ended in {shown}")


def wait_for(found: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 60
    while not found():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def served(hub: Any, folder: Path, name: str = NAME) -> dict[str, str]:
    """The refs of a mirror clone from the hub, checked whole."""
    git(folder.parent, "clone", "-q", "--mirror", hub.git_url(name), str(folder))
    git(folder, "fsck", "--full", "--strict")
    return refs(folder)


def expected(there: Elsewhere) -> dict[str, str]:
    return {name: oid for name, oid in refs(there.bare).items() if not name.startswith("refs/pull/")}


def test_everything_comes(follower: Any, elsewhere: Elsewhere, tmp_path: Path) -> None:
    begun = follower.call("POST", PATH, {"url": elsewhere.repository, "private": True})
    assert begun.status == 202, begun
    done = wait(follower, "done", "failed")

    assert (done["state"], done["message"]) == ("done", "")
    assert "1 of other kinds left out" in done["progress"]["text"]
    assert served(follower, tmp_path / "copy.git") == expected(elsewhere)
    assert follower.call("GET", f"/api/models/{NAME}", token=follower.token2).status == 404
    git(tmp_path, "clone", "-q", follower.git_url(NAME), "checkout")
    assert git(tmp_path / "checkout", "branch", "--show-current").stdout == b"trunk\n"
    assert (tmp_path / "checkout" / "file1.txt").read_bytes() == (elsewhere.work / "file1.txt").read_bytes()
    large = follower.call("GET", f"/{NAME}/resolve/trunk/large3.bin")
    assert large.body == (elsewhere.work / "large3.bin").read_bytes()


def test_g3_converts_and_other_namespaces_come(follower: Any, elsewhere: Elsewhere, tmp_path: Path) -> None:
    for name in ("refs/convert/parquet", "refs/changes/01/1/1", "refs/meta/config"):
        git(elsewhere.bare, "update-ref", name, "refs/heads/side")
    follower.call("POST", PATH, {"url": elsewhere.repository})
    assert wait(follower, "done", "failed")["state"] == "done"

    assert served(follower, tmp_path / "copy.git") == expected(elsewhere)


def test_an_import_takes_pushes_and_is_not_done_twice(follower: Any, elsewhere: Elsewhere, tmp_path: Path) -> None:
    follower.call("POST", PATH, {"url": elsewhere.repository})
    assert wait(follower, "done", "failed")["state"] == "done"
    git(elsewhere.work, "commit", "-q", "--allow-empty", "-m", "mine")
    git(elsewhere.work, "push", "-q", follower.git_url(NAME), "trunk")

    again = follower.call("POST", PATH, {"url": elsewhere.repository})
    assert again.status == 409
    assert "new repository" in again.json()["error"]


def test_a_mirror_follows_its_source(follower: Any, elsewhere: Elsewhere, tmp_path: Path) -> None:
    begun = follower.call("POST", PATH, {"url": elsewhere.repository, "mirror": True, "interval_seconds": 1})
    assert begun.status == 202, begun
    wait_for(lambda: follower.call("GET", PATH).json()["ended_at"] is not None, "the first look")
    assert served(follower, tmp_path / "first.git") == expected(elsewhere)

    git(elsewhere.work, "checkout", "-q", "--orphan", "other")
    elsewhere.commit("new.bin", b"new large bytes" * 1000)
    git(elsewhere.work, "branch", "-D", "side")
    git(elsewhere.work, "branch", "-f", "trunk", "trunk~2")
    git(elsewhere.work, "branch", "side/below", "other")
    elsewhere.push()
    git(elsewhere.bare, "symbolic-ref", "HEAD", "refs/heads/other")
    head = b"refs/heads/other\tHEAD"  # the last change: a look that saw it saw the others too
    wait_for(lambda: head in git(tmp_path, "ls-remote", "--symref", follower.git_url(NAME), "HEAD").stdout, "HEAD follows")
    wait_for(lambda: follower.call("GET", PATH).json()["state"] == "waiting", "the end of the look")

    assert served(follower, tmp_path / "second.git") == expected(elsewhere)
    assert follower.call("GET", f"/{NAME}/resolve/other/new.bin").body == b"new large bytes" * 1000


def test_a_mirror_takes_no_pushes_until_it_ends(follower: Any, elsewhere: Elsewhere, tmp_path: Path) -> None:
    follower.call("POST", PATH, {"url": elsewhere.repository, "mirror": True})
    wait_for(lambda: follower.call("GET", PATH).json()["ended_at"] is not None, "the first look")
    git(elsewhere.work, "commit", "-q", "--allow-empty", "-m", "mine")
    refused = git(elsewhere.work, "push", follower.git_url(NAME), "trunk", check=False)
    branch = follower.call("POST", f"/api/models/{NAME}/branch/mine", {})

    assert refused.returncode == 1
    assert b"is a mirror and follows its source" in refused.stderr
    assert branch.status == 409
    assert follower.call("DELETE", PATH, token=follower.token2).status == 403
    assert follower.call("DELETE", PATH).status == 200
    assert follower.call("GET", PATH).status == 404
    git(elsewhere.work, "push", follower.git_url(NAME), "trunk")


def test_killed_in_the_middle_it_goes_on(start_follower: Callable[..., Any], elsewhere: Elsewhere, tmp_path: Path) -> None:
    elsewhere.hold_after = 3
    hub = start_follower()
    hub.call("POST", PATH, {"url": elsewhere.repository})
    assert elsewhere.held.wait(60)
    hub.process.kill()
    hub.process.wait(30)
    before = dict(elsewhere.asked)
    assert git(tmp_path, "ls-remote", str(elsewhere.bare)).stdout
    elsewhere.gate.set()
    again = start_follower()
    done = wait(again, "done", "failed")

    assert (done["state"], done["message"]) == ("done", "")
    assert served(again, tmp_path / "copy.git") == expected(elsewhere)
    twice = [what for what, number in elsewhere.asked.items() if what.startswith("lfs/") and number > 1]
    assert len(twice) == 1, "only the object that was on its way comes again"
    assert elsewhere.asked["fetch"] == before["fetch"] == 1
    assert not list((again.data / "incoming").glob("import-*")), "the kept pack went when it was part of the repository"


def test_missing_large_files_are_named_and_no_ref_moves(start_follower: Callable[..., Any], elsewhere: Elsewhere) -> None:
    gone = git(elsewhere.work, "lfs", "ls-files", "-l", "-I", "large2.bin").stdout.split()[0].decode()
    kept = elsewhere.lfs_path(gone).read_bytes()
    elsewhere.lfs_path(gone).unlink()
    hub = start_follower()
    hub.call("POST", PATH, {"url": elsewhere.repository})
    failed = wait(hub, "done", "failed")

    assert failed["state"] == "failed"
    assert gone in failed["message"]
    assert git(elsewhere.folder, "ls-remote", hub.git_url(NAME)).stdout == b""
    elsewhere.lfs_path(gone).write_bytes(kept)
    assert hub.call("POST", PATH, {"url": elsewhere.repository}).status == 202
    assert wait(hub, "done", "failed")["state"] == "done"
    assert elsewhere.asked[f"lfs/{gone}"] == 1


def test_a_source_without_lfs_is_said_to_have_none(start_follower: Callable[..., Any], elsewhere: Elsewhere) -> None:
    hub = start_follower()
    elsewhere.has_lfs = False
    hub.call("POST", PATH, {"url": elsewhere.repository})
    failed = wait(hub, "failed")["message"]

    assert "the source has no Git LFS there, or is private. Its history names 5 large files in LFS" in failed
    assert "Check the address" not in failed


def test_a_file_too_large_for_git_is_said_to_be(start_follower: Callable[..., Any], elsewhere: Elsewhere) -> None:
    hub = start_follower(object_bytes=1 << 20)
    elsewhere.commit("long.txt", b"0123456789" * 200_000)
    hub.call("POST", PATH, {"url": elsewhere.repository})
    failed = wait(hub, "failed")["message"]

    assert "2000000 bytes (1.9 MiB); this hub takes 1 MiB for what is not in Git LFS" in failed
    assert "git lfs migrate import --everything --above=1MiB" in failed
    assert "object_bytes in KOHAKU_HUB_LIMITS" in failed


def test_a_large_file_that_is_another_one_is_not_taken(start_follower: Callable[..., Any], elsewhere: Elsewhere) -> None:
    wrong = git(elsewhere.work, "lfs", "ls-files", "-l", "-I", "large2.bin").stdout.split()[0].decode()
    elsewhere.lfs_path(wrong).write_bytes(b"x" * 300_002)
    hub = start_follower()
    hub.call("POST", PATH, {"url": elsewhere.repository})
    failed = wait(hub, "done", "failed")

    assert failed["state"] == "failed"
    assert wrong in failed["message"]
    assert not [path for path in (hub.data / "pool").rglob(f"*{wrong}*") if path.is_file()]


def test_a_pack_over_the_limit_is_refused_clearly(start_follower: Callable[..., Any], elsewhere: Elsewhere) -> None:
    hub = start_follower(pack_bytes=1000)
    hub.call("POST", PATH, {"url": elsewhere.repository})
    failed = wait(hub, "failed")

    assert "more than 1000 bytes" in failed["message"]
    assert "pack_bytes" in failed["message"]


def test_old_odd_histories_come_as_they_are(start_follower: Callable[..., Any], elsewhere: Elsewhere, tmp_path: Path) -> None:
    """A zero-padded mode, a person without a blank before the date, and one without an address: git fsck names all three."""
    blob = git(elsewhere.bare, "hash-object", "-w", "--stdin", stdin=b"text\n").stdout.strip().decode()
    entry = b"100644 file\0" + bytes.fromhex(blob)
    write = ("hash-object", "-w", "--stdin", "--literally", "-t")
    inner = git(elsewhere.bare, *write, "tree", stdin=entry).stdout.strip()
    tree = git(elsewhere.bare, *write, "tree", stdin=b"040000 folder\0" + bytes.fromhex(inner.decode())).stdout.strip()
    odd = b"tree %s\nauthor A <a@example.org>1112911993 -0700\ncommitter nobody 1112911993 -0700\n\nold\n" % tree
    commit = git(elsewhere.bare, *write, "commit", stdin=odd).stdout.strip().decode()
    git(elsewhere.bare, "update-ref", "refs/heads/old", commit)
    hub = start_follower()
    hub.call("POST", PATH, {"url": elsewhere.repository})
    assert wait(hub, "done", "failed")["message"] == ""

    git(tmp_path, "clone", "-q", "--bare", hub.git_url(NAME), "copy.git")
    assert refs(tmp_path / "copy.git")["refs/heads/old"] == commit
    assert git(tmp_path / "copy.git", "show", "old:folder/file").stdout == b"text\n"
    assert hub.call("GET", f"/{NAME}/resolve/old/folder/file").body == b"text\n"
    assert hub.call("GET", f"/api/models/{NAME}/commits/old").status == 200
    assert hub.admin("check").returncode == 0
    pushed = git(tmp_path / "copy.git", "push", hub.git_url(hub.repo()), "old", check=False)
    assert pushed.returncode == 1, "a person without an address is for imports"
    assert b"missingEmail" in pushed.stderr


def test_the_operator_imports_in_the_foreground(
    start_follower: Callable[..., Any], launcher: Any, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    elsewhere.login = "reader:a-word-for-the-source"
    launcher.environment = {"KOHAKU_HUB_IMPORT_PRIVATE": "true"}
    refused = launcher.admin("import", elsewhere.repository, NAME, "--type", "dataset")
    done = launcher.admin(
        "import", elsewhere.repository, NAME, "--type", "dataset", "--private", "--username", "reader", stdin="a-word-for-the-source\n"
    )
    hub = start_follower()

    assert refused.returncode == 1
    assert "401" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert "Fetching large files" in done.stdout
    assert done.stdout.splitlines()[-1] == f"datasets/{NAME} is here."
    assert served(hub, tmp_path / "copy.git", f"datasets/{NAME}") == expected(elsewhere)


def test_the_operator_is_refused_before_anything_is_made(start_follower: Callable[..., Any], launcher: Any, elsewhere: Elsewhere) -> None:
    hub = start_follower()
    strict = launcher.admin("import", elsewhere.repository, NAME)
    launcher.environment = {"KOHAKU_HUB_IMPORT_PRIVATE": "true"}
    nowhere = launcher.admin("import", "http://nowhere.invalid/source.git", NAME)
    nameless = launcher.admin("import", elsewhere.repository, "brought")

    assert (strict.returncode, nowhere.returncode, nameless.returncode) == (1, 1, 1)
    assert "KOHAKU_HUB_IMPORT_PRIVATE" in strict.stderr
    assert "has no address" in nowhere.stderr
    assert "Give NAMESPACE/NAME" in nameless.stderr
    assert hub.call("GET", f"/api/models/{NAME}").status == 404


def test_the_operator_hears_that_the_hub_goes_on(start_follower: Callable[..., Any], launcher: Any) -> None:
    launcher.environment = {"KOHAKU_HUB_IMPORT_PRIVATE": "true"}
    start_follower()
    unused = socket.create_server(("127.0.0.1", 0))
    port = unused.getsockname()[1]
    unused.close()
    failed = launcher.admin("import", f"http://127.0.0.1:{port}/source.git", NAME)

    assert failed.returncode == 1
    assert "cannot be reached" in failed.stderr
    assert f"A running hub tries again by itself; GET {PATH} says how far it is, DELETE {PATH} ends it." in failed.stderr


def test_from_another_hub_with_its_large_files(start_follower: Callable[..., Any], hub: Any, elsewhere: Elsewhere, tmp_path: Path) -> None:
    name = hub.repo(private=True)
    git(elsewhere.work, "lfs", "push", "--all", hub.git_url(name))
    git(elsewhere.work, "push", "-q", hub.git_url(name), "trunk")
    here = start_follower()
    begun = here.call("POST", PATH, {"url": f"{hub.url}/{name}", "username": "alice", "password": hub.token})
    assert begun.status == 202
    done = wait(here, "done", "failed")

    assert (done["state"], done["message"]) == ("done", "")
    assert served(here, tmp_path / "copy.git") == {"refs/heads/trunk": refs(elsewhere.bare)["refs/heads/trunk"]}
    assert here.call("GET", f"/{NAME}/resolve/trunk/large4.bin").body == (elsewhere.work / "large4.bin").read_bytes()

"""LFS locks (G11): the API over HTTP, who may do what, and what locks keep from being pushed and committed."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lfs.locks.locks import LockQuery, PathLocked, check_none_since
from storage.errors import Forbidden, NotFound, TooLarge, Unavailable
from storage.records import Principal, Scope

MEDIA_TYPE = "application/vnd.git-lfs+json"
LFS = {"Content_Type": MEDIA_TYPE, "Accept": MEDIA_TYPE}


@pytest.fixture(scope="module")
def pair_hub(new_launcher: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Bob is an administrator here: he may write to Alice's repositories, which makes two writers of one repository."""
    launcher = new_launcher(tmp_path_factory.mktemp("locks") / "data")
    launcher.users()
    with closing(sqlite3.connect(launcher.data / "hub.sqlite3")) as database, database:
        database.execute("UPDATE users SET is_admin = 1 WHERE name = 'bob'")
    running = launcher.start()
    yield running
    assert running.stop() == 0


def call(hub: Any, name: str, method: str, below: str = "", body: Any = None, token: str | None = None) -> Any:
    return hub.call(method, f"/{name}.git/info/lfs/locks{below}", body, token=token, **LFS)


def test_g11_lock_list_verify_unlock(pair_hub: Any) -> None:
    name = pair_hub.repo()
    made = call(pair_hub, name, "POST", body={"path": "a/ä.bin", "ref": {"name": "refs/heads/main"}})
    lock = made.json()["lock"]
    again = call(pair_hub, name, "POST", body={"path": "a/ä.bin"}, token=pair_hub.token2)
    theirs = call(pair_hub, name, "POST", "/verify", {}, token=pair_hub.token2).json()
    refused = call(pair_hub, name, "POST", f"/{lock['id']}/unlock", {}, token=pair_hub.token2)

    assert made.status == 201
    assert made.headers["Content-Type"] == MEDIA_TYPE
    assert (lock["path"], lock["owner"]) == ("a/ä.bin", {"name": "alice"})
    assert again.status == 409
    assert again.json()["lock"] == lock
    assert call(pair_hub, name, "GET", "?path=a/%C3%A4.bin&refspec=refs/heads/other").json() == {"locks": [lock]}
    assert call(pair_hub, name, "GET", f"?id={lock['id']}").json() == {"locks": [lock]}
    assert call(pair_hub, name, "GET", "?id=1").json() == call(pair_hub, name, "GET", "?path=b").json() == {"locks": []}
    assert call(pair_hub, name, "POST", "/verify", {"ref": {"name": "refs/heads/main"}}).json() == {"ours": [lock], "theirs": []}
    assert theirs == {"ours": [], "theirs": [lock]}
    assert refused.status == 403
    assert "Ask alice to unlock it" in refused.json()["message"]
    assert call(pair_hub, name, "POST", f"/{lock['id']}/unlock", {"force": True}, token=pair_hub.token2).json() == {"lock": lock}
    assert call(pair_hub, name, "POST", f"/{lock['id']}/unlock", {}).status == 404
    assert call(pair_hub, name, "POST", "/nonsense/unlock", {}).status == 404


def test_g11_who_may_lock(hub: Any) -> None:
    """A reader lists; a stranger learns nothing."""
    public, private = hub.repo(), hub.repo(private=True)

    assert call(hub, public, "GET", token="").json() == {"locks": []}
    assert call(hub, public, "POST", body={"path": "a"}, token="").status == 401
    assert [call(hub, public, "POST", below, {"path": "a"}, hub.token2).status for below in ("", "/verify", "/1/unlock")] == [403] * 3
    assert call(hub, private, "GET", token=hub.token2).status == 404


@pytest.mark.parametrize("path", ["", "/a", "a//b", "../a", "a/.", "a\0b", "\ud800", "x" * 1025, 5, None])
def test_g11_paths_that_no_lock_has(hub: Any, path: Any) -> None:
    assert 400 <= call(hub, hub.repo(), "POST", body={"path": path}).status < 500


def test_g11_pages_and_limit(place: Any) -> None:
    locks, repo = place.services.locks, place.public
    made = [locks.create(repo, place.ann, b"%d.bin" % number) for number in range(5)]
    first = locks.page(repo.id, LockQuery(2))
    locks.release(repo, place.ann, made[4].id, force=False)
    second = locks.page(repo.id, LockQuery(2, before=first.next))
    last = locks.page(repo.id, LockQuery(2, before=second.next))
    locks._most = 4

    assert [*first.locks, *second.locks, *last.locks] == made[::-1]
    assert last.next == 0
    with pytest.raises(TooLarge):
        locks.create(repo, place.ann, b"one too many")


def test_g11_force_is_for_the_owner_and_administrators(place: Any) -> None:
    locks, repo = place.services.locks, place.public
    admin = Principal(place.bob.user_id, "bob", "", True, Scope.WRITE, False)
    held = locks.create(repo, place.ann, b"a.bin")
    with pytest.raises(Forbidden, match="ann and administrators"):
        locks.release(repo, place.bob, held.id, force=True)
    with pytest.raises(PathLocked, match=r"a\.bin is locked by ann"):
        locks.create(repo, place.bob, b"a.bin")

    assert locks.release(repo, admin, held.id, force=True) == held
    with pytest.raises(NotFound):
        locks.release(repo, place.ann, held.id, force=False)


def test_g11_a_lock_that_comes_during_a_push(place: Any) -> None:
    """The refs move in one transaction, which looks once more."""
    locks, repo, database = place.services.locks, place.public, place.services.database
    locks.create(repo, place.ann, b"a.bin")
    known = locks.of_others(repo.id, place.bob.user_id)
    database.write(lambda tx: check_none_since(tx, repo.id, place.bob.user_id, known))
    locks.create(repo, place.bob, b"mine.bin")
    database.write(lambda tx: check_none_since(tx, repo.id, place.bob.user_id, known))
    locks.create(repo, place.ann, b"b.bin")

    with pytest.raises(Unavailable):
        database.write(lambda tx: check_none_since(tx, repo.id, place.bob.user_id, known))


def test_g11_locks_bind_commits_of_the_hugging_face_api(pair_hub: Any) -> None:
    name = pair_hub.repo()
    assert commit(pair_hub, name, "first", a="1", b="1").status == 200
    call(pair_hub, name, "POST", body={"path": "a"})
    refused = commit(pair_hub, name, "theirs", token=pair_hub.token2, a="2")

    assert refused.status == 409
    assert "a is locked by alice" in refused.json()["error"]
    assert "git lfs unlock" in refused.headers["X-Error-Message"]
    assert commit(pair_hub, name, "beside it", token=pair_hub.token2, b="2").status == 200
    assert commit(pair_hub, name, "own", a="2").status == 200


def commit(hub: Any, name: str, summary: str, *, token: str | None = None, **files: str) -> Any:
    lines: list[Any] = [{"key": "header", "value": {"summary": summary}}]
    lines += [{"key": "file", "value": {"path": path, "content": text, "encoding": "utf-8"}} for path, text in files.items()]
    body = "\n".join(map(json.dumps, lines)).encode()
    return hub.call("POST", f"/api/models/{name}/commit/main", body, token=token, Content_Type="application/x-ndjson")


class Lfs:
    """git with git-lfs as one user."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        folder.mkdir()
        self("init", "-q", "-b", "main")
        self("remote", "add", "origin", url)
        self("lfs", "install", "--local")

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {**os.environ, "HOME": str(self.folder), "PATH": path, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *words]
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=120, check=False)

    def __call__(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def commit(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / name).write_text(text)
        self("add", "-A")
        self("commit", "-q", "-m", "work")


def test_g11_git_lfs_locks_over_http(pair_hub: Any, tmp_path: Path) -> None:
    name = pair_hub.repo()
    alice = Lfs(tmp_path / "alice", pair_hub.git_url(name))
    alice("lfs", "track", "--lockable", "*.bin")
    alice.commit(**{"a.bin": "1", "b.bin": "1"})
    alice("push", "-q", "origin", "main")
    alice("lfs", "lock", "a.bin")
    bob = Lfs(tmp_path / "bob", pair_hub.git_url(name, token=pair_hub.token2).replace("alice:", "bob:"))
    bob("pull", "-q", "origin", "main")
    bob("config", "lfs.setlockablereadonly", "false")
    bob.commit(**{"a.bin": "2"})
    asked = bob.run("-c", "lfs.locksverify=true", "push", "origin", "main")
    unasked = bob.run("-c", "lfs.locksverify=false", "push", "origin", "main")
    bob("reset", "-q", "--hard", "origin/main")
    bob.commit(**{"b.bin": "2"})

    assert "a.bin" in alice("lfs", "locks", "--verify")
    assert "a.bin" in bob("lfs", "locks")
    assert asked.returncode != 0
    assert "alice" in asked.stderr
    assert "remote rejected" in unasked.stderr
    assert "a.bin is locked by alice" in unasked.stderr
    assert bob.run("lfs", "unlock", "a.bin").returncode != 0
    bob("-c", "lfs.locksverify=true", "push", "-q", "origin", "main")
    bob("lfs", "unlock", "--force", "a.bin")
    assert alice("lfs", "locks") == ""

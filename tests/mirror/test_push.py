"""Another repository follows one of the hub's: a bare one of C git, and one of another hub with its large files."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gitserver import rawgit
from tests.gitserver.test_push import empty_pack
from tests.mirror.conftest import mirroring
from tests.mirror.source import Elsewhere, git, refs
from tests.mirror.test_import import NAME, served, wait_for
from tests.mirror.test_safety import WORD, files

PATH = f"/api/models/{NAME}/push-mirrors"


@pytest.fixture
def target(elsewhere: Elsewhere) -> Elsewhere:
    """An empty repository beside the source that takes pushes."""
    bare = elsewhere.bare.parent / "target.git"
    git(elsewhere.folder, "init", "-q", "--bare", "-b", "trunk", str(bare))
    git(bare, "config", "http.receivepack", "true")
    git(bare, "config", "receive.fsckObjects", "true")
    return elsewhere


def pushed(hub: Any, state: str = "done") -> dict[str, Any]:
    """The only push mirror, once its job is in that state."""
    wait_for(lambda: hub.call("GET", PATH).json()[0]["state"] == state, f"the push is {state}")
    shown: dict[str, Any] = hub.call("GET", PATH).json()[0]
    return shown


def plain_history(there: Elsewhere) -> None:
    """The source's work tree without large files, of which C git's server knows nothing."""
    git(there.work, "checkout", "-q", "side")
    git(there.work, "branch", "-D", "trunk")
    git(there.work, "branch", "-m", "side", "trunk")
    git(there.work, "tag", "-d", "v1")
    git(there.work, "tag", "-a", "v2", "-m", "second")


def test_a_target_follows_each_update(follower: Any, target: Elsewhere, tmp_path: Path) -> None:
    plain_history(target)
    follower.call("POST", "/api/repos/create", {"type": "model", "name": "brought"})
    git(target.work, "push", "-q", "--mirror", follower.git_url(NAME))
    target.login = f"writer:{WORD}"
    added = follower.call("POST", PATH, {"url": f"{target.url}/target.git", "username": "writer", "password": WORD})
    bare = target.bare.parent / "target.git"
    assert added.status == 201, added
    assert pushed(follower)["message"] == ""
    assert refs(bare) == refs(target.work)

    git(target.work, "checkout", "-q", "--orphan", "other")
    git(target.work, "commit", "-q", "--allow-empty", "-m", "other")
    git(target.work, "branch", "-f", "trunk", "trunk~2")
    git(target.work, "tag", "-d", "v2")
    git(target.work, "push", "-q", "--mirror", follower.git_url(NAME))
    wait_for(lambda: refs(bare) == refs(target.work), "the target follows")
    git(bare, "fsck", "--full", "--strict")

    assert follower.call("POST", PATH, {"url": f"{target.url}/target.git"}).status == 409
    assert follower.call("DELETE", f"{PATH}/{added.json()['id']}", token=follower.token2).status == 403
    assert follower.call("DELETE", f"{PATH}/{added.json()['id']}").status == 200
    assert follower.call("GET", PATH).json() == []


def test_another_hub_follows_with_large_files(start_follower: Callable[..., Any], hub: Any, elsewhere: Elsewhere, tmp_path: Path) -> None:
    here = start_follower()
    assert here.call("POST", f"/api/models/{NAME}/import", {"url": elsewhere.repository}).status == 202
    wait_for(lambda: here.call("GET", f"/api/models/{NAME}/import").json()["state"] == "done", "the import")
    name = hub.repo(private=True)
    here.call("POST", PATH, {"url": f"{hub.url}/{name}", "username": "alice", "password": hub.token})
    first = pushed(here)

    assert first["message"] == ""
    assert served(hub, tmp_path / "there.git", name) == served(here, tmp_path / "here.git")
    assert hub.call("GET", f"/{name}/resolve/trunk/large4.bin").body == (elsewhere.work / "large4.bin").read_bytes()
    (elsewhere.work / "large9.bin").write_bytes(b"nine" * 100_000)
    git(elsewhere.work, "add", "-A")
    git(elsewhere.work, "commit", "-q", "-m", "one more")
    git(elsewhere.work, "lfs", "push", here.git_url(NAME), "trunk")
    git(elsewhere.work, "push", "-q", here.git_url(NAME), "trunk")
    wait_for(lambda: hub.call("GET", f"/{name}/resolve/trunk/large9.bin").body == b"nine" * 100_000, "the new file follows")


def test_more_refs_than_the_target_takes_at_once(
    start_follower: Callable[..., Any], new_launcher: Any, target: Elsewhere, tmp_path: Path
) -> None:
    """Also when a ref that has to go first stands in the way of the first one that comes."""
    here = start_follower()
    here.call("POST", "/api/repos/create", {"type": "model", "name": "brought"})
    plain_history(target)
    oids = git(target.work, "rev-list", "trunk").stdout.decode().split()
    pack = git(target.work, "pack-objects", "--revs", "--stdout", "-q", stdin=b"trunk\n").stdout
    lines = [f"{'0' * 40} {oids[n % len(oids)]} refs/heads/team/b{n}" for n in range(2500)]
    move(here, [f"{'0' * 40} {oids[0]} refs/heads/main", *lines, f"{'0' * 40} {oids[0]} refs/tags/z"], pack)
    launcher = new_launcher(tmp_path / "target", mirroring(ref_commands=1000))
    launcher.users()
    there = launcher.start()
    there.call("POST", "/api/repos/create", {"type": "model", "name": "brought"})
    here.call("POST", PATH, {"url": f"{there.url}/{NAME}", "username": "alice", "password": there.token})
    first = pushed(here)["message"], shown(there) == shown(here), len(shown(there))
    later = [f"{'0' * 40} {oids[1]} refs/tags/z/{n}" for n in range(1200)]
    move(here, [*map(gone, lines), gone(f"{'0' * 40} {oids[0]} refs/tags/z"), *later])
    wait_for(lambda: shown(there) == shown(here), "the target follows")
    last = pushed(here)["message"]
    launcher.close()

    assert first == ("", True, 2502)
    assert last == ""


def move(hub: Any, lines: list[str], pack: bytes = b"") -> None:
    head = b"".join(rawgit.pkt(line.encode() + (b"" if number else b"\0report-status")) for number, line in enumerate(lines))
    report = rawgit.post(hub, NAME, head + rawgit.FLUSH + (pack or empty_pack()), service="git-receive-pack", version=0).body
    assert report.count(b"ok refs/") == len(lines), report[:300]


def gone(line: str) -> str:
    """The command that takes back what `line` made."""
    old, new, name = line.split()
    return f"{new} {old} {name}"


def shown(hub: Any) -> list[bytes]:
    listed: bytes = hub.call("GET", f"/{NAME}.git/info/refs?service=git-receive-pack").body
    return re.findall(rb"[0-9a-f]{40} refs/[^\0\n]+", listed)


def test_a_target_that_refuses_is_shown(start_follower: Callable[..., Any], target: Elsewhere) -> None:
    plain_history(target)
    hook = target.bare.parent / "target.git" / "hooks" / "update"
    hook.write_text('#!/bin/sh\ntest "$1" != refs/tags/v2\n')
    hook.chmod(0o755)
    hub = start_follower()
    hub.call("POST", "/api/repos/create", {"type": "model", "name": "brought"})
    git(target.work, "push", "-q", "--mirror", hub.git_url(NAME))
    hub.call("POST", PATH, {"url": f"{target.url.replace('://', f'://writer:{WORD}@')}/target.git"})
    failed = pushed(hub, "failed")

    assert "refs/tags/v2" in failed["message"]
    assert "hook declined" in failed["message"]
    assert list(refs(target.bare.parent / "target.git")) == ["refs/heads/trunk"]
    hook.unlink()
    subprocess.run(["git", "-C", str(target.work), "tag", "v3"], check=True)
    git(target.work, "push", "-q", hub.git_url(NAME), "v3")
    pushed(hub)
    assert refs(target.bare.parent / "target.git") == refs(target.work)
    everything = [hub.call("GET", PATH).body, hub.log.read_bytes(), *files(hub.data)]
    assert not [text for text in everything if WORD.encode() in text]


def test_a_target_without_lfs_is_said_to_have_none(start_follower: Callable[..., Any], hub: Any, target: Elsewhere) -> None:
    here = start_follower()
    here.call("POST", f"/api/models/{NAME}/import", {"url": target.repository})
    wait_for(lambda: here.call("GET", f"/api/models/{NAME}/import").json()["state"] == "done", "the import")
    target.has_lfs = False
    here.call("POST", PATH, {"url": f"{target.url}/target.git"})
    failed = pushed(here, "failed")["message"]

    assert "the target has no Git LFS there, or is private. 5 large files of this repository" in failed
    assert "password" in failed
    assert refs(target.bare.parent / "target.git") == {}


def test_private_targets_are_refused(hub: Any) -> None:
    name = hub.repo()
    refused = hub.call("POST", f"/api/models/{name}/push-mirrors", {"url": "http://127.0.0.1/x.git"})
    stranger = hub.call("POST", f"/api/models/{name}/push-mirrors", {"url": "https://host.invalid/x.git"}, token=hub.token2)

    assert refused.status == 403
    assert "KOHAKU_HUB_IMPORT_PRIVATE" in refused.json()["error"]
    assert stranger.status == 403

"""The database is lost: LakeFS, packs and pool give the rows again, and every id is what it was."""

import hashlib
import os
from pathlib import Path
from typing import Any

from tests.lakefs.lake import Lake, Work
from tests.lakefs.test_bridge import hf_commit, resolve


def test_all_refs_and_files_come_back(new_cluster: Any, postgres: Any, new_lakefs: Any, tmp_path: Path) -> None:
    lakefs = new_lakefs  # the hub sets it up
    keys = {"LAKEFS_ACCESS_KEY": lakefs.access_key, "LAKEFS_SECRET_KEY": lakefs.secret_key, "LAKEFS_ENDPOINT": lakefs.url}
    launcher = new_cluster(**{f"KOHAKU_HUB_{key}": value for key, value in keys.items()})
    launcher.users()
    hub = launcher.start()
    name, private, moved = hub.repo(), hub.repo(private=True), hub.repo()
    work = fill(hub, lakefs, name, tmp_path / "w")
    away, at = push_away(work, Lake(lakefs, hub, name))
    large = work.files()["big.bin"]
    assert hf_commit(hub, private, {"a": "secret"}).status == 200
    assert hub.call("POST", "/api/repos/move", {"fromRepo": moved, "toRepo": moved + "-2", "type": "model"}).status == 200
    before = work.remote()
    assert hub.stop() == 0  # and with it what it does in the background

    other = new_cluster(beside=launcher, KOHAKU_HUB_DATABASE_URL=postgres.create())
    done = other.admin("rebuild")
    assert done.returncode == 0, done.stderr
    assert sorted(line.partition(":")[0] for line in done.stdout.splitlines()) == sorted([name, private, moved + "-2"])
    assert "failed" not in done.stdout
    assert other.admin("rebuild").stdout.count(": is here\n") == 3
    assert other.admin("set-password", "alice", "--password-stdin", stdin="another good one\n").returncode == 0
    other.tokens["alice"] = other.admin("create-token", "alice", "--name", "new", "--scope", "write").stdout.strip()
    hub = other.start()
    try:
        work("remote", "set-url", "origin", hub.git_url(name))
        assert work.remote() == before
        clone = Work(tmp_path / "clone", hub.git_url(name))
        clone("fetch", "-q", "origin", "+refs/*:refs/copy/*")
        clone("fsck", "--strict")
        assert (resolve(hub, name, "big.bin"), resolve(hub, private, "a")) == (large_bytes(large), b"secret")
        assert hub.call("GET", f"/api/models/{private}", token="").status == 401
        assert other.admin("repack", name, "--prune-now").returncode == 0
        Lake(lakefs, hub, name).branch("again", at)
        assert work.remote()["refs/heads/again"] == away
        work.write({"after": b"1"})
        work.push()
        assert other.admin("check").stdout == ""
    finally:
        assert hub.stop() == 0


def push_away(work: Work, lake: Lake) -> tuple[str, str]:
    """A commit that only LakeFS's history names afterwards: in git, and in LakeFS."""
    away = work("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "away")
    work("push", "-q", "origin", f"{away}:refs/heads/side")
    at = lake.branches()["side"]
    other = work("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "other")
    work("push", "-q", "-f", "origin", f"{other}:refs/heads/side")
    return away, at


LARGE = os.urandom(50_000)


def large_bytes(pointer: bytes) -> bytes:
    assert hashlib.sha256(LARGE).hexdigest().encode() in pointer
    return LARGE


def fill(hub: Any, lakefs: Any, name: str, folder: Path) -> Work:
    """Branches of every making, tags of both kinds on commits that LakeFS has and has not, notes, a large file."""
    work = Work(folder, hub.git_url(name))
    work.write({"a": b"1"})
    work("tag", "-a", "-m", "inner", "inner")
    work.write({"a": b"2", "d/x": b"x"})
    work("tag", "light")
    work("notes", "add", "-m", "a note")
    work.push("main", "main~1:refs/heads/old/er")
    work("push", "-q", "origin", "--tags", "refs/notes/commits", "main:refs/convert/parquet", "main:refs/meta/x")
    lake = Lake(lakefs, hub, name)
    lake.change("main", {"direct": b"d", ".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n", "big.bin": LARGE})
    plain = ("-c", "filter.lfs.smudge=cat", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false")
    work(*plain, "pull", "-q", "--ff-only", "origin", "main")
    work("push", "-q", "-f", "origin", "main~1:old/er")
    assert hf_commit(hub, name, {"by-hf": "1"}).status == 200
    work(*plain, "pull", "-q", "--ff-only", "origin", "main")
    lake.branch("made-there")
    lake.put("made-there", "z", b"z")
    lake.commit("made-there", "there")
    lake.call("POST", "/tags", {"id": "tagged-there", "ref": "made-there"})
    work("fetch", "-q", "origin")
    return work

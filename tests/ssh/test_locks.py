"""LFS locks over SSH (G11): by git-lfs-authenticate, which leads to HTTP, and by git-lfs-transfer alone."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gitserver.protocol.pktline import FLUSH, pkt


@pytest.fixture(scope="module")
def pair(new_ssh_hub: Any, new_launcher: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Bob is an administrator here: that makes two writers of one repository."""
    launcher = new_launcher(tmp_path_factory.mktemp("sshlocks") / "data")
    launcher.users()
    with closing(sqlite3.connect(launcher.data / "hub.sqlite3")) as database, database:
        database.execute("UPDATE users SET is_admin = 1 WHERE name = 'bob'")
    return new_ssh_hub(launcher=launcher)


@pytest.mark.parametrize("way", ["always", "never"])
def test_g11_git_lfs_locks_over_ssh(pair: Any, tmp_path: Path, way: str) -> None:
    name = pair.hub.repo()
    alice, bob = pair.git(tmp_path / "alice"), pair.git(tmp_path / "bob", user="bob")
    for git in (alice, bob):
        git.settings.append(f"lfs.sshtransfer={way}")
    alice.start()
    alice("lfs", "install", "--local")
    alice("lfs", "track", "*.bin")
    (alice.path / "a.bin").write_bytes(os.urandom(2000))
    alice.commit("large")
    alice("remote", "add", "origin", pair.url(name))
    alice("push", "-q", "origin", "main")
    alice("lfs", "lock", "a.bin")
    bob("clone", "-q", pair.url(name), "clone")
    there = bob.at("clone")
    there("lfs", "install", "--local")
    (there.path / "a.bin").write_bytes(os.urandom(2000))
    there.commit("change")

    assert "a.bin" in there("lfs", "locks")
    assert "a.bin is locked by alice" in there.run("push", "origin", "main").stderr
    there.settings.append("lfs.locksverify=true")
    assert "alice" in there.run("push", "origin", "main").stderr
    alice("lfs", "unlock", "a.bin")
    assert there("lfs", "locks") == ""


def test_g11_lock_commands_word_for_word(pair: Any) -> None:
    name = pair.hub.repo()
    lock = pkt(b"lock\n") + pkt(b"path=a b.bin\n") + pkt(b"refname=refs/heads/main\n") + FLUSH
    made = say(pair, name, lock)
    known = made.split(b"id=")[1].split(b"\n")[0]
    at = made.split(b"locked-at=")[1].split(b"\n")[0]
    facts = b"".join(map(pkt, (b"id=%s\n" % known, b"path=a b.bin\n", b"locked-at=%s\n" % at, b"ownername=alice\n")))
    listed = say(pair, name, pkt(b"list-lock\n") + FLUSH, user="bob")
    taken = say(pair, name, lock, user="bob")
    kept = say(pair, name, pkt(b"unlock %s\n" % known) + FLUSH, user="bob")
    gone = say(pair, name, pkt(b"unlock %s\n" % known) + pkt(b"force=true\n") + FLUSH, user="bob")

    assert made == pkt(b"status 201\n") + facts + FLUSH
    lines = (b"lock %s\n", b"path %s a b.bin\n", b"locked-at %s " + at + b"\n", b"ownername %s alice\n", b"owner %s theirs\n")
    assert listed == pkt(b"status 200\n") + b"0001" + b"".join(pkt(line % known) for line in lines) + FLUSH
    assert taken.startswith(pkt(b"status 409\n") + facts + b"0001")
    assert kept.startswith(pkt(b"status 403\n"))
    assert gone == pkt(b"status 200\n") + facts + FLUSH


def say(pair: Any, name: str, said: bytes, user: str = "alice") -> bytes:
    """One command in a session of its own; its answer."""
    out: bytes = pair.ssh(
        f"git-lfs-transfer {name} lock", user=user, data=pkt(b"version 1\n") + FLUSH + said + pkt(b"quit\n") + FLUSH
    ).stdout
    hello, ok = pkt(b"version=1\n") + pkt(b"locking\n") + FLUSH, pkt(b"status 200\n") + FLUSH
    assert out.startswith(hello + ok), out[:200]
    assert out.endswith(ok)
    return out.removeprefix(hello + ok).removesuffix(ok)

"""Pushes by real git and by raw requests: ref rules, reports, progress."""

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from gitserver.receive.commands import PushRequest
from gitserver.update.reception import Push, Reception
from storage.limits import Limits
from storage.records import ANONYMOUS, ZERO_OID, RefUpdate, Repo

ZERO = "0" * 40


class Pushing:
    """A work tree that pushes to one repository of the hub."""

    def __init__(self, hub: Any, folder: Path) -> None:
        self.hub = hub
        self.folder = folder
        self.name = hub.repo()
        self.url = hub.git_url(self.name)
        folder.mkdir()
        self("init", "-q", "-b", "main")

    def run(self, *arguments: str, data: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        environment = {**os.environ, "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=self.folder, input=data, capture_output=True, check=False, timeout=60, env=environment)

    def __call__(self, *arguments: str, data: bytes | None = None) -> str:
        done = self.run(*arguments, data=data)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def refused(self, *arguments: str) -> str:
        done = self.run("push", self.url, *arguments)
        assert done.returncode != 0
        return done.stderr.decode()

    def commit(self, name: str = "f", text: str = "x") -> str:
        (self.folder / name).write_text(text)
        self("add", "-A")
        self("commit", "-q", "--allow-empty", "-m", "c")
        return self("rev-parse", "HEAD")

    def refs(self) -> dict[str, str]:
        lines = self("ls-remote", self.url).splitlines()
        return {ref: oid for oid, ref in (line.split("\t") for line in lines)}

    def pack(self, *revisions: str) -> bytes:
        return self.run("pack-objects", "--revs", "--stdout", "-q", data="\n".join(revisions).encode() + b"\n").stdout

    def post(self, body: bytes, *, token: str | None = None) -> Any:
        path = f"/{self.name}.git/git-receive-pack"
        return self.hub.call("POST", path, body, token=token, Content_Type="application/x-git-receive-pack-request")


def pkt(text: str) -> bytes:
    return b"%04x" % (len(text.encode()) + 4) + text.encode()


@pytest.fixture
def pushing(hub: Any, tmp_path: Path) -> Pushing:
    return Pushing(hub, tmp_path / "work")


def test_ref_rules(pushing: Pushing) -> None:
    oid = pushing.commit()
    pushing("push", "-q", pushing.url, "main", "main:refs/notes/n", "main:refs/tags/t")
    blob = pushing("hash-object", "-w", "f")

    assert "deny updating a hidden ref" in pushing.refused("main:refs/pull/1/head")
    assert "prohibited" in pushing.refused(":main")
    assert "can only point to a commit" in pushing.refused(f"{blob}:refs/heads/blob")
    assert "conflicts" in pushing.refused("main:refs/heads/main/x")
    assert pushing.refs() == {"HEAD": oid, "refs/heads/main": oid, "refs/notes/n": oid, "refs/tags/t": oid}


def test_g3_other_namespaces_are_stored_and_served_to_git(pushing: Pushing) -> None:
    oid = pushing.commit()
    names = ["refs/changes/01/1/1", "refs/convert/parquet", "refs/meta/config", f"refs/replace/{oid}", "refs/stash"]
    pushing("push", "-q", pushing.url, "main", *(f"main:{name}" for name in names))
    pushing("clone", "-q", "--mirror", pushing.url, "mirror")
    api = f"/api/models/{pushing.name}"
    listed = pushing.hub.call("GET", f"{api}/refs?include_prs=1").json()
    shown = {name: pushing.hub.call("GET", f"{api}/revision/{name.replace('/', '%2F')}").status for name in names}

    assert pushing.refs() == dict.fromkeys(["HEAD", "refs/heads/main", *names], oid)
    assert pushing("-C", "mirror", "rev-parse", names[0]) == oid
    assert {kind: [ref["ref"] for ref in refs] for kind, refs in listed.items()} == {
        "branches": ["refs/heads/main"],
        "converts": ["refs/convert/parquet"],
        "tags": [],
        "pullRequests": [],
    }
    assert shown == dict.fromkeys(names, 404) | {"refs/convert/parquet": 200}
    assert pushing.hub.call("GET", f"{api}/revision/changes%2F01%2F1%2F1").status == 404
    pushing("push", "-q", pushing.url, ":refs/changes/01/1/1")


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("refs/pull/1/head", "deny updating a hidden ref"),
        ("refs/for/main", "reserved"),
        ("refs/pr/1", "pull requests"),
        ("refs/hub/lost/x", "written by the hub"),
        ("refs/heads", "funny refname"),
    ],
)
def test_g3_namespaces_of_the_hub(pushing: Pushing, ref: str, reason: str) -> None:
    oid = pushing.commit()
    head = pkt(f"{ZERO} {oid} {ref}\0report-status\n")

    assert reason in pushing.post(head + b"0000" + pushing.pack("main")).body.decode()


def test_g4_a_push_of_12000_tags(pushing: Pushing) -> None:
    """As git sends it; git itself takes long to hold 12,000 names against each other."""
    oid = pushing.commit()
    pushing("push", "-q", pushing.url, "main")
    lines = [pkt(f"{ZERO} {oid} refs/tags/v{n}" + ("\0report-status" if n == 0 else "")) for n in range(12_000)]
    answer = pushing.post(b"".join(lines) + b"0000" + empty_pack())

    assert answer.body.count(b"ok refs/tags/v") == 12_000
    assert len(pushing.refs()) == 12_002


def test_another_default_branch(pushing: Pushing) -> None:
    pushing.commit()
    pushing("push", "-q", pushing.url, "main", "main:refs/heads/the/next")
    settings = f"/api/models/{pushing.name}/settings"
    refused = pushing.refused(":main")
    chosen = pushing.hub.call("PUT", settings, {"defaultBranch": "the/next"})

    assert "deletion of the current branch prohibited" in refused
    assert f'remote: refs/heads/main is the default branch. Choose another default branch first: PUT {settings} with {{"defaultB' in refused
    assert chosen.json() == {"private": False, "gated": False, "defaultBranch": "the/next"}
    assert "ref: refs/heads/the/next\tHEAD" in pushing("ls-remote", "--symref", pushing.url)
    pushing("clone", "-q", pushing.url, "clone")
    assert pushing("-C", "clone", "symbolic-ref", "HEAD") == "refs/heads/the/next"
    pushing("push", "-q", pushing.url, ":main")
    assert sorted(pushing.refs()) == ["HEAD", "refs/heads/the/next"]


def test_names_that_git_does_not_allow(pushing: Pushing) -> None:
    oid = pushing.commit()
    pushing("push", "-q", pushing.url, "main")
    for name in ("refs/heads/a..b", "refs/heads/a.lock", "refs/heads/.a", "refs/heads/a//b", "refs/heads/" + "x" * 300, "refs/heads/a~b"):
        answer = pushing.post(pkt(f"{ZERO} {oid} {name}\0report-status\n") + b"0000" + empty_pack())
        too_long = ": longer than 250 bytes, choose a shorter one" if len(name) > 250 else ""
        assert pkt(f"ng {name} funny refname{too_long}\n") in answer.body
    assert set(pushing.refs()) == {"HEAD", "refs/heads/main"}


def empty_pack() -> bytes:
    body = b"PACK\0\0\0\2\0\0\0\0"
    return body + hashlib.sha1(body).digest()


def test_a_branch_onto_a_commit_that_is_here(pushing: Pushing) -> None:
    oid = pushing.commit()
    pushing("push", "-q", pushing.url, "main")
    answer = pushing.post(pkt(f"{ZERO} {oid} refs/heads/b\0report-status\n") + b"0000" + empty_pack())

    assert answer.body == pkt("unpack ok\n") + pkt("ok refs/heads/b\n") + b"0000"
    assert pushing.refs()["refs/heads/b"] == oid


def test_a_ref_to_nothing_and_a_push_without_its_pack(pushing: Pushing) -> None:
    pushing.commit()
    nothing = "12" * 20
    answer = pushing.post(pkt(f"{ZERO} {nothing} refs/heads/b\0report-status\n") + b"0000" + empty_pack())
    cut = pushing.post(pkt(f"{ZERO} {nothing} refs/heads/b\0report-status side-band-64k\n") + b"0000")

    assert b"ng refs/heads/b missing necessary objects" in answer.body
    assert b"unpack eof before pack header was fully read\n" in cut.body
    assert b"No pack came after the list of refs: the connection was cut, or the client sent none. Push again.\n" in cut.body
    assert pushing.refs() == {}


def test_probe_and_malformed_requests(pushing: Pushing) -> None:
    probe = pushing.post(b"0000")

    assert (probe.status, probe.body) == (200, b"")
    assert pushing.post(pkt("rubbish\n") + b"0000").status == 400
    assert pushing.post(b"zzzz").status == 400
    assert pushing.post(b"0000", token="").status == 401
    assert pushing.post(b"0000", token=pushing.hub.token2).status == 403


def test_atomic(pushing: Pushing) -> None:
    pushing.commit()
    pushing("push", "-q", pushing.url, "main")
    pushing.commit(text="y")
    text = pushing.refused("--atomic", "main", "main:refs/pull/1/head")

    assert "atomic push failed" in text
    assert len(set(pushing.refs().values())) == 1


def test_force_with_lease_loses_against_a_newer_push(pushing: Pushing) -> None:
    first = pushing.commit()
    pushing("push", "-q", pushing.url, "main")
    second = pushing.commit(text="y")
    pushing("push", "-q", pushing.url, "main")
    answer = pushing.post(pkt(f"{first} {first} refs/heads/main\0report-status\n") + b"0000" + empty_pack())

    assert b"stale info" in answer.body
    assert pushing.refs()["refs/heads/main"] == second


def test_annotated_tags_of_tags_are_peeled(pushing: Pushing) -> None:
    oid = pushing.commit()
    pushing("tag", "-a", "t1", "-m", "one")
    pushing("tag", "-a", "t2", "-m", "two", "t1")
    pushing("push", "-q", pushing.url, "main", "t2")

    assert pushing.refs()["refs/tags/t2^{}"] == oid


def test_a_chain_of_tags_has_an_end(pushing: Pushing) -> None:
    """All at once, and when a part of it is here already: what is taken can also be fetched."""
    inner = pushing.commit()
    pushing("push", "-q", pushing.url, "main")
    for number in range(65):
        kind = "tag" if number else "commit"
        text = f"object {inner}\ntype {kind}\ntag t{number}\ntagger A <a@example.org> 1700000000 +0000\n\nx\n"
        inner = pushing("mktag", data=text.encode())
        pushing("update-ref", f"refs/tags/t{number}", inner)
    told = "the tag leads through more than 64 tags: tag what they lead to instead"

    assert told in pushing.refused("t64")
    pushing("push", "-q", pushing.url, "t40")
    assert told in pushing.refused("t64")
    pushing("push", "-q", pushing.url, "t63")
    pushing("clone", "-q", pushing.url, "clone")
    assert pushing("-C", "clone", "tag").split() == ["t40", "t63"]


def test_missing_large_objects_are_named_and_nothing_moves(pushing: Pushing) -> None:
    oid = hashlib.sha256(b"absent").hexdigest()
    pushing.commit("big.bin", f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 6\n")
    text = pushing.refused("main")

    assert oid in text
    assert "missing LFS objects" in text
    assert pushing.refs() == {}


def test_progress_and_quiet(pushing: Pushing) -> None:
    pushing.commit()
    loud = pushing.run("push", "--progress", pushing.url, "main").stderr.decode()
    pushing.commit(text="z")
    quiet = pushing.run("push", "-q", pushing.url, "main").stderr.decode()

    assert "remote: Checking objects: 3/3, done." in loud
    assert quiet == ""


def test_refused_pushes_leave_nothing_on_disk(pushing: Pushing) -> None:
    oid = hashlib.sha256(b"absent").hexdigest()
    pushing.commit("big.bin", f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize 6\n")
    pushing.refused("main")
    found = pushing.hub.call("GET", f"/api/models/{pushing.name}").json()["_id"]

    assert not (pushing.hub.data / "git" / found).exists()


def test_a_shallow_clone_is_told_to_be_made_whole(pushing: Pushing, tmp_path: Path) -> None:
    pushing.commit()
    pushing.commit("g")
    pushing("clone", "-q", "--depth", "1", f"file://{pushing.folder}", str(tmp_path / "shallow"))
    pushing.folder = tmp_path / "shallow"

    assert "made whole first: git fetch --unshallow" in pushing.refused("main")


def test_more_refs_than_the_limit_are_refused_one_by_one(services: Any) -> None:
    updates = tuple(RefUpdate(b"refs/heads/b%d" % n, ZERO_OID, b"1" * 20) for n in range(3))
    told: list[str] = []
    repo = cast(Repo, None)
    reception = Reception(services.pusher, services.packs.space, Limits(ref_commands=2))
    result = reception.take(repo, ANONYMOUS, Push(PushRequest(updates), 0, None), told.append)

    assert [ref.reason for ref in result.refs] == ["too many refs in one push"] * 3
    assert "2 are taken at once" in told[0]

"""Refs that move between what a client is told and what it asks for: over HTTP those are two requests."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.gitserver.test_push import Pushing, pkt

ELEVEN_MINUTES = 11 * 60 * 1_000_000


@pytest.fixture
def pushing(hub: Any, tmp_path: Path) -> Pushing:
    made = Pushing(hub, tmp_path / "work")
    made.commit()
    made("push", "-q", made.url, "main")
    return made


def v0(pushing: Pushing, oid: str) -> bytes:
    body = pkt(f"want {oid} ofs-delta\n") + b"0000" + pkt("done\n")
    path = f"/{pushing.name}.git/git-upload-pack"
    return bytes(pushing.hub.call("POST", path, body, Content_Type="application/x-git-upload-pack-request").body)


def v2(pushing: Pushing, argument: str) -> bytes:
    body = pkt("command=fetch\n") + b"0001" + pkt(argument + "\n") + pkt("done\n") + b"0000"
    headers = {"Content_Type": "application/x-git-upload-pack-request", "Git_Protocol": "version=2"}
    return bytes(pushing.hub.call("POST", f"/{pushing.name}.git/git-upload-pack", body, **headers).body)


def is_served(pushing: Pushing, oid: str) -> bool:
    answers = v0(pushing, oid), v2(pushing, f"want {oid}")
    refusals = [b"not our ref " + oid.encode() in answer for answer in answers]
    assert len(set(refusals)) == 1
    assert all(refused != (b"PACK" in answer) for refused, answer in zip(refusals, answers, strict=True))
    return not refusals[0]


def age(hub: Any) -> None:
    with closing(sqlite3.connect(hub.data / "hub.sqlite3")) as database, database:
        database.execute("UPDATE ref_log SET at = at - ?", (ELEVEN_MINUTES,))


def test_a_branch_that_was_forced_away(hub: Any, pushing: Pushing) -> None:
    below = pushing.commit("below")
    tip = pushing.commit("tip")
    pushing("push", "-q", pushing.url, "main")
    pushing("reset", "-q", "--hard", "HEAD~2")
    pushing("push", "-q", "--force", pushing.url, "main")

    assert is_served(pushing, tip)
    assert is_served(pushing, below)
    age(hub)
    assert not is_served(pushing, tip)
    assert not is_served(pushing, below)


def test_a_branch_and_a_tag_that_were_deleted(hub: Any, pushing: Pushing) -> None:
    tip = pushing.commit("tip")
    pushing("tag", "-a", "-m", "one", "v1")
    tag = pushing("rev-parse", "v1")
    pushing("push", "-q", pushing.url, "main:tmp", "v1")
    pushing("push", "-q", pushing.url, ":tmp", ":v1")

    assert is_served(pushing, tip)
    assert is_served(pushing, tag)
    for name, oid in (("refs/heads/tmp", tip), ("refs/tags/v1", tag)):
        answer = v2(pushing, f"want-ref {name}")
        assert f"{oid} {name}\n".encode() in answer
        assert b"PACK" in answer
    assert b"unknown ref refs/heads/none" in v2(pushing, "want-ref refs/heads/none")
    age(hub)
    assert not is_served(pushing, tip)
    assert not is_served(pushing, tag)
    assert b"unknown ref refs/heads/tmp" in v2(pushing, "want-ref refs/heads/tmp")


def test_what_was_pruned_is_gone_at_once(hub: Any, pushing: Pushing) -> None:
    tip = pushing.commit("tip")
    pushing("push", "-q", pushing.url, "main:tmp")
    pushing("push", "-q", pushing.url, ":tmp")
    assert hub.admin("repack", pushing.name, "--prune-now").returncode == 0

    assert not is_served(pushing, tip)
    assert b"unknown ref refs/heads/tmp" in v2(pushing, "want-ref refs/heads/tmp")

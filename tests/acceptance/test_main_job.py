"""The main job: a repository written by git and git-lfs is read by git, git-lfs and the Hugging Face client, byte for byte."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

LONG = pytest.mark.long
ON_POSTGRES = pytest.param("postgres_hub", marks=LONG)


@pytest.fixture(scope="module", params=["embedded_hub", "cluster_hub", ON_POSTGRES])
def hub(request: pytest.FixtureRequest) -> Any:
    """Everything here holds for the embedded default, and for two processes on PostgreSQL."""
    return request.getfixturevalue(request.param)


def write_model(folder: Path, seed: int, *, megabytes: int) -> None:
    """80 small files in folders, and one large one."""
    dice = random.Random(seed)
    for number in range(80):
        file = folder / "data" / f"part-{number % 10}" / f"file {number} é.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(dice.randbytes(dice.randrange(1, 3000)))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "seed": seed}))
    (folder / "weights.safetensors").write_bytes(dice.randbytes(megabytes << 20))


@pytest.mark.parametrize("private", [True, pytest.param(False, marks=LONG)], ids=["private", "public"])
def test_push_with_git_then_clone_pull_and_download(hub: Any, machine: Any, another_machine: Any, files_below: Any, private: bool) -> None:
    name = hub.repo(private=private)
    work = machine.home / "work"
    machine.run("git", "clone", "-q", hub.git_url(name), str(work))
    machine.git(work, "lfs", "track", "*.safetensors")
    revisions = []
    for seed in (1, 2):
        write_model(work, seed, megabytes=8)
        machine.git(work, "add", "-A")
        machine.git(work, "commit", "-q", "-m", f"Version {seed}")
        machine.git(work, "push", "-q", "origin", "HEAD")
        revisions.append((machine.git(work, "rev-parse", "HEAD"), files_below(work)))
    machine.git(work, "tag", "-a", "v2", "-m", "Second")
    machine.git(work, "push", "-q", "origin", "v2")

    clone = another_machine.home / "clone"
    another_machine.environment["GIT_LFS_SKIP_SMUDGE"] = "1"
    another_machine.run("git", "clone", "-q", hub.git_url(name), str(clone))
    assert (clone / "weights.safetensors").stat().st_size < 200
    another_machine.git(clone, "lfs", "pull")
    assert files_below(clone) == revisions[1][1]
    assert another_machine.git(clone, "log", "--format=%H") == "\n".join(oid for oid, _ in reversed(revisions))
    another_machine.git(clone, "fsck", "--strict")
    another_machine.git(clone, "lfs", "fsck")

    for oid, wanted in revisions:
        target = another_machine.home / oid
        another_machine.hf("download", name, "--revision", oid, "--local-dir", str(target))
        assert files_below(target) == wanted
    another_machine.hf("download", name, "--revision", "v2", "--local-dir", str(another_machine.home / "v2"))
    assert files_below(another_machine.home / "v2") == revisions[1][1]


def test_a_stranger_sees_nothing_of_a_private_repository(hub: Any, machine: Any) -> None:
    name = hub.repo(private=True)
    stranger = hub.git_url(name, token=hub.token2).replace("alice:", "bob:")
    missing = stranger.replace(name.split("/")[1], "there-is-no-such-one")
    answers = [machine.run("git", "ls-remote", url, may_fail=True).replace(url, "URL") for url in (stranger, missing)]

    assert answers[0].replace(name.split("/")[1], "X") == answers[1].replace("there-is-no-such-one", "X")
    assert "not found" in answers[0]


def test_a_push_without_its_large_objects_is_refused_with_their_ids(hub: Any, machine: Any) -> None:
    name = hub.repo()
    work = machine.home / "work"
    machine.run("git", "clone", "-q", hub.git_url(name), str(work))
    machine.git(work, "lfs", "track", "*.bin")
    (work / "a.bin").write_bytes(b"large" * 1000)
    machine.git(work, "add", "-A")
    machine.git(work, "commit", "-q", "-m", "Large")
    oid = machine.git(work, "lfs", "ls-files", "--long").split()[0]
    refused = machine.run("git", "push", "--no-verify", "origin", "HEAD", folder=work, may_fail=True)
    machine.git(work, "push", "-q", "origin", "HEAD")

    assert oid in refused
    assert "git lfs push" in refused
    assert "missing LFS objects" in refused

"""Merged packs in the eyes of git: thin pushes with deltas of both kinds, real pushes to several workers."""

import time
from typing import Any

import pytest

from gitserver.maintenance.background import BackgroundRepack
from gitserver.maintenance.repack import Repacker
from gitserver.maintenance.tiers import FULL
from gitserver.objects.entries import OFS_DELTA, REF_DELTA, read_entry_header
from storage.limits import Limits


def kinds(pack: Any) -> list[int]:
    return [read_entry_header(pack.data, offset).kind_or_delta for offset, _ in pack.oids()]


def grow(work: Any, number: int) -> None:
    lines = "".join(f"line {n} {number if n == number % 97 else n * n}\n" for n in range(300))
    work.commit(f"c{number}", {"file": lines, "d/other": lines[::-1]})


def test_thin_pushes_become_one_pack(fetch_hub: Any, work: Any, tmp_path: Any) -> None:
    client = type(work)(tmp_path / "client")
    grow(work, 0)
    fetch_hub.load(work)
    for number in range(1, 70):
        grow(work, number)
        fetch_hub.load(work, "HEAD", "^HEAD^", thin=True)
    before = fetch_hub.objects.packs()
    assert sum(kinds(pack).count(REF_DELTA) for pack in before) > 100
    repacker = Repacker(fetch_hub.packs, fetch_hub.stores, fetch_hub.versions, Limits())
    BackgroundRepack(fetch_hub.packs, fetch_hub.stores, repacker, Limits()).merge(fetch_hub.repo.id)

    (pack,) = fetch_hub.objects.packs()
    assert {oid.hex() for _, oid in pack.oids()} == work.objects()
    assert kinds(pack).count(REF_DELTA) == 0
    assert kinds(pack).count(OFS_DELTA) > 130
    assert pack.info.size < sum(old.info.size for old in before) / 5
    accepted_by_git(client, pack, tmp_path / "hub" / "git" / fetch_hub.repo.id / f"pack-{pack.info.id}.idx")
    client("clone", "-q", "--mirror", fetch_hub.url, "clone")
    assert client("-C", "clone", "fsck", "--strict", "--full") == ""
    assert client("-C", "clone", "rev-list", "--count", "HEAD") == "70"


def accepted_by_git(git: Any, pack: Any, index: Any) -> None:
    """git makes the very same index, and finds no chain that is too long."""
    git("init", "-q", "--bare", "judge")
    made = git.path / "judge" / "made.pack"
    made.write_bytes(bytes(pack.data))
    assert git("-C", "judge", "index-pack", "--strict", "made.pack") == pack.info.id
    assert made.with_suffix(".idx").read_bytes() == index.read_bytes()
    report = git("-C", "judge", "verify-pack", "-v", "made.idx").splitlines()
    chains = [int(line.split()[3].rstrip(":")) for line in report if line.startswith("chain length")]
    assert max(chains) == 50


@pytest.mark.parametrize("workers", ["1", "2"])
def test_real_pushes(launcher: Any, work: Any, tmp_path: Any, workers: str) -> None:
    launcher.users()
    hub = launcher.start("--workers", workers)
    url = hub.git_url(hub.repo())
    push(work, url, 2 * FULL)
    (folder,) = (hub.data / "git").iterdir()
    assert wait_for(lambda: len(list(folder.glob("*.pack"))) < FULL)
    client = type(work)(tmp_path / "client")
    client("clone", "-q", "--mirror", url, "clone")

    assert client("-C", "clone", "fsck", "--strict", "--full") == ""
    assert client("-C", "clone", "rev-parse", "HEAD") == work("rev-parse", "HEAD")
    found = launcher.admin("check")
    assert (found.returncode, found.stdout) == (0, "")
    assert hub.stop() == 0
    assert "not merged" not in hub.log.read_text("utf-8")


def push(work: Any, url: str, count: int) -> None:
    for _ in range(count):
        grow(work, int(work.run("rev-list", "--count", "--all").stdout))
        work("push", "-q", url, "HEAD:refs/heads/main")


def wait_for(condition: Any) -> Any:
    until = time.monotonic() + 60
    while not (found := condition()) and time.monotonic() < until:
        time.sleep(0.02)
    return found

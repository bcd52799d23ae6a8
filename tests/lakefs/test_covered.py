"""Pointers of a commit made in LakeFS are covered by .gitattributes in git, and ids stay (decision 0024)."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lakefs.lake import Lake, Work
from tests.lakefs.rows import Rows
from tests.lakefs.test_bridge import hf_commit, resolve

MIB = 1 << 20
SINCE = "hub.covered-since"
TRACKED = " filter=lfs diff=lfs merge=lfs -text\n"
PROGRAMS = {"PATH": f"{Path(__file__).resolve().parents[2] / '.venv' / 'bin'}:{os.environ['PATH']}"}
FILTERS = {"clean": "git-lfs clean -- %f", "smudge": "git-lfs smudge -- %f", "process": "git-lfs filter-process"}
PLAIN = ("-c", "filter.lfs.smudge=cat", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false")


@pytest.fixture
def started(hub: Any, new_work: Callable[..., Work], new_lake: Callable[[str], Lake]) -> tuple[str, Work, Lake]:
    """A repository with one commit."""
    name = hub.repo()
    work = new_work(name)
    work.write({"a.txt": b"a"})
    work.push()
    return name, work, new_lake(name)


def with_lfs(work: Work, *arguments: str) -> str:
    options = [part for option, program in FILTERS.items() for part in ("-c", f"filter.lfs.{option}={program}")]
    done = work.run(*options, *arguments, environment=PROGRAMS)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def pull(work: Work) -> str:
    """The new tip, once the hub has it; git and git-lfs find nothing wrong and nothing to do."""
    await_ref(work, "refs/heads/main", work("rev-parse", "HEAD"))
    with_lfs(work, "pull", "-q", "--ff-only", "origin", "main")
    with_lfs(work, "lfs", "pull", "origin")
    assert with_lfs(work, "status", "--porcelain") == ""
    with_lfs(work, "lfs", "fsck")
    work("fsck", "--strict")
    return work("rev-parse", "HEAD")


def test_g10_what_became_a_pointer_is_covered_and_comes_back_to_lakefs(hub: Any, started: tuple[str, Work, Lake]) -> None:
    name, work, lake = started
    large = os.urandom(11 * MIB)
    paths = ["d/with space [x]*é.dat", "e/f/under.dat"]
    small = {"e/.gitattributes": b"*.dat -filter", "z.small": b"1"}
    lake.change("main", {**dict.fromkeys(paths, large), **small})
    pull(work)
    root = "/d/with[[:space:]]space[[:space:]]\\[x]\\*é.dat" + TRACKED
    below = "*.dat -filter\n/f/under.dat" + TRACKED

    assert resolve(hub, name, ".gitattributes").decode() == (work.folder / ".gitattributes").read_text() == root
    assert (work.folder / "e" / ".gitattributes").read_text() == below
    assert all(
        resolve(hub, name, path.replace(" ", "%20").replace("[", "%5B").replace("é", "%C3%A9"))
        == (work.folder / path).read_bytes()
        == large
        for path in paths
    )
    assert ".gitattributes" not in lake.files("main")  # what its people wrote there stays theirs
    told = work("log", "-1", "--format=%B").splitlines()[-2:]
    assert told == ["Hub-Attributes: .gitattributes", "Hub-Attributes: e/.gitattributes"]

    lake.change("main", {"z.small": b"2"})  # the difference is told of until a push ends it
    tip = pull(work)
    work(*PLAIN, "commit", "-q", "--allow-empty", "-m", "on top")
    with_lfs(work, "push", "-q", "origin", "main")
    assert lake.read("main", ".gitattributes").decode() == root
    assert lake.read("main", "e/.gitattributes").decode() == below
    assert work.remote()["refs/heads/main"] == work("rev-parse", "HEAD") != tip
    assert lake.files("main")[paths[0]]["size_bytes"] == len(large)


def test_g10_lines_come_again_where_lakefs_loses_them(hub: Any, started: tuple[str, Work, Lake]) -> None:
    name, work, lake = started
    files = {".gitattributes": b"*.bin filter=lfs\n", "x.bin": b"tracked", "big.dat": os.urandom(11 * MIB)}
    lake.change("main", {**files})
    pull(work)
    lake.change("main", {".gitattributes": b"*.x text"})
    pull(work)
    lines = [f"/{path}{TRACKED}" for path in ("big.dat", "x.bin")]

    assert (work.folder / ".gitattributes").read_text() == "*.x text\n" + "".join(lines)
    assert hf_commit(hub, name, {"by-hf": "1", "x.bin": "through the hub"}).status == 200
    pull(work)
    assert (work.folder / "x.bin").read_bytes() == b"through the hub"
    assert lake.read("main", ".gitattributes") == (work.folder / ".gitattributes").read_bytes()


def test_g9_macros_count_in_commits_made_in_lakefs(started: tuple[str, Work, Lake]) -> None:
    _, work, lake = started
    lake.change("main", {".gitattributes": b"[attr]big filter=lfs diff=lfs merge=lfs -text\n*.foo big\n", "x.foo": b"contents"})
    pull(work)

    assert with_lfs(work, "lfs", "ls-files", "--name-only") == "x.foo"
    assert (work.folder / "x.foo").read_bytes() == b"contents"
    assert (work.folder / ".gitattributes").read_bytes().count(b"\n") == 2


def forget_moment(lake: Lake, rows: Rows, name: str) -> None:
    """The repository is as an older hub left it."""
    lake.call("DELETE", "/metadata", {"keys": [SINCE]})
    told = json.loads(rows.run("SELECT description FROM lakefs_repos WHERE repo_id = %s", rows.repo_id(name))[0][0])
    del told[SINCE]
    rows.run("UPDATE lakefs_repos SET description = %s WHERE repo_id = %s", json.dumps(told), rows.repo_id(name))


def dated(lake: Lake, branch: str, files: dict[str, bytes], at: int) -> None:
    for path, data in files.items():
        lake.put(branch, path, data)
    lake.call("POST", f"/branches/{branch}/commits", {"message": "direct", "metadata": {}, "date": at})


def await_ref(work: Work, ref: str, *olds: str | None) -> str:
    """Where the ref stands as soon as that is none of `olds`."""
    until = time.monotonic() + 60
    while (oid := work.remote().get(ref)) in (None, *olds):
        assert time.monotonic() < until
    return str(oid)


def commit_before_and_after(lake: Lake, work: Work, rows: Rows, name: str) -> str:
    """Two commits of branch `side`, one from before the repository's moment; that moment."""
    macro = b"[attr]big filter=lfs diff=lfs merge=lfs -text\n*.foo big\n"
    future = int(time.time()) + 5000  # anybody may write a date into a commit
    forget_moment(lake, rows, name)
    lake.branch("side")
    files = {"big.dat": os.urandom(11 * MIB), ".gitattributes": macro, "x.foo": b"text"}
    dated(lake, "side", files, future)
    before = await_ref(work, "refs/heads/side", work("rev-parse", "HEAD"))
    work.write({"a": b"2"})
    work.push()  # a write: the repository gets its moment
    until = time.monotonic() + 60
    while SINCE not in (told := lake.call("GET", "/metadata")):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert told[SINCE] == str(future + 1)
    dated(lake, "side", {"other.dat": os.urandom(11 * MIB), "y.foo": b"text"}, future + 1)
    await_ref(work, "refs/heads/side", before)
    work(*PLAIN, "fetch", "-q", "origin")
    assert work("rev-parse", "origin/side^") == before
    assert work.files("origin/side^").keys() == {"a", *files}
    old, new = (work.files(commit) for commit in ("origin/side^", "origin/side"))
    assert (old[".gitattributes"], old["x.foo"]) == (macro, b"text")
    assert new[".gitattributes"] == macro + f"/other.dat{TRACKED}".encode()
    assert new["y.foo"].startswith(b"version https://git-lfs")
    return str(told[SINCE])


def test_g10_a_rebuild_gives_commits_from_before_and_after_their_ids(
    new_cluster: Any, postgres: Any, new_lakefs: Any, tmp_path: Path
) -> None:
    keys = {"ACCESS_KEY": new_lakefs.access_key, "SECRET_KEY": new_lakefs.secret_key, "ENDPOINT": new_lakefs.url}
    launcher = new_cluster(**{f"KOHAKU_HUB_LAKEFS_{key}": value for key, value in keys.items()})
    launcher.users()
    hub = launcher.start()
    name = hub.repo()
    lake, work = Lake(new_lakefs, hub, name), Work(tmp_path / "w", hub.git_url(name))
    work.write({"a": b"1"})
    work.push()
    lake.wait_until_tidy()
    assert lake.call("GET", "/metadata")[SINCE] == "0"  # from birth
    since = commit_before_and_after(lake, work, Rows(launcher.environment["KOHAKU_HUB_DATABASE_URL"]), name)
    shown = work.remote()
    assert hub.stop() == 0

    other = new_cluster(beside=launcher, KOHAKU_HUB_DATABASE_URL=postgres.create())
    assert "failed" not in other.admin("rebuild").stdout
    assert other.admin("set-password", "alice", "--password-stdin", stdin="another good one\n").returncode == 0
    made = other.admin("create-token", "alice", "--name", "new", "--scope", "write")
    other.tokens["alice"] = made.stdout.strip()
    hub = other.start()
    try:
        work("remote", "set-url", "origin", hub.git_url(name))
        assert work.remote() == shown
        work.write({"a": b"3"})
        work.push()
        lake.wait_until_tidy()
        assert lake.call("GET", "/metadata")[SINCE] == since
    finally:
        assert hub.stop() == 0

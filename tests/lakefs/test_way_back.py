"""Commits made directly in LakeFS: they appear in git, in the Hugging Face API and in resolve, everywhere with the same ids."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from typing import Any

import boto3
import psycopg
import pytest
from botocore.config import Config

from tests.lakefs.lake import Lake, Work
from tests.lakefs.test_bridge import hf_commit, resolve

MIB = 1 << 20


def run_sql(hub: Any, sql: str) -> None:
    with psycopg.connect(hub.launcher.environment["KOHAKU_HUB_DATABASE_URL"]) as connection:
        connection.execute(sql)


@pytest.fixture
def started(hub: Any, new_work: Callable[..., Work], new_lake: Callable[[str], Lake]) -> tuple[str, Work, Lake]:
    """A repository with one commit."""
    name = hub.repo()
    work = new_work(name)
    work.write({"a.txt": b"a", "dir/run": b"#!/bin/sh\n"})
    (work.folder / "dir" / "run").chmod(0o755)
    work.write({})
    work.push()
    return name, work, new_lake(name)


def test_a_merge_appears_everywhere(hub: Any, started: tuple[str, Work, Lake]) -> None:
    name, work, lake = started
    merged = lake.change("main", {"new/b.txt": b"b", "dir/run": b"#!/bin/sh\necho\n", "a.txt": None}, "made in LakeFS")

    work("pull", "-q", "--ff-only", "origin", "main")
    assert work.files() == {"new/b.txt": b"b", "dir/run": b"#!/bin/sh\necho\n"}
    assert work("ls-files", "-s", "dir/run").startswith("100755")  # LakeFS lost the mode, git keeps it
    assert work("log", "-1", "--format=%an <%ae>") == "hub <lakefs@users.noreply.kohakuhub>"
    assert f"LakeFS-Commit: {merged}" in work("log", "-1", "--format=%B")
    assert len(work("log", "-1", "--format=%P").split()) == 2
    assert resolve(hub, name, "new/b.txt") == b"b"
    listed = hub.call("GET", f"/api/models/{name}/commits/main").json()
    assert [row["id"] for row in listed] == work("log", "--format=%H").split()
    work("fsck", "--strict")


def test_the_first_reader_sees_it_whoever_that_is(
    hub: Any, started: tuple[str, Work, Lake], new_work: Callable[..., Work], wait_for: Any
) -> None:
    name, _, lake = started
    lake.change("main", {"b": b"1"})
    wait_for(lambda: hub.call("GET", f"/{name}/resolve/main/b").body == b"1")
    lake.branch("side")
    lake.put("side", "c", b"2")
    lake.commit("side", "on a branch that git does not know")
    clone = new_work(name, "clone")
    clone("fetch", "-q", "origin")
    assert clone.files("origin/side").keys() == {"a.txt", "dir/run", "b", "c"}


def test_a_revert_and_a_chain_of_commits(started: tuple[str, Work, Lake]) -> None:
    _, work, lake = started
    lake.branch("side")
    for n in range(5):
        lake.put("side", f"f{n}", b"%d" % n)
        last = lake.commit("side", f"commit {n}")
    lake.call("POST", "/branches/side/revert", {"ref": last, "parent_number": 0})
    work("fetch", "-q", "origin")

    assert work.files("origin/side").keys() == {"a.txt", "dir/run", "f0", "f1", "f2", "f3"}
    assert int(work("rev-list", "--count", "main..origin/side")) == 6


def test_ids_are_the_same_when_our_rows_are_lost(hub: Any, started: tuple[str, Work, Lake]) -> None:
    """The maps are forgotten: what is made again is what it was."""
    _, work, lake = started
    lake.change("main", {"b": b"1"})
    work("pull", "-q", "--ff-only", "origin", "main")
    work.write({"c": b"2"})
    work.push()
    lake.change("main", {"d": b"3"})
    work("fetch", "-q", "origin")
    before = work.remote()
    run_sql(hub, "DELETE FROM lakefs_commits")
    run_sql(hub, "DELETE FROM lakefs_refs WHERE is_tag = 0")
    lake.change("main", {"e": b"4"})
    work("fetch", "-q", "origin")

    assert work("rev-parse", "origin/main~1") == before["refs/heads/main"]


def test_large_files_become_pointers(hub: Any, started: tuple[str, Work, Lake]) -> None:
    name, work, lake = started
    large = os.urandom(11 * MIB)
    tracked = os.urandom(1000)
    lake.change(
        "main", {"big.dat": large, ".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n", "x.bin": tracked, "e.bin": b""}
    )
    work("-c", "filter.lfs.smudge=cat", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false", "pull", "-q", "origin", "main")

    for path, data in (("big.dat", large), ("x.bin", tracked)):
        sha256 = hashlib.sha256(data).hexdigest()
        pointer = work.run("cat-file", "blob", f"HEAD:{path}").stdout.decode()
        assert pointer == f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n"
        assert resolve(hub, name, path) == data
    assert work.run("cat-file", "blob", "HEAD:e.bin").stdout == b""


def test_hostile_keys_are_left_out_and_reported(started: tuple[str, Work, Lake]) -> None:
    _, work, lake = started
    lake.branch("side")
    for path in ("ok", ".git/config", "x/../../etc/passwd", "a//b", "/abs", "marker/", "sub/.GIT/hooks/x", "git~1/x", "a.txt/inside"):
        lake.put("side", path, b"?")
    lake.put("side", ".gitmodules", b'[submodule "../../x"]\n\tpath = x\n\turl = -u./evil\n')
    lake.commit("side", "hostile")
    work("fetch", "-q", "origin")

    assert work.files("origin/side").keys() == {"ok", "dir/run", "a.txt/inside"}  # of a file and a folder of one name the folder
    assert "Hub-Skipped: 9" in work("log", "-1", "--format=%B", "origin/side")
    work("fsck", "--strict")


def test_through_the_s3_gateway(hub: Any, lakefs: Any, started: tuple[str, Work, Lake], wait_for: Any) -> None:
    name, _, lake = started
    s3 = boto3.session.Session().client(
        "s3",
        endpoint_url=lakefs.url,
        aws_access_key_id=lakefs.access_key,
        aws_secret_access_key=lakefs.secret_key,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )
    lake.branch("work")
    s3.put_object(Bucket=lake.id, Key="work/table/part-0.csv", Body=b"1,2\n")
    assert s3.get_object(Bucket=lake.id, Key="work/a.txt")["Body"].read() == b"a"
    s3.close()
    lake.commit("work", "by Spark")
    lake.merge("work", "main")

    wait_for(lambda: hub.call("GET", f"/{name}/resolve/main/table/part-0.csv").body == b"1,2\n")
    tree = hub.call("GET", f"/api/models/{name}/tree/main?recursive=true").json()
    assert {row["path"] for row in tree if row["type"] == "file"} == {"a.txt", "dir/run", "table/part-0.csv"}


def test_hf_commits_go_on_top_of_direct_ones(hub: Any, started: tuple[str, Work, Lake]) -> None:
    name, work, lake = started
    parent = work("rev-parse", "HEAD")
    lake.change("main", {"b": b"1"})
    stale = hf_commit(hub, name, {"c": "2"}, parentCommit=parent)
    assert stale.status == 412
    answer = hf_commit(hub, name, {"c": "2"})
    assert answer.status == 200, answer
    work("pull", "-q", "--ff-only", "origin", "main")
    assert work.files().keys() == {"a.txt", "dir/run", "b", "c"}
    assert set(lake.files("main")) == {"a.txt", "dir/run", "b", "c"}


def test_a_branch_deleted_in_lakefs_is_not_lost(hub: Any, started: tuple[str, Work, Lake], wait_for: Any) -> None:
    _, work, lake = started
    work.push("main:side")
    tip = work("rev-parse", "main")
    lake.call("DELETE", "/branches/side")
    assert work.remote()["refs/heads/side"] == tip  # LakeFS may just have hiccuped
    sql = "UPDATE lakefs_refs SET missing_since = missing_since - 61000000 WHERE missing_since IS NOT NULL"
    run_sql(hub, sql)

    def is_lost() -> bool:
        shown = work.remote()
        return "refs/heads/side" not in shown and shown.get("refs/hub/lost/side") == tip

    wait_for(is_lost)
    work.push("main:side")
    assert work.remote()["refs/heads/side"] == tip


def test_a_dirty_protected_branch_finds_its_way_out(hub: Any, started: tuple[str, Work, Lake]) -> None:
    """Somebody staged on main before the rule was in force."""
    _, work, lake = started
    lake.call("PUT", "/settings/branch_protection", [])
    for _ in range(100):
        try:
            lake.put("main", "staged", b"?")
            break
        except OSError:
            time.sleep(0.2)
    lake.call("PUT", "/settings/branch_protection", [{"pattern": "main"}])
    time.sleep(7)
    work.write({"b": b"2"})
    work.push()

    assert set(lake.files("main")) == {"a.txt", "dir/run", "b"}
    assert json.dumps(lake.call("GET", "/settings/branch_protection")) == json.dumps([{"pattern": "main"}])


def test_what_lakefs_remembers_stays_stored(hub: Any, started: tuple[str, Work, Lake]) -> None:
    """Force-pushed away and repacked; a branch made in LakeFS at the old commit brings the very same commit back."""
    name, work, lake = started
    keep = work("rev-parse", "HEAD")
    away = work.write({"away": b"1"})
    work.push("main:refs/heads/topic")
    old = lake.branches()["topic"]
    work("reset", "-q", "--hard", keep)
    work.write({"instead": b"1"})
    work("push", "-q", "-f", "origin", "main:topic")
    work("push", "-q", "origin", ":topic")
    done = hub.admin("repack", name, "--prune-now")
    assert done.returncode == 0, done.stderr
    lake.branch("again", old)

    assert work.remote()["refs/heads/again"] == away
    work("fetch", "-q", "origin", "refs/heads/again")
    assert work.files("FETCH_HEAD")["away"] == b"1"
    assert hub.admin("check").stdout == ""

"""Fetching with the real client, in every protocol version."""

import random

import pytest


def history(git, count=6):
    ids = []
    for i in range(count):
        log = "".join(f"line {j}\n" for j in range(i * 20))
        ids.append(git.commit(f"c{i}", {f"d{i % 3}/f{i}.txt": f"{i}\n" * (i + 1), "log.txt": log}))
    return ids


def clone(hub, client, *args, name="c"):
    client("clone", "-q", *args, hub.url, name)
    return type(client)(client.path / name, client.version)


def loose(git):
    return int(git("count-objects").split()[0])


def test_clone_has_everything(fetch_hub, work, client):
    history(work)
    work("tag", "-a", "v1", "-m", "one")
    work("tag", "-a", "outer", "-m", "of a tag", "v1")
    work("branch", "dev", "HEAD~2")
    fetch_hub.load(work)
    copy = clone(fetch_hub, client, "--mirror")
    assert copy("for-each-ref") == work("for-each-ref")
    assert copy.objects() == work.objects()
    copy("fsck", "--strict")


def test_empty_repository_clones(fetch_hub, client):
    copy = clone(fetch_hub, client)
    assert copy("for-each-ref") == ""
    assert copy("symbolic-ref", "HEAD") == "refs/heads/main"


def test_fetch_brings_only_what_is_new(fetch_hub, work, client):
    ids = history(work, 20)
    fetch_hub.load(work)
    copy = clone(fetch_hub, client)
    work.commit("n", {"new.txt": "n", "log.txt": "changed"})
    fetch_hub.load(work, "main", f"^{ids[-1]}", thin=True)
    before = loose(copy)
    copy("fetch", "-q")
    assert copy("rev-parse", "origin/main") == work("rev-parse", "main")
    assert loose(copy) - before == 4
    copy("fsck", "--strict")


def test_many_packs_and_their_duplicates(fetch_hub, work, client):
    history(work, 3)
    fetch_hub.load(work)
    for i in range(4):
        before = work("rev-parse", "HEAD")
        work.commit(f"m{i}", {"log.txt": "".join(f"line {j}\n" for j in range(60 + i)), f"m{i}": "x"})
        fetch_hub.load(work, "main", f"^{before}", thin=True)
    copy = clone(fetch_hub, client, "--mirror")
    assert copy.objects() == work.objects()
    copy("fsck", "--strict")
    copy = clone(fetch_hub, client, "--single-branch", name="d")
    assert copy("rev-parse", "HEAD") == work("rev-parse", "HEAD")


def test_force_pushed_branch(fetch_hub, work, client):
    history(work)
    fetch_hub.load(work)
    copy = clone(fetch_hub, client)
    work("reset", "-q", "--hard", "HEAD~3")
    work.commit("other way", {"o": "o"})
    fetch_hub.load(work)
    copy("fetch", "-q")
    assert copy("rev-parse", "origin/main") == work("rev-parse", "main")
    copy("fsck", "--strict")


def test_tags_follow_their_commits(fetch_hub, work, client):
    history(work, 2)
    fetch_hub.load(work)
    copy = clone(fetch_hub, client)
    work.commit("t", {"t": "t"})
    work("tag", "-a", "v9", "-m", "nine")
    fetch_hub.load(work)
    copy("fetch", "-q")
    assert copy("rev-parse", "v9") == work("rev-parse", "v9")


def test_unrelated_client_negotiates_with_gzipped_bodies(fetch_hub, work, client):
    ids = history(work, 10)
    fetch_hub.load(work)
    copy = clone(fetch_hub, client)
    lines = [b"commit refs/heads/local\ncommitter A <a@x> %d +0000\ndata 1\nl\n" % (1_700_000_000 + i) for i in range(400)]
    lines[0] += b"from refs/heads/main^0\n"
    copy("fast-import", "--quiet", data=b"".join(lines))
    work.commit("server", {"srv": "1"})
    fetch_hub.load(work, "main", f"^{ids[-1]}")
    fetch_hub.bodies.clear()
    before = loose(copy)
    copy("fetch", "-q")
    assert copy("rev-parse", "origin/main") == work("rev-parse", "main")
    assert loose(copy) - before == 3
    assert any(encoding == "gzip" for encoding, _ in fetch_hub.bodies)


def test_no_common_history(fetch_hub, work, client):
    history(work, 5)
    fetch_hub.load(work)
    client("init", "-q")
    client.time += 5000
    history(client, 4)
    client("fetch", "-q", fetch_hub.url, "main:refs/heads/theirs")
    assert client("rev-parse", "theirs") == work("rev-parse", "main")
    client("fsck", "--strict")


def test_merges_and_gitlinks(fetch_hub, work, client):
    history(work, 3)
    work("checkout", "-q", "-b", "side", "HEAD~1")
    work.commit("s", {"s": "s"})
    work("checkout", "-q", "main")
    work.time += 60
    work("merge", "-q", "--no-ff", "-m", "merge", "side")
    work("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    work.time += 60
    work("commit", "-q", "-m", "gitlink")
    fetch_hub.load(work)
    assert clone(fetch_hub, client, "--mirror").objects() == work.objects()


def test_unreachable_commit_is_not_ours(fetch_hub, work, client):
    ids = history(work, 4)
    fetch_hub.load(work)
    work("reset", "-q", "--hard", ids[1])
    work("reflog", "expire", "--expire=now", "--all")
    fetch_hub.set_refs(work)
    client("init", "-q")
    for oid in (ids[3], "1" * 40):
        done = client.run("fetch", fetch_hub.url, oid)
        assert done.returncode != 0
        assert b"not our ref" in done.stderr
    client("fetch", "-q", fetch_hub.url, ids[0])
    assert client("rev-parse", "FETCH_HEAD") == ids[0]


def test_shallow_deepen_and_unshallow(fetch_hub, work, client):
    ids = history(work, 10)
    fetch_hub.load(work)
    copy = clone(fetch_hub, client, "--depth=2")
    assert copy("rev-list", "--count", "HEAD") == "2"
    for args, count in (("--deepen=3", "5"), ("--depth=7", "7"), ("--depth=1", "1"), ("--unshallow", "10")):
        copy("fetch", "-q", args)
        assert copy("rev-list", "--count", "HEAD") == count
        copy("fsck", "--strict")
    assert copy("rev-parse", "--is-shallow-repository") == "false"
    since = clone(fetch_hub, client, f"--shallow-since={work.time - 130}", name="since")
    assert since("rev-list", "--count", "HEAD") == "3"
    work("tag", "cut", ids[5])
    fetch_hub.set_refs(work)
    excluded = clone(fetch_hub, client, "--shallow-exclude=cut", "--no-tags", "--single-branch", name="excluded")
    assert excluded("rev-list", "--count", "HEAD") == "4"


def test_new_commits_into_a_shallow_clone(fetch_hub, work, client):
    history(work, 4)
    fetch_hub.load(work)
    copy = clone(fetch_hub, client, "--depth=1")
    work.commit("new", {"n": "new"})
    fetch_hub.load(work)
    before = loose(copy)
    copy("fetch", "-q")
    assert copy("rev-list", "--count", "origin/main") == "2"
    assert loose(copy) - before == 3
    copy("fsck")


@pytest.mark.parametrize(("spec", "missing"), [("blob:none", 5), ("blob:limit=1k", 2), ("tree:0", 3), ("combine:blob:none+tree:1", None)])
def test_partial_clones_and_their_lazy_fetches(fetch_hub, work, client, spec, missing):
    noise = random.Random(1)
    for i in range(2):
        work.commit(f"f{i}", {"small": str(i), "dir/big": noise.randbytes(3000), "dir/sub/same": "s"})
    if spec == "tree:0":
        work.commit("last", {"small": "last"})
    fetch_hub.load(work)
    bare = clone(fetch_hub, client, "--bare", f"--filter={spec}")
    gone = [line for line in bare("rev-list", "--objects", "--all", "--missing=print").splitlines() if line.startswith("?")]
    assert missing is None or len(gone) == missing
    copy = clone(fetch_hub, client, f"--filter={spec}", name="w")
    assert copy("status", "--porcelain") == ""
    copy("log", "-p")
    copy("fsck")

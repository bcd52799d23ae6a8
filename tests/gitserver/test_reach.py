"""Reachability that was worked out ahead, against git's own walks; and the packs that are made by it."""

import random

import pytest

from gitserver.fetch.closure import Closure
from gitserver.fetch.filters import Filter
from gitserver.fetch.pack_job import PackOrder
from gitserver.fetch.packing import Rules
from gitserver.fetch.session import FetchSession
from gitserver.fetch.shallow import ShallowPlan
from gitserver.objects.reachability import open_reach, reach_name
from gitserver.workers import reachability
from storage.errors import Invalid
from storage.filecache import FileCache


def raw(*oids):
    return [bytes.fromhex(oid) for oid in oids]


@pytest.fixture
def history(work):
    """Merges, clocks that jump, folders in folders, a submodule, tags of tags; some blobs of some size."""
    dice = random.Random(11)
    stream: list[str] = []
    marks: list[int] = []
    for mark in range(1, 401):
        when = 1_600_000_000 + mark * 60 + dice.choice((0, 0, 0, 0, -9000, 4000))
        stream.append(f"commit refs/heads/b{mark % 7 if mark < 394 else mark}\nmark :{mark}\ncommitter A <a@x> {when} +0000\ndata 1\nm\n")
        parents = dice.sample(marks[-6:], min(len(marks), dice.choice((1, 1, 1, 1, 2, 3)))) if marks else []
        stream += [f"{'from' if n == 0 else 'merge'} :{parent}\n" for n, parent in enumerate(parents)]
        text = "".join(f"{n} {dice.random()}\n" for n in range(dice.choice((2, 40, 90))))
        stream += [f"M 100644 inline d{dice.randrange(3)}/e{dice.randrange(3)}/f{dice.randrange(9)}\ndata {len(text)}\n{text}\n"]
        marks.append(mark)
    stream += [f"commit refs/heads/sub\nmark :999\ncommitter A <a@x> 1700000000 +0000\ndata 1\ns\nfrom :400\nM 160000 {'1' * 40} sub\n"]
    work("fast-import", "--quiet", "--force", data="".join(stream).encode())
    work("tag", "-am", "one", "one", "b1")
    work("tag", "-am", "two", "two", "one")
    work("repack", "-adfq")
    return work


@pytest.fixture
def reached(fetch_hub, history, tmp_path, monkeypatch):
    """The objects, with their reachability at hand; one in seven commits is selected, of the newest one in three."""
    for name, value in (("_STEP", 7), ("_NEW", 100), ("_NEW_STEP", 3)):
        monkeypatch.setattr(reachability, name, value)
    fetch_hub.load(history)
    objects, files = fetch_hub.objects, FileCache(tmp_path / "prepared", 1 << 30)
    pack = objects.largest()
    with (tmp_path / "out").open("wb") as out:
        reachability.build(objects, pack, out)
    files.keep(tmp_path / "out", reach_name("r", pack))
    objects.reach = open_reach(files, "r", pack)
    return objects


def commits(work):
    return work("rev-list", "--all").split()


def listed(work, *arguments):
    return {line.split()[0] for line in work("rev-list", "--objects", *arguments).splitlines()}


def all_of(closure, oids):
    for _ in closure.add(raw(*oids)):
        pass
    return {oid.hex() for oid in closure.reached}


def test_the_graph_is_what_the_commits_say(reached, history):
    for line in history("rev-list", "--all", "--parents", "--timestamp").splitlines():
        time, oid, *parents = line.split()
        node = reached.reach.commit(bytes.fromhex(oid))
        assert (node.time, [parent.hex() for parent in node.parents]) == (int(time), parents)
        assert node.tree.hex() == history("rev-parse", f"{oid}^{{tree}}").strip()
        rank = reached.reach.rank(reached.reach.position(node.oid))
        assert all(reached.reach.generations[parent] < reached.reach.generations[rank] for parent in reached.reach.parents(rank))
    blob = history("rev-parse", "b1:d0").strip()
    assert reached.reach.commit(bytes.fromhex(blob)) is None
    assert reached.reach.position(bytes(20)) is None


def test_a_closure_is_what_rev_list_lists(reached, history):
    ids, dice = commits(history), random.Random(2)
    for number in range(30):
        wants = dice.sample(ids, 1 + number % 4)
        assert all_of(Closure(reached, reached.reach), wants) == listed(history, *wants)
    trees = {line.split()[0] for line in history("rev-list", "--objects", "--filter=blob:none", *ids[:3]).splitlines()}
    assert all_of(Closure(reached, reached.reach, with_blobs=False), ids[:3]) == trees


def test_a_closure_goes_through_newer_packs(reached, history, fetch_hub):
    """What came after the large pack is walked, down to what is known ahead."""
    base = commits(history)[0]
    history("checkout", "-q", base)
    for number in range(5):
        (history.path / "d0").mkdir(exist_ok=True)
        (history.path / "d0" / f"new{number}").write_text(f"{number}\n" * 50)
        history("add", "-A")
        history("commit", "-qm", f"n{number}")
    history("branch", "newer")
    reach = reached.reach
    fetch_hub.load(history, "newer", "^" + base)
    reached.refresh()
    assert reached.reach is reach
    tip = history("rev-parse", "newer").strip()
    assert all_of(Closure(reached, reach), [tip, commits(history)[30]]) == listed(history, tip, commits(history)[30])


@pytest.mark.parametrize("rules", [Rules(ofs_delta=True, thin=True), Rules(ofs_delta=True, thin=False), Rules(ofs_delta=False, thin=True)])
@pytest.mark.parametrize("chosen", [Filter(), Filter(blob_limit=0), Filter(blob_limit=500)], ids=["all", "none", "limit"])
def test_packs_made_by_it(reached, history, fetch_hub, tmp_path, monkeypatch, rules, chosen):
    monkeypatch.setattr("gitserver.fetch.pack_job._NEAR", 0)  # as if every fetch were a large one
    ids, dice = commits(history), random.Random(4)
    spec = {None: [], 0: ["--filter=blob:none"], 500: ["--filter=blob:limit=500"]}[chosen.blob_limit]
    for number in range(8):
        wants, haves = dice.sample(ids, 2), dice.sample(ids, number % 3)
        session = FetchSession(reached, fetch_hub.versions.refs(fetch_hub.repo.id))
        order = PackOrder(session.wanted(raw(*wants)), tuple(raw(*haves)), ShallowPlan(), chosen, include_tag=False, rules=rules)
        job = session.pack(order)
        assert all(count >= 0 for count in job.run())
        data = b"".join(bytes(piece) for piece in job.pieces())
        target = type(history)(tmp_path / f"target{number}")
        target("init", "-q")
        for have in haves:
            target("fetch", "-q", str(history.path), have)
        before = set(target("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split())
        target("index-pack", "--stdin", *(["--fix-thin"] if rules.thin and not chosen.is_active else []), data=data)
        after = set(target("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split())
        assert listed(history, *wants, *spec, "--not", *haves) <= after | before
        assert len(after - before) <= job.total
        assert job.total <= len(listed(history, *wants, *spec))


def test_a_pack_that_lacks_something_has_none(fetch_hub, history, tmp_path):
    tip = commits(history)[0]
    fetch_hub.load(history)
    fetch_hub.load(history, tip, f"^{tip}~1")
    pack = min(fetch_hub.objects.packs(), key=lambda pack: pack.info.objects)
    with (tmp_path / "out").open("wb") as out, pytest.raises(reachability.NotClosed):
        reachability.build(fetch_hub.objects, pack, out)


@pytest.mark.parametrize("content", [b"", b"KHREACH1", b"x" * 400], ids=["empty", "cut off", "wrong"])
def test_a_damaged_file_is_as_none(fetch_hub, history, tmp_path, content):
    fetch_hub.load(history)
    pack, files = fetch_hub.objects.largest(), FileCache(tmp_path / "prepared", 1 << 30)
    (tmp_path / "out").write_bytes(content)
    files.keep(tmp_path / "out", reach_name("r", pack))
    assert open_reach(files, "r", pack) is None
    assert open_reach(files, "other", pack) is None


def test_wants_that_no_ref_leads_to_are_refused(reached, history, fetch_hub):
    ids = commits(history)
    for name in history("for-each-ref", "--format=%(refname)").split():
        if name not in ("refs/heads/b2", "refs/tags/two"):
            history("update-ref", "-d", name)
    fetch_hub.set_refs(history)
    session = FetchSession(reached, fetch_hub.versions.refs(fetch_hub.repo.id))
    left = set(commits(history))
    assert 0 < len(left) < len(ids)
    for oid in ids:
        if oid in left:
            assert session.wanted(raw(oid)).commits == tuple(raw(oid))
        else:
            with pytest.raises(Invalid, match="not our ref"):
                session.wanted(raw(oid))


def test_old_commits_have_their_share_of_the_selected_ones(fetch_hub, work, monkeypatch):
    """However many of the newest there are: a walk from anywhere meets one."""
    for name, value in (("_MARKS_BYTES", 1), ("_STEP", 10), ("_NEW", 100), ("_NEW_STEP", 5)):
        monkeypatch.setattr(reachability, name, value)
    head = "commit refs/heads/main\ncommitter A <a@x> {} +0000\ndata 1\nm\n"
    stream = "".join(f"{head.format(1_600_000_000 + n)}M 100644 inline f\ndata 3\n{n:03}\n" for n in range(300))
    work("fast-import", "--quiet", data=stream.encode())
    fetch_hub.load(work)
    made = reachability._Build(fetch_hub.objects, fetch_hub.objects.largest())
    made.entries()
    made.contents()
    made.select()
    generations = sorted(made.arrays.generations[rank] for rank in made.arrays.selected)

    assert generations == [54, 108, 162, 285, 290, 295, 300]

"""The parts of a fetch against git's own answers: rev-list for what is new, index-pack for what is sent."""

import random

import pytest

from gitserver.fetch.filters import Filter
from gitserver.fetch.graph import RevisionWalk, all_lead_to, unreachable
from gitserver.fetch.objectset import ObjectSet
from gitserver.fetch.pack_job import PackOrder
from gitserver.fetch.packing import Packing, Rules
from gitserver.fetch.session import FetchSession
from gitserver.fetch.shallow import ShallowPlan
from gitserver.objects.entries import OFS_DELTA, entry_header, offset_bytes, read_entry_header


def raw(*oids):
    return [bytes.fromhex(oid) for oid in oids]


@pytest.fixture
def tangle(work):
    """A history with merges and clocks that jump, from one seed."""
    dice = random.Random(7)
    stream: list[str] = []
    marks: list[int] = []
    for mark in range(1, 121):
        when = 1_600_000_000 + mark * 60 + dice.choice((0, 0, 0, -5000, 3000))
        lines = [f"commit refs/heads/b{mark}\nmark :{mark}\ncommitter A <a@x> {when} +0000\ndata 1\nm\n"]
        parents = dice.sample(marks[-8:], min(len(marks), dice.choice((1, 1, 1, 2, 3)))) if marks else []
        lines += [f"{'from' if n == 0 else 'merge'} :{parent}\n" for n, parent in enumerate(parents)]
        text = "".join(f"{n} {dice.random()}\n" for n in range(40))
        lines += [f"M 100644 inline d{dice.randrange(4)}/f{dice.randrange(9)}\ndata {len(text)}\n{text}\n"]
        stream.append("".join(lines))
        marks.append(mark)
    work("fast-import", "--quiet", data="".join(stream).encode())
    work("repack", "-adfq")
    return work


def test_difference_is_what_rev_list_says(fetch_hub, tangle):
    fetch_hub.load(tangle)
    ids = tangle("rev-list", "--all").split()
    dice = random.Random(3)
    for _ in range(25):
        wants, haves = dice.sample(ids, 2), dice.sample(ids, 3)
        walk = RevisionWalk(fetch_hub.objects)
        assert sum(walk.run(raw(*wants), raw(*haves))) >= 0
        new = {node.oid.hex() for node in walk.commits}
        needed = set(tangle("rev-list", *wants, "--not", *haves).split())
        assert needed <= new
        assert len(new) <= len(needed) + 12  # jumping clocks may cost a few
        if all_lead_to(fetch_hub.objects, raw(*wants), set(raw(*haves))):
            bases = [[tangle.run("merge-base", "--is-ancestor", have, want).returncode for have in haves] for want in wants]
            assert all(0 in codes for codes in bases)


def test_unreachable(fetch_hub, tangle):
    fetch_hub.load(tangle)
    ids = tangle("rev-list", "--all").split()
    below = set(tangle("rev-list", ids[0]).split())
    lost = unreachable(fetch_hub.objects, set(raw(*ids)), raw(ids[0]))
    assert lost == {bytes.fromhex(oid) for oid in ids if oid not in below}


@pytest.mark.parametrize("rules", [Rules(ofs_delta=True, thin=True), Rules(ofs_delta=True, thin=False), Rules(ofs_delta=False, thin=True)])
def test_packs_are_what_git_indexes(fetch_hub, tangle, tmp_path, rules):
    fetch_hub.load(tangle)
    ids = tangle("rev-list", "--all").split()
    dice = random.Random(5)
    for number in range(8):
        wants, haves = dice.sample(ids, 2), dice.sample(ids, number % 3)
        session = FetchSession(fetch_hub.objects, fetch_hub.versions.refs(fetch_hub.repo.id))
        order = PackOrder(session.wanted(raw(*wants)), tuple(raw(*haves)), ShallowPlan(), Filter(), include_tag=False, rules=rules)
        job = session.pack(order)
        assert list(job.run()) == []
        data = b"".join(bytes(piece) for piece in job.pieces())
        target = type(tangle)(tmp_path / f"target{number}-{rules.ofs_delta}-{rules.thin}")
        target("init", "-q")
        for have in haves:
            target("fetch", "-q", str(tangle.path), have)
        target("index-pack", "--stdin", *(["--fix-thin"] if rules.thin else []), data=data)
        for want in wants:
            target("rev-list", "--objects", "--quiet", want)
        assert target.run("fsck", "--connectivity-only", *wants).returncode == 0


def test_ofs_deltas_only_where_the_client_reads_them(fetch_hub, tangle):
    fetch_hub.load(tangle)
    objects = fetch_hub.objects
    everything = {oid for _, oid in objects.packs()[0].oids()}
    stored = objects.packs()[0]
    for sent in (everything, everything - {min(everything)}):
        packing = Packing(objects, ObjectSet(sent), ObjectSet(), Rules(ofs_delta=False, thin=False))
        data = b"".join(bytes(piece) for piece in packing.pieces())
        assert packing.total == len(sent) == int.from_bytes(data[8:12], "big")
    whole = b"".join(
        bytes(piece) for piece in Packing(objects, ObjectSet(everything), ObjectSet(), Rules(ofs_delta=True, thin=False)).pieces()
    )
    assert whole == bytes(stored.data)


def test_entry_headers_are_read_back():
    for size in (0, 1, 15, 16, 2047, 2048, 1 << 40):
        for distance in (1, 127, 128, 16511, 16512, 1 << 33):
            entry = bytes(distance % 50) + entry_header(OFS_DELTA, size) + offset_bytes(distance)
            head = read_entry_header(entry, distance % 50)
            assert (head.kind_or_delta, head.size, head.data_offset) == (OFS_DELTA, size, len(entry))
            assert head.base_offset == distance % 50 - distance

"""Xet ingest as a service: xorbs become pool objects once a shard tells how, and staged bytes go when nobody needs them."""

import random
import time
from dataclasses import replace
from typing import Any

import pytest

from lfs.xet.hashes import chunk_hash, to_text
from storage.errors import Invalid, RepoNotFound, TooLarge
from tests.lfs.xetmaker import GROUPED, LZ4, Made, Told, eligible, parts, register, send, shard, told

DAY = 86_400_000_000  # microseconds


def test_one_xorb_one_file(place: Any) -> None:
    xorb = Made(parts(1), LZ4)
    assert send(place.services.xet, xorb, place.ann.user_id)
    assert place.staged() == [xorb.name]
    register(place.services.xet, place.public.id, place.ann.user_id, told(xorb.of(0, 3)))

    assert place.has(place.public, b"".join(xorb.parts))
    assert not place.has(place.private, b"".join(xorb.parts))
    assert place.staged() == []
    assert place.files("incoming") == []


def test_a_file_over_several_xorbs_in_any_order(place: Any) -> None:
    one, two = Made(parts(1, 4), GROUPED), Made(parts(2, 2))
    for xorb in (one, two):
        send(place.services.xet, xorb, place.ann.user_id)
    runs = (two.of(1, 2), one.of(2, 4), two.of(0, 1), one.of(0, 2), one.of(1, 3))
    register(place.services.xet, place.public.id, place.ann.user_id, told(*runs))

    assert place.has(place.public, b"".join(run.data for run in runs))
    assert place.staged() == []


def test_staged_bytes_stay_while_a_chunk_has_no_place(place: Any) -> None:
    xorb = Made(parts(3, 5))
    send(place.services.xet, xorb, place.ann.user_id)
    register(place.services.xet, place.public.id, place.ann.user_id, told(xorb.of(0, 4)))
    assert place.staged() == [xorb.name]
    register(place.services.xet, place.public.id, place.ann.user_id, told(xorb.of(4, 5)))

    assert place.staged() == []


def test_chunks_of_a_xorb_that_lies_in_pool_objects(place: Any) -> None:
    """One term may begin in one object and end in another."""
    xorb = Made(parts(4, 6))
    send(place.services.xet, xorb, place.ann.user_id)
    halves = (told(xorb.of(3, 6), xorb.of(0, 1)), told(xorb.of(0, 4)))
    register(place.services.xet, place.public.id, place.ann.user_id, *halves)
    assert place.staged() == []
    register(place.services.xet, place.private.id, place.ann.user_id, told(xorb.of(1, 6)), told(xorb.of(2, 3)))

    assert place.has(place.private, xorb.of(1, 6).data)
    assert place.has(place.private, xorb.parts[2])


def test_the_same_file_for_another_repository(place: Any) -> None:
    xorb = Made(parts(5))
    send(place.services.xet, xorb, place.ann.user_id)
    for repo in (place.public, place.private):
        register(place.services.xet, repo.id, place.ann.user_id, told(xorb.of(0, 3)))
        register(place.services.xet, repo.id, place.ann.user_id, told(xorb.of(0, 3)), told(xorb.of(0, 3)))

    assert place.has(place.private, b"".join(xorb.parts))
    assert place.counts()["blobs"] == 1


def test_an_empty_file(place: Any) -> None:
    register(place.services.xet, place.public.id, place.ann.user_id, told())
    assert place.has(place.public, b"")
    with pytest.raises(Invalid):
        register(place.services.xet, place.public.id, place.ann.user_id, told(sha256="ab" * 32))
    assert place.counts()["blobs"] == 1


def lies(xorb: Made) -> dict[str, Told]:
    """Shard files about a xorb of three chunks, each wrong in one thing."""
    good = told(xorb.of(0, 2))
    ((value, size, first, end),) = good.terms
    return {
        "another SHA-256": replace(good, sha256="ab" * 32),
        "the SHA-256 of other chunks": replace(good, sha256=told(xorb.of(1, 3)).sha256),
        "another file hash": replace(good, hash=bytes(32)),
        "more bytes": replace(good, terms=((value, size + 1, first, end),)),
        "no bytes": replace(good, terms=((value, 0, first, end),)),
        "behind the end": replace(good, terms=((value, size, 2, 4),)),
        "no chunk": replace(good, terms=((value, 0, 1, 1),)),
        "backwards": replace(good, terms=((value, size, 2, 0),)),
        "far behind": replace(good, terms=((value, size, (1 << 32) - 2, (1 << 32) - 1),)),
        "no such xorb": replace(good, terms=((bytes(32), size, first, end),)),
        "a proof of other chunks": replace(good, proofs=told(xorb.of(1, 3)).proofs),
        "no proof": replace(good, proofs=(bytes(32),)),
        "terms without a file": replace(told(), terms=good.terms, proofs=good.proofs),
        "a file without terms": replace(good, terms=(), proofs=()),
    }


@pytest.mark.parametrize("lie", lies(Made(parts(1))))
def test_a_shard_that_lies_stores_nothing(place: Any, lie: str) -> None:
    xorb = Made(parts(1))
    send(place.services.xet, xorb, place.ann.user_id)
    before, files = place.counts(), place.files("pool", "staged", "incoming")
    with pytest.raises(Invalid) as caught:
        register(place.services.xet, place.public.id, place.ann.user_id, lies(xorb)[lie])

    assert len(caught.value.message) > 20
    assert place.counts() == before
    assert place.files("pool", "staged", "incoming") == files


def test_one_liar_among_files_takes_nothing_into_the_repository(place: Any) -> None:
    xorb = Made(parts(1))
    send(place.services.xet, xorb, place.ann.user_id)
    with pytest.raises(Invalid):
        register(place.services.xet, place.public.id, place.ann.user_id, told(xorb.of(0, 3)), lies(xorb)["another SHA-256"])

    assert place.counts()["lfs_objects"] == place.counts()["xet_files"] == 0
    assert place.files("incoming") == []


def test_a_known_file_under_a_false_sha256(place: Any) -> None:
    xorb, other = Made(parts(1)), Made(parts(2))
    for made in (xorb, other):
        send(place.services.xet, made, place.ann.user_id)
        register(place.services.xet, place.public.id, place.ann.user_id, told(made.of(0, 3)))
    for sha256 in ("ab" * 32, told(other.of(0, 3)).sha256):
        with pytest.raises(Invalid):
            register(place.services.xet, place.private.id, place.ann.user_id, told(xorb.of(0, 3), sha256=sha256))

    assert place.counts()["lfs_objects"] == 2


def test_a_xorb_under_a_false_name(place: Any) -> None:
    good, other = Made(parts(1)), Made(parts(2))
    upload = place.services.xet.receive()
    upload.feed([good.body])
    with pytest.raises(Invalid, match="Send it again"):
        upload.finish(other.name, place.ann.user_id)
    upload.abort()

    assert place.files("staged", "incoming") == []
    assert sum(place.counts().values()) == 0


def test_a_file_over_the_limit(place: Any) -> None:
    ingest = place.ingest(lfs_object_bytes=2000)
    xorb = Made(parts(1))
    send(ingest, xorb, place.ann.user_id)
    with pytest.raises(TooLarge, match="limit of 2000"):
        register(ingest, place.public.id, place.ann.user_id, told(xorb.of(0, 3)))
    register(ingest, place.public.id, place.ann.user_id, told(xorb.of(0, 1)))


def test_a_repository_deleted_meanwhile(place: Any) -> None:
    xorb = Made(parts(1))
    send(place.services.xet, xorb, place.ann.user_id)
    files = place.services.xet.read(shard(told(xorb.of(0, 3))), place.ann.user_id)
    place.services.repos.delete(place.public)
    with pytest.raises(RepoNotFound):
        place.services.xet.register(place.public.id, place.ann.user_id, files, lambda done: None)

    assert place.counts()["xet_places"] == place.counts()["xet_files"] == 0
    register(place.services.xet, place.private.id, place.ann.user_id, told(xorb.of(0, 3)))
    assert place.staged() == []


def age(place: Any, days: int) -> None:
    """As if every xorb had been sent that many days earlier."""
    sql = "UPDATE xet_xorbs SET created_at = created_at - :age"
    place.services.database.write(lambda tx: tx.run(sql, {"age": days * DAY}))


def test_what_no_shard_used_expires(place: Any) -> None:
    old, young = Made(parts(1)), Made(parts(2))
    send(place.services.xet, old, place.ann.user_id)
    age(place, 29)
    send(place.services.xet, young, place.ann.user_id)
    place.services.xet.expire()

    assert place.staged() == [young.name]
    assert place.counts()["xet_xorbs"] == place.counts()["xet_grants"] == 1
    with pytest.raises(Invalid, match=r"has expired\. Remove the folder xet"):
        register(place.services.xet, place.public.id, place.ann.user_id, told(old.of(0, 3)))
    send(place.services.xet, old, place.ann.user_id)
    register(place.services.xet, place.public.id, place.ann.user_id, told(old.of(0, 3)))
    assert place.has(place.public, b"".join(old.parts))


def test_what_is_used_in_part_expires_in_part(place: Any) -> None:
    xorb = Made(parts(1, 4))
    send(place.services.xet, xorb, place.ann.user_id)
    register(place.services.xet, place.public.id, place.ann.user_id, told(xorb.of(0, 2)))
    age(place, 29)
    place.services.xet.expire()
    assert place.staged() == []
    register(place.services.xet, place.private.id, place.ann.user_id, told(xorb.of(1, 2)))
    with pytest.raises(Invalid, match=r"Chunk 2 of xorb .* has expired\. Remove the folder xet"):
        register(place.services.xet, place.private.id, place.ann.user_id, told(xorb.of(1, 3)))
    assert not send(place.services.xet, xorb, place.ann.user_id)

    assert place.staged() == [xorb.name]
    register(place.services.xet, place.private.id, place.ann.user_id, told(xorb.of(0, 4)))
    assert place.staged() == []
    assert place.has(place.private, b"".join(xorb.parts))


def test_nobody_is_told_of_a_xorb_that_expired_in_part(place: Any) -> None:
    """A client that trusts the answer sends none of the chunks that are gone, and could never upload such a file again."""
    xorb = Made((eligible(1), *parts(1, 3)))
    send(place.services.xet, xorb, place.ann.user_id)
    register(place.services.xet, place.public.id, place.ann.user_id, told(xorb.of(0, 2)))
    chunk = to_text(chunk_hash(xorb.parts[0]))
    assert place.services.xet.index.grant_readable(place.ann, chunk).hash == xorb.name
    age(place, 29)
    place.services.xet.expire()

    assert place.services.xet.index.grant_readable(place.ann, chunk) is None


def test_what_is_sent_again_begins_its_time_anew(place: Any) -> None:
    """Clients remember for three weeks what they sent, whoever sent it first."""
    xorb = Made(parts(1))
    send(place.services.xet, xorb, place.ann.user_id)
    age(place, 27)
    send(place.services.xet, xorb, place.bob.user_id)
    age(place, 2)
    place.services.xet.expire()

    register(place.services.xet, place.bobs.id, place.bob.user_id, told(xorb.of(0, 3)))


def test_what_is_in_the_pool_whole_never_expires(place: Any) -> None:
    xorb = Made(parts(1))
    send(place.services.xet, xorb, place.ann.user_id)
    register(place.services.xet, place.public.id, place.ann.user_id, told(xorb.of(0, 3)))
    age(place, 400)
    place.services.xet.expire()
    register(place.services.xet, place.private.id, place.ann.user_id, told(xorb.of(1, 3)))

    assert place.has(place.private, xorb.of(1, 3).data)


def test_one_xorb_named_very_often_leaves_few_rows(place: Any) -> None:
    """Places are read whole whenever anybody refers to the xorb: a shard must not make any number of them."""
    xorb = Made(parts(1, 8, 50))
    send(place.services.xet, xorb, place.ann.user_id)
    source = random.Random(1)
    starts = [source.randrange(8) for _ in range(2000)]
    register(place.services.xet, place.public.id, place.ann.user_id, told(*[xorb.of(at, source.randrange(at, 8) + 1) for at in starts]))

    assert place.counts()["xet_places"] <= 8
    assert place.staged() == []


def test_a_shard_may_not_name_chunks_without_end(place: Any) -> None:
    """A small shard over one small xorb must not keep a core busy for hours, nor fill the memory with chunks."""
    ingest = place.ingest(xet_shard_chunks=1000)
    xorb = Made(parts(1, 100, 1))
    send(ingest, xorb, place.ann.user_id)
    started = time.monotonic()
    with pytest.raises(TooLarge, match="more than 1000 chunks"):
        ingest.read(shard(told(*[xorb.of(0, 100)] * 11)), place.ann.user_id)

    assert time.monotonic() - started < 10
    assert len(ingest.read(shard(told(*[xorb.of(0, 100)] * 10)), place.ann.user_id)) == 1

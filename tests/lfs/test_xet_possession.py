"""I7 for Xet: knowing a hash grants nothing. And I4: whatever is cut short can be done again, by anybody, at the same time."""

import random
import threading
import tracemalloc
from array import array
from collections.abc import Sequence
from typing import Any

import pytest

from lfs.xet.hashes import Chunks, chunk_hash, file_hash, range_hash, to_text
from lfs.xet.index import FindXorb, XetIndex, Xorb
from lfs.xet.shard import ShardFile
from storage.errors import HubError, Invalid, Unavailable
from storage.records import Repo
from tests.lfs.xetmaker import Made, Told, eligible, parts, register, send, shard, told


def text_of(xorb: Made, index: int) -> str:
    return to_text(chunk_hash(xorb.parts[index]))


def upload(place: Any, xorb: Made, repo: Repo) -> None:
    """All of the xorb as one file of Ann's."""
    send(place.services.xet, xorb, place.ann.user_id)
    register(place.services.xet, repo.id, place.ann.user_id, told(xorb.of(0, len(xorb.parts))))


def test_the_xorb_of_somebody_else(place: Any) -> None:
    """Bob knows every hash, and gets the words for a xorb that nobody has."""
    xorb, absent = Made(parts(1)), Made(parts(2))
    upload(place, xorb, place.private)
    refusals = []
    for made in (xorb, absent):
        with pytest.raises(Invalid) as caught:
            register(place.services.xet, place.bobs.id, place.bob.user_id, told(made.of(0, 3)))
        refusals.append(caught.value.message.replace(made.name, "X"))

    assert refusals[0] == refusals[1]
    assert not place.has(place.bobs, b"".join(xorb.parts))


def test_he_may_once_he_sent_it(place: Any) -> None:
    xorb = Made(parts(1))
    upload(place, xorb, place.private)
    send(place.services.xet, xorb, place.bob.user_id)
    register(place.services.xet, place.bobs.id, place.bob.user_id, told(xorb.of(1, 3)))

    assert place.has(place.bobs, xorb.of(1, 3).data)
    assert place.staged() == []


def test_both_sent_it_and_one_xorb_is_kept(place: Any) -> None:
    xorb = Made(parts(1))
    for person in (place.ann, place.bob, place.bob):
        send(place.services.xet, xorb, person.user_id)
    assert place.staged() == [xorb.name]
    assert place.counts()["xet_grants"] == 2
    register(place.services.xet, place.bobs.id, place.bob.user_id, told(xorb.of(0, 3)))
    register(place.services.xet, place.private.id, place.ann.user_id, told(xorb.of(0, 3)))

    assert place.staged() == []
    assert place.has(place.private, b"".join(xorb.parts))


def test_nobody_learns_whether_others_have_what_he_sends(place: Any) -> None:
    """`was_inserted` says the same for what only Ann has in private and for what nobody has."""
    staged, placed, absent = Made(parts(1)), Made(parts(2)), Made(parts(3))
    send(place.services.xet, staged, place.ann.user_id)
    upload(place, placed, place.private)

    assert [send(place.services.xet, xorb, place.bob.user_id) for xorb in (staged, placed, absent)] == [True] * 3
    assert [send(place.services.xet, xorb, place.bob.user_id) for xorb in (staged, placed, absent)] == [False] * 3


def test_chunks_of_a_private_repository_are_not_found(place: Any) -> None:
    xorb = Made((eligible(1), *parts(1)))
    upload(place, xorb, place.private)
    index = place.services.xet.index

    assert index.grant_readable(place.bob, text_of(xorb, 0)) is None
    assert index.grant_readable(place.ann, text_of(xorb, 0)).hash == xorb.name
    assert place.counts()["xet_grants"] == 1


def test_a_staged_xorb_is_not_found_by_others(place: Any) -> None:
    xorb = Made((eligible(1), *parts(1)))
    send(place.services.xet, xorb, place.ann.user_id)

    assert place.services.xet.index.grant_readable(place.bob, text_of(xorb, 0)) is None


def test_who_may_read_all_chunks_is_told_and_may_refer(place: Any) -> None:
    xorb = Made((eligible(1), *parts(1)))
    upload(place, xorb, place.public)
    with pytest.raises(Invalid):
        register(place.services.xet, place.bobs.id, place.bob.user_id, told(xorb.of(0, 4)))
    assert place.services.xet.index.grant_readable(place.bob, text_of(xorb, 0)).hash == xorb.name
    register(place.services.xet, place.bobs.id, place.bob.user_id, told(xorb.of(2, 4)))

    assert place.has(place.bobs, xorb.of(2, 4).data)


def test_who_may_read_only_some_of_the_chunks_is_not_told(place: Any) -> None:
    """The xorb's list of chunks, and its other chunks, belong to a private repository."""
    xorb = Made((eligible(1), *parts(1)))
    send(place.services.xet, xorb, place.ann.user_id)
    register(place.services.xet, place.public.id, place.ann.user_id, told(xorb.of(0, 2)))
    register(place.services.xet, place.private.id, place.ann.user_id, told(xorb.of(2, 4)))
    assert place.services.xet.index.grant_readable(place.bob, text_of(xorb, 0)) is None
    register(place.services.xet, place.public.id, place.ann.user_id, told(xorb.of(2, 4)))

    assert place.services.xet.index.grant_readable(place.bob, text_of(xorb, 0)).hash == xorb.name


def test_a_deleted_repository_shows_nothing(place: Any) -> None:
    xorb = Made((eligible(1), *parts(1)))
    upload(place, xorb, place.public)
    place.services.repos.delete(place.public)

    assert place.services.xet.index.grant_readable(place.bob, text_of(xorb, 0)) is None


def test_only_eligible_and_first_chunks_are_found(place: Any) -> None:
    xorb = Made((*parts(1, 2), eligible(1), *parts(2, 1)))
    upload(place, xorb, place.private)
    found = [place.services.xet.index.grant_readable(place.ann, text_of(xorb, index)) is not None for index in range(4)]

    assert found == [True, False, True, False]


class PowerCut(BaseException):
    """Nothing catches it."""


class CutAtRow(XetIndex):
    def add(self, xorb: Xorb, user_id: int) -> Xorb:
        raise PowerCut


class CutAtSettle(XetIndex):
    def settle(self, repo_id: str, files: Sequence[ShardFile], find: FindXorb) -> list[str]:
        raise PowerCut


class CutAfterSettle(XetIndex):
    def settle(self, repo_id: str, files: Sequence[ShardFile], find: FindXorb) -> list[str]:
        super().settle(repo_id, files, find)
        raise PowerCut


def test_cut_between_staged_bytes_and_their_row(place: Any) -> None:
    xorb = Made(parts(1))
    with pytest.raises(PowerCut):
        send(place.ingest(CutAtRow(place.services.database)), xorb, place.ann.user_id)
    assert place.staged() == [xorb.name]
    assert place.counts()["xet_xorbs"] == 0
    upload(place, xorb, place.public)

    assert place.has(place.public, b"".join(xorb.parts))
    assert place.staged() == []


def test_a_xorb_that_expires_while_it_is_sent_again(place: Any) -> None:
    """Else its row would promise bytes that are gone, and every shard over it would wait for them."""

    class ExpiresFirst(XetIndex):
        def add(self, xorb: Xorb, user_id: int) -> Xorb:
            place.services.xet.expire()
            return super().add(xorb, user_id)

    xorb = Made(parts(1))
    send(place.services.xet, xorb, place.ann.user_id)
    sql = "UPDATE xet_xorbs SET created_at = 0"
    place.services.database.write(lambda tx: tx.run(sql))
    with pytest.raises(Unavailable, match="Send it once more"):
        send(place.ingest(ExpiresFirst(place.services.database)), xorb, place.ann.user_id)
    upload(place, xorb, place.public)

    assert place.has(place.public, b"".join(xorb.parts))
    assert place.staged() == []


@pytest.mark.parametrize("cut", [CutAtSettle, CutAfterSettle])
def test_cut_around_the_rows_of_a_file(place: Any, cut: type[XetIndex]) -> None:
    xorb = Made(parts(1))
    send(place.services.xet, xorb, place.ann.user_id)
    with pytest.raises(PowerCut):
        register(place.ingest(cut(place.services.database)), place.public.id, place.ann.user_id, told(xorb.of(0, 3)))
    assert len(place.files("pool")) == 1
    upload(place, xorb, place.public)

    assert place.has(place.public, b"".join(xorb.parts))
    assert place.staged() == []
    assert place.files("incoming") == []


def at_once(*jobs: Any) -> None:
    """Run each in a thread, all released together; what one raises is raised here."""
    barrier, raised = threading.Barrier(len(jobs)), []

    def run(job: Any) -> None:
        barrier.wait(30)
        try:
            job()
        except (HubError, OSError) as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


@pytest.mark.parametrize("turn", range(6))
def test_two_shards_take_one_staged_xorb_at_once(place: Any, turn: int) -> None:
    xorb = Made(parts(turn, 12, 100_000))
    send(place.services.xet, xorb, place.ann.user_id)
    wanted = {place.public.id: told(xorb.of(0, 12)), place.private.id: told(xorb.of(3, 12), xorb.of(0, 5))}
    at_once(*[lambda repo=repo, file=file: register(place.services.xet, repo, place.ann.user_id, file) for repo, file in wanted.items()])

    assert place.has(place.public, xorb.of(0, 12).data)
    assert place.has(place.private, xorb.of(3, 12).data + xorb.of(0, 5).data)
    assert place.staged() == []


def test_a_xorb_that_moves_into_the_pool_while_it_is_sent_again(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    xorb = Made(parts(1, 4, 100_000))
    index = place.services.xet.index
    send(place.services.xet, xorb, place.ann.user_id)

    def add(*arguments: Any) -> Any:
        noted = XetIndex.add(index, *arguments)
        register(place.services.xet, place.private.id, place.ann.user_id, told(xorb.of(0, 4)))
        return noted

    monkeypatch.setattr(index, "add", add)
    send(place.services.xet, xorb, place.bob.user_id)

    monkeypatch.undo()
    register(place.services.xet, place.bobs.id, place.bob.user_id, told(xorb.of(0, 4)))
    assert place.has(place.bobs, xorb.of(0, 4).data)
    assert place.staged() == []


def test_many_send_and_register_the_same_xorb_at_once(place: Any) -> None:
    xorb = Made(parts(1, 4, 100_000))

    def whole(person: Any, repo: Any) -> None:
        send(place.services.xet, xorb, person.user_id)
        register(place.services.xet, repo.id, person.user_id, told(xorb.of(0, 4)))

    at_once(*[lambda who=who, repo=repo: whole(who, repo) for who, repo in ((place.ann, place.private), (place.bob, place.bobs)) * 3])

    assert place.has(place.private, xorb.of(0, 4).data)
    assert place.has(place.bobs, xorb.of(0, 4).data)
    assert place.staged() == []
    assert place.files("incoming") == []


def test_a_shard_over_many_xorbs_holds_few_of_them(place: Any) -> None:
    """Each list of 8192 chunks is 300 KB: a shard may name hundreds of thousands of xorbs."""
    source, runs, terms = random.Random(1), [], []
    for _ in range(200):
        chunks = Chunks(source.randbytes(32 * 8192), array("I", [1]) * 8192)
        value = source.randbytes(32)
        place.services.xet.index.add(Xorb(to_text(value), chunks, True), place.ann.user_id)
        runs.append(chunks[5:6])
        terms.append((value, 1, 5, 6))
    body = shard(Told(file_hash(runs), "ab" * 32, tuple(terms), tuple(range_hash(run) for run in runs)))
    tracemalloc.start()
    try:
        assert len(place.services.xet.read(body, place.ann.user_id)) == 1
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()

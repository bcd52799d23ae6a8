"""Deltas of our own: what dulwich makes of them, and that nobody can make them expensive."""

import random
from collections.abc import Callable

import pytest
from dulwich.pack import apply_delta

from gitserver.maintenance import delta as delta_module
from gitserver.maintenance.delta import make_delta

_NO_LIMIT = 1 << 40


def made(base: bytes, target: bytes, limit: int = _NO_LIMIT) -> bytes:
    delta = make_delta(base, target, limit)
    assert delta is not None
    assert b"".join(apply_delta(base, delta)) == target
    return delta


def edited(rng: random.Random, base: bytes) -> bytes:
    """Some pieces changed, removed, put in, doubled or moved."""
    pieces = [base[at : at + 50] for at in range(0, len(base), 50)]
    for _ in range(rng.randrange(6)):
        at = rng.randrange(len(pieces) + 1)
        change = rng.randrange(4)
        if change == 0:
            pieces.insert(at, rng.randbytes(rng.randrange(80)))
        elif change == 1:
            del pieces[at : at + rng.randrange(5)]
        elif change == 2:
            pieces[at:at] = pieces[: rng.randrange(10)]
        else:
            rng.shuffle(pieces)
    return b"".join(pieces)


@pytest.mark.parametrize("seed", range(300))
def test_random_edits(seed: int) -> None:
    rng = random.Random(seed)
    alphabet = bytes(range(rng.choice((1, 2, 4, 256))))
    base = bytes(rng.choices(alphabet, k=rng.choice((0, 1, 15, 16, 17, 40, 700, 5000))))

    made(base, edited(rng, base))
    made(base, bytes(rng.choices(alphabet, k=rng.randrange(300))))


def test_what_is_the_same_is_copied() -> None:
    base = random.Random(1).randbytes(300_000)

    assert len(made(base, base)) < 20
    assert len(made(base, base[:1000] + b"x" + base[1000:])) < 40
    assert len(made(base, base[200_000:] + base[:200_000])) < 60  # moved
    assert len(made(base, b"".join(base[at : at + 1000] for at in range(299_000, 0, -1000)))) < 299 * 12
    assert len(made(base, base[:100_000] + base[200_000:])) < 40


def test_long_copies_and_far_offsets() -> None:
    base = bytes(20_000_000) + random.Random(2).randbytes(1000)
    target = base[-1000:] + base[:-1000]

    assert len(made(base, target)) < 60
    made(bytes(0x10000) + b"a" * 0x10000 + b"b", b"a" * 0x10000 + bytes(0x10000))


def test_over_the_limit_there_is_none() -> None:
    rng = random.Random(3)
    base, target = rng.randbytes(10_000), rng.randbytes(10_000)
    exact = len(made(base, target))

    assert make_delta(base, target, exact - 1) is None
    assert len(made(base, target, exact)) == exact
    assert make_delta(base, target, 100) is None


def block_heavy(size: int) -> bytes:
    """Equal blocks with a rare other byte, so that each match is tried and each ends early."""
    return (b"\0" * 15 + b"\1" + b"\0" * 16) * (size // 32)


HOSTILE: dict[str, Callable[[int], tuple[bytes, bytes]]] = {
    "equal bytes": lambda size: (bytes(size), b"\1" + bytes(size) + b"\1"),
    "equal blocks, each different behind": lambda size: (block_heavy(size), b"\2" + b"\0" * size + b"\2"),
    "a match at every place, one block long": lambda size: (
        b"".join(b"%015d|" % (number % 7) for number in range(size // 16)),
        b"?".join(b"%015d|" % (number % 7) for number in range(size // 17)),
    ),
    "nothing in common": lambda size: (random.Random(4).randbytes(size), random.Random(5).randbytes(size)),
    "halves that repeat": lambda size: (b"ab" * (size // 2), b"ba" * (size // 2) + b"aab" * 100),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_work_is_linear(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in comparisons, each of which costs what it finds: twice the input makes about twice the work."""
    done = [0]

    def counted(one: bytes, at: int, other: bytes, there: int, most: int) -> int:
        length = common(one, at, other, there, most)
        done[0] += 64 + length
        return length

    common = delta_module._common
    monkeypatch.setattr(delta_module, "_common", counted)
    work = []
    for size in (40_000, 80_000, 160_000):
        done[0] = 0
        base, target = HOSTILE[name](size)
        made(base, target)
        work.append(done[0])

    assert work[1] <= 2.5 * work[0] + 10_000
    assert work[2] <= 2.5 * work[1] + 10_000
    assert work[2] < 160_000 * 30

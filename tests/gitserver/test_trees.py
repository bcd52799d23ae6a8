"""Trees that came as deltas get the verdict that they get whole, whatever the delta copies."""

import random

import pytest

from gitserver.maintenance.delta import make_delta
from gitserver.receive import trees as trees_module
from gitserver.receive.patch import Patch, read_sizes
from gitserver.receive.trees import TreeCheck
from gitserver.receive.verdict import Judge, References
from storage.errors import BadPack
from storage.limits import Limits
from storage.records import Oid

BASE, OTHER = b"\x01" * 20, b"\x02" * 20
NAMES = [b"a", b"a.b", b"a0", b"ab", b"b", b"foo", b"foo.txt", b"foo0", b"g", b"zoo", *(b"name-%d" % number for number in range(40))]


@pytest.fixture(autouse=True)
def _small_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees_module, "_LEAST_KEPT", 0)


def entry(dice: random.Random, name: bytes) -> bytes:
    mode = dice.choice((b"100644", b"100644", b"100755", b"40000", b"160000"))
    return mode + b" " + name + b"\0" + bytes([dice.randrange(1, 4)]) * 17 + dice.randbytes(3)


def key(line: bytes) -> bytes:
    name = line.split(b" ", 1)[1].split(b"\0", 1)[0]
    return name + b"/" if line.startswith(b"4") else name


def joined(lines: list[bytes]) -> bytes:
    ordered: list[bytes] = sorted(lines, key=key)
    return b"".join(ordered)


def edited(dice: random.Random, lines: list[bytes]) -> bytes:
    """Another version: most of them good, some of them out of order, doubled, of a name twice, cut off or no entries at all."""
    lines = list(lines)
    for _ in range(dice.randrange(4)):
        place = dice.randrange(len(lines))
        change = dice.randrange(3)
        if change == 0:
            lines[place] = entry(dice, key(lines[place]).rstrip(b"/"))
        elif change == 1:
            del lines[place : place + dice.randrange(1, 3)]
        else:
            lines.append(entry(dice, dice.choice(NAMES)))
        if not lines:
            return b""
    data = joined(lines)
    damage = dice.randrange(12)
    if damage == 0:
        place = dice.randrange(len(data))
        return data[:place] + dice.randbytes(dice.randrange(3)) + data[place + dice.randrange(3) :]
    if damage == 1:
        dice.shuffle(lines)
        return b"".join(lines)
    if damage == 2:
        return joined([*lines, dice.choice(lines)])
    return data[: dice.randrange(len(data))] if damage == 3 else data


def copied(place: int, size: int) -> bytes:
    """A copy without the bytes that are zero."""
    values = [*place.to_bytes(4, "little"), *(b"\0\0\0" if size == 0x10000 else size.to_bytes(3, "little"))]
    return bytes([0x80 | sum(1 << bit for bit, value in enumerate(values) if value), *filter(None, values)])


def any_delta(dice: random.Random, base: bytes, data: bytes) -> bytes:
    """Copies of any places that happen to hold the right bytes, not only of those that a good packer would take."""
    head = make_delta(base, data, 1 << 20)
    assert head is not None
    sizes = read_sizes(head, 0)
    out, at = bytearray(head[: sizes.end]), 0
    while at < len(data):
        size = min(dice.choice((1, 3, 20, 40, 100)), len(data) - at)
        place = base.find(data[at : at + size])
        if place >= 0 and dice.random() < 0.9:
            out += copied(place, size)
        else:
            size = min(size, 127)
            out += bytes([size]) + data[at : at + size]
        at += size
    return bytes(out)


def verdict(base: bytes, data: bytes, patch: Patch | None) -> tuple[str, References]:
    """The fault of `data` after `base`, or what both name."""
    trees, references = checker()
    trees.check(BASE, base, None)
    try:
        trees.check(OTHER, data, patch)
    except BadPack as error:
        return error.message, References()
    return "", references


def checker() -> tuple[TreeCheck, References]:
    references = References()
    return TreeCheck(Limits(), Judge(), references), references


@pytest.mark.parametrize("seed", range(20))
def test_a_delta_changes_no_verdict(seed: int) -> None:
    dice = random.Random(seed)
    good = bad = 0
    for _ in range(200):
        lines = [entry(dice, name) for name in dice.sample(NAMES, dice.randrange(1, len(NAMES)))]
        base, data = joined(lines), edited(dice, lines)
        delta = any_delta(dice, base, data) if dice.random() < 0.5 else make_delta(base, data, 1 << 20)
        assert delta is not None
        patch = Patch(BASE, delta, read_sizes(delta, 0).end)

        told, expected = verdict(base, data, patch), verdict(base, data, None)

        for copy in patch.copies():
            assert data[copy.at : copy.at + copy.size] == base[copy.offset : copy.offset + copy.size]
        assert bool(told[0]) == bool(expected[0]), (told, expected, base, data, delta)
        assert told[1] == expected[1]
        good, bad = good + (not told[0]), bad + bool(told[0])
    assert good > 50
    assert bad > 20


def tree_of(count: int, first: Oid = b"\x09" * 20) -> bytes:
    return b"".join(b"100644 file-%06d\0" % number + (first if number == 0 else b"\x08" * 20) for number in range(count))


def test_what_is_kept_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base that was forgotten costs only time."""
    monkeypatch.setattr(trees_module, "_MOST_KEPT", 10_000)
    monkeypatch.setattr(trees_module, "_MOST_JUDGED", 1000)
    trees, names = checker()
    before = tree_of(40)
    trees.check(BASE, before, None)
    for number in range(20):
        trees.check(OTHER[:19] + bytes([number]), tree_of(40, b"\x07" * 19 + bytes([number])), None)
        trees.check(OTHER[:19] + bytes([number]), tree_of(40, b"\x07" * 19 + bytes([number])), None)
    after = tree_of(40, b"\x0a" * 20)
    delta = make_delta(before, after, 1 << 20)
    assert delta is not None
    trees.check(OTHER, after, Patch(BASE, delta, read_sizes(delta, 0).end))

    assert b"\x0a" * 20 in names.blobs
    assert len(names.blobs) == 23


@pytest.mark.timeout(20)
@pytest.mark.parametrize("data", [b"1" * 1_000_000, b"1 " * 500_000, b"100644 a\0" + b"\x01" * 20 + b"7 " * 500_000])
def test_what_is_no_tree_is_refused_at_once(data: bytes) -> None:
    trees, _ = checker()
    with pytest.raises(BadPack, match="badTree"):
        trees.check(BASE, data, None)


@pytest.mark.timeout(20)
def test_a_number_without_an_end() -> None:
    sizes = read_sizes(b"\xff" * 4_000_000, 0)
    assert sizes.base > 1 << 63


def test_of_very_many_copies_the_rest_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees_module, "_MOST_COPIES", 7)
    base, data = tree_of(40), tree_of(41)
    trees, names = checker()
    trees.check(BASE, base, None)
    delta = any_delta(random.Random(1), base, data)
    trees.check(OTHER, data, Patch(BASE, delta, read_sizes(delta, 0).end))
    assert names.blobs == {b"\x08" * 20, b"\x09" * 20}

"""What differs between two large trees, found without parsing what they share."""

import random
from typing import Any

from gitserver.history.middles import TreeMiddles
from gitserver.objects.parse import TREE_ENTRIES


class Stored(dict[bytes, bytes]):
    def tree_data(self, oid: bytes) -> bytes:
        return self[oid]


def test_s1_the_middles_hold_all_that_differs() -> None:
    dice = random.Random(1)
    odd = (b"40000 a\0", b"100644 b\0" + b"100644 c\0", bytes(20))  # ids that read like entries, and what they share with others
    names = {b"%05d%s" % (number, b"x" * dice.randrange(5)): dice.randbytes(20) for number in range(400)}
    stored, tips = Stored(), [b""]
    for step in range(300):
        for _ in range(dice.randrange(4)):
            name = dice.choice([*names, b"%05d" % dice.randrange(900)])
            if dice.random() < 0.3:
                names.pop(name, None)
            else:
                names[name] = (dice.choice(odd) + dice.randbytes(20))[:20] if dice.random() < 0.5 else dice.choice([*names.values()])
        tips.append(b"%d" % step)
        stored[tips[-1]] = b"".join(b"100644 %s\0%s" % item for item in sorted(names.items()))
    middles = TreeMiddles(_objects(stored))
    for at in range(2, len(tips)):
        for one, other in ((tips[at], tips[at - 1]), (tips[dice.randrange(1, at + 1)], tips[at])):
            here, there = (frozenset(TREE_ENTRIES.findall(data)) for data in middles.middles(one, other))
            whole, beside = (frozenset(TREE_ENTRIES.findall(stored[oid])) for oid in (one, other))
            assert (here - there, there - here) == (whole - beside, beside - whole)


def _objects(stored: Stored) -> Any:
    return stored

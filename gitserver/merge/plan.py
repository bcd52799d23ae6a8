"""Which packs are merged next. Packs stand in tiers by their number of objects, each sixteen times the one below.

Sixteen packs of a tier become one of the next: a repository has some dozens of small packs, and an object is copied once a tier.
"""

from collections.abc import Sequence

from storage.limits import Limits
from storage.records import PackInfo

FULL = 16  # so many packs of one tier are merged; also the ratio of two tiers
_SUM = 8  # one merge takes at most so many times what a small pack may be


def choose(packs: Sequence[PackInfo], limits: Limits) -> list[PackInfo]:
    """The packs of the lowest full tier, oldest first; none when no tier is full. `packs` are as listed, newest first."""
    tiers: dict[int, list[PackInfo]] = {}
    for pack in reversed(packs):
        if pack.size <= limits.small_pack_bytes and pack.objects <= limits.small_pack_objects:
            tiers.setdefault(_tier(pack.objects), []).append(pack)
    full = [tier for tier, members in tiers.items() if len(members) >= FULL]
    return _bounded(tiers[min(full)], limits) if full else []


def _tier(objects: int) -> int:
    tier = 0
    while objects >= FULL:
        objects //= FULL
        tier += 1
    return tier


def _bounded(packs: Sequence[PackInfo], limits: Limits) -> list[PackInfo]:
    """The first of `packs`, as many as one merge may hold; never fewer than eight, if there are so many."""
    size = objects = 0
    for count, pack in enumerate(packs):
        size += pack.size
        objects += pack.objects
        if size > limits.small_pack_bytes * _SUM or objects > limits.small_pack_objects * _SUM:
            return list(packs[:count])
    return list(packs)

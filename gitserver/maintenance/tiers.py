"""Which packs are merged next. Packs stand in tiers by their number of objects, each sixteen times the one below.

Sixteen packs of a tier become one of the next: a repository has some dozens of small packs, and an object is copied once a tier. When what
lies beside the largest pack has become a good part of it, all become one.
"""

from collections.abc import Sequence

from storage.limits import Limits
from storage.records import PackInfo

FULL = 16  # so many packs of one tier are merged; also the ratio of two tiers
_PART = 4  # a whole repack when what it adds is this part of what is there
_SUM = 8  # one merge takes at most so many times what a small pack may be


def choose(packs: Sequence[PackInfo], limits: Limits) -> list[PackInfo]:
    """The packs of the lowest full tier, oldest first; none when no tier is full. `packs` are as listed, newest first."""
    tiers: dict[int, list[PackInfo]] = {}
    for pack in reversed(packs):
        if pack.dead_since is None and pack.size <= limits.small_pack_bytes and pack.objects <= limits.small_pack_objects:
            tiers.setdefault(_tier(pack.objects), []).append(pack)
    full = [tier for tier, members in tiers.items() if len(members) >= FULL]
    return _bounded(tiers[min(full)], limits) if full else []


def wants_whole(packs: Sequence[PackInfo], limits: Limits) -> bool:
    """Whether joining all packs is worth copying them."""
    packs = [pack for pack in packs if is_copied(pack, limits) and pack.dead_since is None]
    if len(packs) < 2:
        return False
    objects, sizes = [pack.objects for pack in packs], [pack.size for pack in packs]
    return _has_grown(objects, limits.whole_beside_objects) or _has_grown(sizes, limits.whole_beside_bytes)


def is_copied(pack: PackInfo, limits: Limits) -> bool:
    """Packs of great blobs are not copied again and again."""
    return pack.size <= limits.whole_pack_bytes


def _has_grown(numbers: Sequence[int], least: int) -> bool:
    largest = max(numbers)
    return sum(numbers) - largest >= max(largest // _PART, least)


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

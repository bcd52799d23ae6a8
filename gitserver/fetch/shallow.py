"""Where a client's history ends, and where it shall end after this fetch (deepen, deepen-since, deepen-not)."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gitserver.fetch.graph import Difference, unreachable
from gitserver.objects import Objects
from gitserver.parse import CommitNode
from storage.errors import Invalid
from storage.records import Oid

INFINITE_DEPTH = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Deepen:
    """What the client asked for; at most one of depth and the other two."""

    depth: int = 0
    is_relative: bool = False
    since: int | None = None
    excluded: tuple[Oid, ...] = ()

    @property
    def is_asked(self) -> bool:
        return self.depth > 0 or self.since is not None or bool(self.excluded)


@dataclass(frozen=True, slots=True)
class ShallowPlan:
    """`shallow` and `unshallow` go to the client; `cut` are the commits sent without parents; `extra` must be sent too."""

    shallow: tuple[Oid, ...] = ()
    unshallow: tuple[Oid, ...] = ()
    cut: frozenset[Oid] = frozenset()
    client: frozenset[Oid] = frozenset()
    extra: tuple[Oid, ...] = ()


def plan_shallow(objects: Objects, deepen: Deepen, wants: Sequence[Oid], client: AbstractSet[Oid]) -> ShallowPlan:
    """`wants` are commits; `client` are the client's shallow commits that this repository has."""
    if not deepen.is_asked:
        return ShallowPlan(cut=frozenset(client), client=frozenset(client))
    if deepen.depth >= INFINITE_DEPTH:
        inside, boundary = set(client), set[Oid]()
    elif deepen.depth:
        inside, boundary = _by_depth(objects, deepen, wants, client)
    else:
        inside, boundary = _by_list(objects, deepen, wants)
    unshallow = tuple(sorted(oid for oid in client if oid in inside))
    cut = frozenset((client - set(unshallow)) | boundary)
    extra = tuple(parent for oid in unshallow for parent in objects.commit(oid).parents)
    return ShallowPlan(tuple(sorted(boundary - client)), unshallow, cut, frozenset(client), extra)


def _by_depth(objects: Objects, deepen: Deepen, wants: Sequence[Oid], client: AbstractSet[Oid]) -> tuple[set[Oid], set[Oid]]:
    """(commits that keep their parents, boundary). A root is never on the boundary: nothing is cut off there."""
    heads, depth = set(wants), deepen.depth
    if deepen.is_relative:
        heads, depth = set(client) - unreachable(objects, client, wants), depth + 1
    inside: set[Oid] = set()
    level = heads
    while level and depth > 1:
        inside |= level
        level = {parent for oid in level for parent in objects.commit(oid).parents} - inside
        depth -= 1
    boundary = {oid for oid in level if objects.commit(oid).parents}
    return inside | (level - boundary), boundary


def _by_list(objects: Objects, deepen: Deepen, wants: Sequence[Oid]) -> tuple[set[Oid], set[Oid]]:
    walk = Difference(objects)
    for _ in walk.run(wants, deepen.excluded):
        pass
    since = deepen.since or 0
    chosen: dict[Oid, CommitNode] = {node.oid: node for node in walk.commits if node.time >= since}
    if not chosen:
        raise Invalid("no commits selected for shallow requests: choose an earlier date or another revision.")
    boundary = {oid for oid, node in chosen.items() if any(parent not in chosen for parent in node.parents)}
    return set(chosen) - boundary, boundary

"""Where a client's history ends, and where it shall end after this fetch (deepen, deepen-since, deepen-not)."""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from gitserver.fetch.graph import unreachable
from gitserver.objects.parse import CommitNode
from gitserver.objects.store import Kind, Objects
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


def plan_shallow(objects: Objects, deepen: Deepen, wants: Sequence[Oid], client: AbstractSet[Oid], tips: Sequence[Oid] = ()) -> ShallowPlan:
    """`wants` are commits; `client` are the client's shallow commits that this repository has. A relative deepening starts at all of
    those that the commits `tips` of the refs lead to, wanted or not.
    """
    if not deepen.is_asked:
        return ShallowPlan(cut=frozenset(client), client=frozenset(client))
    if deepen.depth >= INFINITE_DEPTH:
        inside, boundary = set(client), set[Oid]()
    elif deepen.depth:
        heads, depth = set(wants), deepen.depth
        if deepen.is_relative:
            heads, depth = set(client) - unreachable(objects, client, tips), depth + 1
        inside, boundary = _by_depth(objects, heads, depth)
    else:
        inside, boundary = _by_list(objects, deepen, wants)
    unshallow = tuple(sorted(oid for oid in client if oid in inside))
    cut = frozenset((client - set(unshallow)) | boundary)
    extra = tuple(parent for oid in unshallow for parent in objects.commit(oid).parents)
    return ShallowPlan(tuple(sorted(boundary - client)), unshallow, cut, frozenset(client), extra)


def _by_depth(objects: Objects, heads: set[Oid], depth: int) -> tuple[set[Oid], set[Oid]]:
    """(commits that keep their parents, boundary). As with C git, a root that is met at the very depth is on the boundary too."""
    inside: set[Oid] = set()
    level = heads
    while level and depth > 1:
        inside |= level
        level = {parent for oid in level for parent in objects.commit(oid).parents} - inside
        depth -= 1
    return inside, level


def _by_list(objects: Objects, deepen: Deepen, wants: Sequence[Oid]) -> tuple[set[Oid], set[Oid]]:
    """(commits that keep their parents, boundary) of what leads from `wants`, and neither from what is excluded nor over an older one.

    All of it is walked, since clocks may be wrong. With both, what an older one leads to is left out altogether, as in C git.
    """
    out = _reachable(objects, [oid for oid in deepen.excluded if objects.header(oid)[0] is Kind.COMMIT])  # a tag may lead to a tree
    since = deepen.since or 0
    met = _reachable(objects, wants, lambda node: node.oid not in out and node.time >= since)
    chosen = {oid for oid in met if oid not in out and objects.commit(oid).time >= since}
    if deepen.excluded:
        chosen -= _reachable(objects, met - chosen - out)
    if not chosen:
        raise Invalid("no commits selected for shallow requests: choose an earlier date or another revision.")
    boundary = {oid for oid in chosen if any(parent not in chosen for parent in objects.commit(oid).parents)}
    return chosen - boundary, boundary


def _everything(node: CommitNode) -> bool:
    return True


def _reachable(objects: Objects, starts: Iterable[Oid], goes_on: Callable[[CommitNode], bool] = _everything) -> set[Oid]:
    """`starts` and all that they lead to; the parents of a commit are looked at where `goes_on` says so."""
    found = set(starts)
    stack = list(found)
    while stack:
        node = objects.commit(stack.pop())
        new = [parent for parent in node.parents if parent not in found] if goes_on(node) else []
        found.update(new)
        stack += new
    return found

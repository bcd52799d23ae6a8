"""Walks over commits: what is new to a client, what leads where. Newest first, so that the cost follows the change."""

import heapq
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Protocol

from gitserver.objects.parse import CommitNode, parse_tag_target
from gitserver.objects.store import Kind, Objects
from storage.errors import TooManyTags
from storage.records import Oid

TICK = 512  # steps between two signs of life of a long walk
DEEPEST_TAG = 64


def peel(objects: Objects, oid: Oid) -> tuple[list[Oid], Oid, Kind]:
    """The tag objects from `oid` on, then what they lead to and its kind. Raises ObjectNotFound, and TooManyTags."""
    tags: list[Oid] = []
    kind, _ = objects.header(oid)
    while kind is Kind.TAG:
        if len(tags) >= DEEPEST_TAG:
            raise TooManyTags(f"Tag {tags[0].hex()} leads through more than {DEEPEST_TAG} tags.")
        tags.append(oid)
        oid, _ = parse_tag_target(objects.get(oid).data)
        kind, _ = objects.header(oid)
    return tags, oid, kind


class Commits(Protocol):
    """Where a walk reads commits."""

    def commit(self, oid: Oid) -> CommitNode:
        """Raises ObjectNotFound."""


class RevisionWalk:
    """Commits that lead from `wants` and not from `haves`; `commits` holds them, parents first, after `run` is exhausted.

    A commit in `cut` is sent without its parents (the new shallow boundary); one in `client_cut` is where the client's history ends.
    A wrong clock may leave a few commits in that the client has already; never one out that it lacks.
    """

    def __init__(self, objects: Commits, cut: AbstractSet[Oid] = frozenset(), client_cut: AbstractSet[Oid] = frozenset()) -> None:
        self._objects = objects
        self._cut = cut
        self._client_cut = client_cut
        self._heap: list[tuple[int, Oid, bool]] = []
        self._known: dict[Oid, bool] = {}  # True: the client has it
        self._open = 0
        self.commits: list[CommitNode] = []

    def run(self, wants: Iterable[Oid], haves: Iterable[Oid]) -> Iterator[int]:
        """Walk; yields the number of steps now and then."""
        for oid in haves:
            self._push(oid, True)
        for oid in wants:
            self._push(oid, False)
        new: list[CommitNode] = []
        oldest = 1 << 62
        steps = 0
        while self._heap and (self._open or -self._heap[0][0] >= oldest):
            node, known = self._pop()
            if known == self._known[node.oid]:
                if not known:
                    new.append(node)
                    oldest = min(oldest, node.time)
                ends = self._client_cut if known else self._cut
                for parent in () if node.oid in ends else node.parents:
                    self._push(parent, known)
            steps += 1
            if steps % TICK == 0:
                yield steps
        self.commits = [node for node in reversed(new) if not self._known[node.oid]]

    def has(self, oid: Oid) -> bool:
        """Whether the walk met `oid` as one that the client has."""
        return self._known.get(oid, False)

    def _push(self, oid: Oid, known: bool) -> None:
        if oid in self._known and (self._known[oid] or not known):
            return
        self._known[oid] = known
        self._open += not known
        heapq.heappush(self._heap, (-self._objects.commit(oid).time, oid, known))

    def _pop(self) -> tuple[CommitNode, bool]:
        _, oid, known = heapq.heappop(self._heap)
        self._open -= not known
        return self._objects.commit(oid), known


def unreachable(objects: Commits, wanted: AbstractSet[Oid], tips: Iterable[Oid]) -> set[Oid]:
    """Which commits of `wanted` do not lead from the commits `tips`; stops as soon as all are met."""
    missing = set(wanted)
    seen = set(tips)
    missing -= seen
    heap = [(-objects.commit(oid).time, oid) for oid in seen] if missing else []
    heapq.heapify(heap)
    while heap and missing:
        _, oid = heapq.heappop(heap)
        for parent in objects.commit(oid).parents:
            if parent not in seen:
                seen.add(parent)
                missing.discard(parent)
                heapq.heappush(heap, (-objects.commit(parent).time, parent))
    return missing


def all_lead_to(objects: Objects, wants: Iterable[Oid], haves: AbstractSet[Oid]) -> bool:
    """Whether every commit of `wants` leads to one of the commits `haves`: then there is nothing left to negotiate.

    Commits older than the oldest have are not looked at: a wrong clock costs a round, not correctness.
    """
    if not haves:
        return False
    limit = min(objects.commit(oid).time for oid in haves)
    leads: dict[Oid, bool] = dict.fromkeys(haves, True)
    return all(_leads(objects, want, leads, limit) for want in wants)


def _leads(objects: Objects, want: Oid, leads: dict[Oid, bool], limit: int) -> bool:
    """Depth first with memory; `leads` is complete for a commit once it left the stack."""
    stack = [want]
    while stack:
        oid = stack[-1]
        if leads.get(oid) is not None:
            stack.pop()
            continue
        node = objects.commit(oid)
        parents = node.parents if node.time >= limit else ()
        if any(leads.get(parent) for parent in parents):
            leads[oid] = True
        elif (todo := next((parent for parent in parents if parent not in leads), None)) is not None:
            stack.append(todo)
        else:
            leads[oid] = False
    return leads[want]

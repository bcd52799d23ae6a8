"""The pack that answers one fetch: its order, what is in it, and its bytes."""

import heapq
import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Protocol

from gitserver.fetch.closure import Closure
from gitserver.fetch.enumerate import Enumeration
from gitserver.fetch.filters import Filter
from gitserver.fetch.graph import TICK, RevisionWalk, peel
from gitserver.fetch.objectset import ObjectSet
from gitserver.fetch.packing import Packing, Piece, Rules
from gitserver.fetch.shallow import ShallowPlan
from gitserver.objects.marks import both
from gitserver.objects.reachability import Reach
from gitserver.objects.store import Kind, Objects
from storage.records import Oid
from storage.versions.base import Refs

_MOST_EDGES = 4
_NEAR = TICK  # a walk of fewer steps is no more work than to look up what is known ahead


@dataclass(frozen=True, slots=True)
class Wanted:
    """The wants, sorted out: commits to walk from, and what must be sent by itself."""

    commits: tuple[Oid, ...]
    tags: tuple[Oid, ...]
    trees: tuple[Oid, ...]
    blobs: tuple[Oid, ...]


@dataclass(frozen=True, slots=True)
class PackOrder:
    """All that decides what is in the pack."""

    wanted: Wanted
    common: tuple[Oid, ...]
    shallow: ShallowPlan
    filter: Filter
    include_tag: bool
    rules: Rules

    @property
    def is_plain(self) -> bool:
        """Whole histories, whole trees."""
        shallow = self.shallow
        return not (shallow.cut or shallow.client or shallow.extra) and self.filter.tree_depth is None


class OutgoingPack(Protocol):
    """A pack to be sent: `run` first (it yields numbers while it works), then the others."""

    @property
    def total(self) -> int:
        """How many objects the pack holds."""

    @property
    def rewritten(self) -> int:
        """How many of the objects sent so far were deflated anew."""

    def run(self) -> Iterator[int]: ...

    def pieces(self) -> Iterator[Piece]: ...


class PackJob:
    """Enumerate, then stream. `run` first (it yields object counts while it works), then `pieces`."""

    def __init__(self, objects: Objects, refs: Refs, order: PackOrder, haves: Sequence[Oid]) -> None:
        self._objects = objects
        self._refs = refs
        self._order = order
        self._wants = (*order.wanted.commits, *order.shallow.extra)
        self._haves = haves
        self._sent, self._known = ObjectSet(), ObjectSet()
        self._packing: Packing | None = None

    def run(self) -> Iterator[int]:
        order = self._order
        reach = self._objects.reach if order.is_plain else None
        walk = RevisionWalk(self._objects, order.shallow.cut, order.shallow.client)
        is_clone = bool(self._wants) and not self._haves
        if reach is not None and (is_clone or not (yield from self._walk(walk, _NEAR))):
            yield from self._look_up(reach)
        else:
            if reach is None:
                yield from self._walk(walk, math.inf)
            yield from self._enumerate(walk)
        self._single()
        rules = Rules(order.rules.ofs_delta, order.rules.thin and not order.filter.is_active)
        self._packing = Packing(self._objects, self._sent, self._known, rules)

    def pieces(self) -> Iterator[Piece]:
        return self._made.pieces()

    @property
    def total(self) -> int:
        """How many objects the pack holds."""
        return self._made.total

    @property
    def rewritten(self) -> int:
        """How many of the objects sent so far were deflated anew."""
        return self._made.rewritten

    @property
    def _made(self) -> Packing:
        if self._packing is None:
            raise RuntimeError("PackJob.run must be exhausted first")
        return self._packing

    def _walk(self, walk: RevisionWalk, most: float) -> Generator[int, None, bool]:
        """Whether it ended within `most` steps."""
        for steps in walk.run(self._wants, self._haves):
            yield steps
            if steps >= most:
                return False
        return True

    def _enumerate(self, walk: RevisionWalk) -> Iterator[int]:
        """What is new, commit by commit: the cost follows the change."""
        found = Enumeration(self._objects, self._order.filter)
        edges = heapq.nlargest(_MOST_EDGES, self._haves, key=lambda oid: self._objects.commit(oid).time)
        yield from found.commits(walk, edges)
        self._sent, self._known = ObjectSet(found.sent), ObjectSet(found.known)

    def _look_up(self, reach: Reach) -> Iterator[int]:
        """The same for a client that lacks much, from what was worked out ahead."""
        with_blobs = self._order.filter.blob_limit != 0
        sent = Closure(self._objects, reach, with_blobs=with_blobs)
        yield from sent.add(self._wants)
        self._sent = sent.reached
        if self._haves:
            known = Closure(self._objects, reach, with_blobs=with_blobs)
            yield from known.add(self._haves)
            self._known = known.reached
            self._sent.remove_all(self._known)
        self._drop_large(reach)

    def _drop_large(self, reach: Reach) -> None:
        """With a limit for blobs: those that are as large."""
        limit = self._order.filter.blob_limit
        if limit:
            marks, header = self._sent.marks, self._objects.header
            for position in compress(range(reach.size), both(marks, reach.blobs)):
                marks[position] = header(reach.oid(position))[1] < limit
            heads = ((oid, header(oid)) for oid in self._sent.others)
            self._sent.others = {oid for oid, (kind, size) in heads if kind is not Kind.BLOB or size < limit}

    def _single(self) -> None:
        """What was wanted by itself, filter or not, and the tags that follow their commits."""
        wanted, sent = self._order.wanted, self._sent
        haves = set(self._order.common)
        sent.update(oid for oid in wanted.tags if oid not in haves)
        if wanted.trees:
            found = Enumeration(self._objects, self._order.filter)
            for oid in wanted.trees:
                found.tree(oid, is_wanted=True)
            sent.update(found.sent)
        sent.update(wanted.blobs)
        if self._order.include_tag:
            for ref in self._refs.refs:
                if ref.peeled is not None and ref.peeled in sent:
                    sent.update(peel(self._objects, ref.oid)[0])

"""One fetch of one repository: which wants are allowed, which haves are common, and the pack that answers."""

import heapq
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import Protocol

from gitserver.fetch.closure import Closure
from gitserver.fetch.enumerate import Enumeration
from gitserver.fetch.filters import Filter
from gitserver.fetch.graph import TICK, Difference, all_lead_to, peel, unreachable
from gitserver.fetch.objectset import ObjectSet
from gitserver.fetch.packing import Packing, Piece, Rules
from gitserver.fetch.shallow import Deepen, ShallowPlan, plan_shallow
from gitserver.objects.marks import both
from gitserver.objects.reachability import Reach
from gitserver.objects.store import Kind, Objects
from storage.errors import Invalid, ObjectNotFound
from storage.records import Oid, Repo
from storage.versions.base import Ref, Refs, VersionStore

_MOST_EDGES = 4
_LATELY_SECONDS = 600
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


class Job(Protocol):
    """A pack to be sent: `run` first (it yields numbers while it works), then the others."""

    @property
    def total(self) -> int:
        """How many objects the pack holds."""

    @property
    def rewritten(self) -> int:
        """How many of the objects sent so far were deflated anew."""

    def run(self) -> Iterator[int]: ...

    def pieces(self) -> Iterator[Piece]: ...


class PackSupply(Protocol):
    """May have packs ready: gitserver.prepare."""

    def pack(self, objects: Objects, refs: Refs, order: PackOrder, here: "Callable[[], PackJob]") -> Job:
        """The pack of `order`; `here` makes the job to be done at once."""


def nothing_moved() -> Sequence[Ref]:
    return ()


class FetchSession:
    """`refs` is the state that the client is answered from; packs of other workers are looked up once, at the start.

    `moved` tells where refs stood a moment ago: over HTTP a client asks for what it was told by an earlier answer.
    """

    def __init__(
        self, objects: Objects, refs: Refs, supply: PackSupply | None = None, moved: Callable[[], Sequence[Ref]] = nothing_moved
    ) -> None:
        self._objects = objects
        self._supply = supply
        self._moved = moved
        self.refs = refs
        self._named = {ref.name: ref for ref in refs.refs}
        objects.refresh()

    def wanted(self, wants: Iterable[Oid]) -> Wanted:
        """Raises Invalid, in git's words, for an object that is missing, or a commit or tag that no ref leads to, or did lately."""
        kinds: dict[Kind, list[Oid]] = {kind: [] for kind in Kind}
        tips = {ref.oid for ref in self.refs.refs}
        hidden: dict[Oid, Oid] = {}
        for want in dict.fromkeys(wants):
            tags, oid, kind = self._peeled(want)
            kinds[kind].append(oid)
            kinds[Kind.TAG] += tags
            if want not in tips and (kind is Kind.COMMIT or tags):
                hidden[want] = oid if not tags else want
        self._check_reachable(hidden)
        return Wanted(*(tuple(dict.fromkeys(kinds[kind])) for kind in (Kind.COMMIT, Kind.TAG, Kind.TREE, Kind.BLOB)))

    def common(self, haves: Iterable[Oid]) -> tuple[Oid, ...]:
        """Those of `haves` that are stored here, in order; unknown ones cost no look at the rows."""
        packs = self._objects.packs()
        return tuple(oid for oid in dict.fromkeys(haves) if any(pack.offset(oid) is not None for pack in packs))

    def is_ready(self, wanted: Wanted, common: Iterable[Oid]) -> bool:
        """Whether every wanted commit leads to a common one."""
        return all_lead_to(self._objects, wanted.commits, set(self._commits(common)))

    def shallow_plan(self, deepen: Deepen, wanted: Wanted, client: Iterable[Oid]) -> ShallowPlan:
        known = set(self._commits(self.common(client)))
        tips = self._commits(ref.oid for ref in self.refs.refs) if deepen.is_relative else ()
        return plan_shallow(self._objects, deepen, wanted.commits, known, tips)

    def named(self, name: bytes) -> Oid:
        """The commit of a ref as a user names it (`deepen-not v1.0`). Raises Invalid."""
        for full in (name, b"refs/" + name, b"refs/tags/" + name, b"refs/heads/" + name):
            if (ref := self.ref(full)) is not None:
                return ref.peeled or ref.oid
        raise Invalid(f"git upload-pack: ambiguous deepen-not: {name[:200].decode(errors='replace')}")

    def ref(self, name: bytes) -> Ref | None:
        return self._named.get(self.refs.head if name == b"HEAD" else name)

    def ref_or_former(self, name: bytes) -> Ref | None:
        """A ref that was deleted a moment ago, too."""
        return self.ref(name) or next((ref for ref in self._moved() if ref.name == name and self._is_stored(ref.oid)), None)

    def pack(self, order: PackOrder) -> Job:
        def here() -> PackJob:
            return PackJob(self._objects, self.refs, order, self._commits(order.common))

        return here() if self._supply is None else self._supply.pack(self._objects, self.refs, order, here)

    def _peeled(self, want: Oid) -> tuple[list[Oid], Oid, Kind]:
        try:
            return peel(self._objects, want)
        except ObjectNotFound as error:
            raise Invalid(f"upload-pack: not our ref {want.hex()}") from error

    def _check_reachable(self, hidden: dict[Oid, Oid]) -> None:
        if not hidden or not (lost := self._unled(hidden, [ref.oid for ref in self.refs.refs])):
            return
        lately = list(dict.fromkeys(ref.oid for ref in self._moved() if self._is_stored(ref.oid)))
        if lately:
            lost = self._unled({want: hidden[want] for want in lost}, lately)
        if lost:
            raise Invalid(f"upload-pack: not our ref {lost[0].hex()}")

    def _unled(self, hidden: Mapping[Oid, Oid], tips: Iterable[Oid]) -> list[Oid]:
        """Those of the wants to which none of `tips` leads; `hidden` gives the commit, or the tag itself, of each."""
        chains: set[Oid] = set()
        commits: list[Oid] = []
        for tip in tips:
            tags, oid, kind = peel(self._objects, tip)
            chains.update(tags)
            if kind is Kind.COMMIT:
                commits.append(oid)
        asked = {oid for oid in hidden.values() if oid not in chains and self._objects.header(oid)[0] is Kind.COMMIT}
        lost = self._lost(asked, commits)
        return [want for want, oid in hidden.items() if oid in lost or (oid not in asked and oid not in chains)]

    def _is_stored(self, oid: Oid) -> bool:
        return self._objects.peek(oid) is not None

    def _lost(self, asked: set[Oid], tips: Sequence[Oid]) -> set[Oid]:
        """Those of the commits `asked` that none of the commits `tips` leads to."""
        if self._objects.reach is None:
            return unreachable(self._objects, asked, tips)
        closure = Closure(self._objects, self._objects.reach)
        closure.add_commits(tips)
        return {oid for oid in asked if oid not in closure.reached}

    def _commits(self, oids: Iterable[Oid]) -> tuple[Oid, ...]:
        peeled = (peel(self._objects, oid) for oid in oids)
        return tuple(dict.fromkeys(oid for _, oid, kind in peeled if kind is Kind.COMMIT))


def open_session(objects: Objects, refs: Refs, versions: VersionStore, repo: Repo, supply: PackSupply | None) -> FetchSession:
    """For a client that was told of the refs by an earlier answer, up to ten minutes ago."""
    return FetchSession(objects, refs, supply, partial(versions.moved, repo.id, _LATELY_SECONDS))


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
        walk = Difference(self._objects, order.shallow.cut, order.shallow.client)
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

    def _walk(self, walk: Difference, most: float) -> Generator[int, None, bool]:
        """Whether it ended within `most` steps."""
        for steps in walk.run(self._wants, self._haves):
            yield steps
            if steps >= most:
                return False
        return True

    def _enumerate(self, walk: Difference) -> Iterator[int]:
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

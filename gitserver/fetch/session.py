"""One fetch of one repository: which wants are allowed, which haves are common, and the pack that answers."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gitserver.fetch.enumerate import Enumeration
from gitserver.fetch.filters import Filter
from gitserver.fetch.graph import Difference, all_lead_to, peel, unreachable
from gitserver.fetch.packing import Packing, Piece, Rules
from gitserver.fetch.shallow import Deepen, ShallowPlan, plan_shallow
from gitserver.objects import Kind, Objects
from storage.errors import Invalid, ObjectNotFound
from storage.records import Oid
from storage.versions.base import Ref, Refs

_MOST_EDGES = 4


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


class FetchSession:
    """`refs` is the state that the client is answered from; packs of other workers are looked up once, at the start."""

    def __init__(self, objects: Objects, refs: Refs) -> None:
        self._objects = objects
        self.refs = refs
        self._named = {ref.name: ref for ref in refs.refs}
        objects.refresh()

    def wanted(self, wants: Iterable[Oid]) -> Wanted:
        """Raises Invalid, in git's words, for an object that is missing, or a commit or tag that no ref leads to."""
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

    def pack(self, order: PackOrder) -> "PackJob":
        return PackJob(self._objects, self.refs, order, self._commits(order.common))

    def _peeled(self, want: Oid) -> tuple[list[Oid], Oid, Kind]:
        try:
            return peel(self._objects, want)
        except ObjectNotFound as error:
            raise Invalid(f"upload-pack: not our ref {want.hex()}") from error

    def _check_reachable(self, hidden: dict[Oid, Oid]) -> None:
        if not hidden:
            return
        chains: set[Oid] = set()
        commits: list[Oid] = []
        for ref in self.refs.refs:
            tags, oid, kind = peel(self._objects, ref.oid)
            chains.update(tags)
            if kind is Kind.COMMIT:
                commits.append(oid)
        asked = {oid for oid in hidden.values() if oid not in chains and self._objects.header(oid)[0] is Kind.COMMIT}
        lost = unreachable(self._objects, asked, commits)
        for want, oid in hidden.items():
            if oid in lost or (oid not in asked and oid not in chains):
                raise Invalid(f"upload-pack: not our ref {want.hex()}")

    def _commits(self, oids: Iterable[Oid]) -> tuple[Oid, ...]:
        peeled = (peel(self._objects, oid) for oid in oids)
        return tuple(dict.fromkeys(oid for _, oid, kind in peeled if kind is Kind.COMMIT))


class PackJob:
    """Enumerate, then stream. `run` first (it yields object counts while it works), then `pieces`."""

    def __init__(self, objects: Objects, refs: Refs, order: PackOrder, haves: Sequence[Oid]) -> None:
        self._objects = objects
        self._refs = refs
        self._order = order
        self._haves = haves
        self._found = Enumeration(objects, order.filter)
        self.packing: Packing | None = None

    def run(self) -> Iterator[int]:
        order, shallow = self._order, self._order.shallow
        walk = Difference(self._objects, shallow.cut, shallow.client)
        yield from walk.run((*order.wanted.commits, *shallow.extra), self._haves)
        edges = heapq.nlargest(_MOST_EDGES, self._haves, key=lambda oid: self._objects.commit(oid).time)
        yield from self._found.commits(walk, edges)
        self._single()
        rules = Rules(order.rules.ofs_delta, order.rules.thin and not order.filter.is_active)
        self.packing = Packing(self._objects, self._found.sent, self._found.known, rules)

    def pieces(self) -> Iterator[Piece]:
        if self.packing is None:
            raise RuntimeError("PackJob.run must be exhausted before PackJob.pieces")
        return self.packing.pieces()

    def _single(self) -> None:
        """What was wanted by itself, filter or not, and the tags that follow their commits."""
        wanted, sent = self._order.wanted, self._found.sent
        haves = set(self._order.common)
        sent.update(oid for oid in wanted.tags if oid not in haves)
        for oid in wanted.trees:
            self._found.tree(oid, is_wanted=True)
        sent.update(wanted.blobs)
        if self._order.include_tag:
            for ref in self._refs.refs:
                if ref.peeled is not None and ref.peeled in sent:
                    sent.update(peel(self._objects, ref.oid)[0])

"""One fetch of one repository: which wants are allowed, which haves are common, and the pack that answers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from gitserver.fetch.closure import Closure
from gitserver.fetch.graph import all_lead_to, peel, unreachable
from gitserver.fetch.pack_job import OutgoingPack, PackJob, PackOrder, Wanted
from gitserver.fetch.shallow import Deepen, ShallowPlan, plan_shallow
from gitserver.objects.store import Kind, Objects
from storage.errors import Invalid, ObjectNotFound
from storage.records import Oid, Repo
from storage.versions.base import Ref, Refs, VersionStore

_LATELY_SECONDS = 600


class PackSource(Protocol):
    """May have packs ready: gitserver.pack_cache."""

    def pack(self, objects: Objects, refs: Refs, order: PackOrder, here: "Callable[[], PackJob]") -> OutgoingPack:
        """The pack of `order`; `here` makes the job to be done at once."""


def nothing_moved() -> Sequence[Ref]:
    return ()


class FetchSession:
    """`refs` is the state that the client is answered from; packs of other workers are looked up once, at the start.

    `moved` tells where refs stood a moment ago: over HTTP a client asks for what it was told by an earlier answer.
    """

    def __init__(
        self, objects: Objects, refs: Refs, supply: PackSource | None = None, moved: Callable[[], Sequence[Ref]] = nothing_moved
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

    def pack(self, order: PackOrder) -> OutgoingPack:
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


def open_session(objects: Objects, refs: Refs, versions: VersionStore, repo: Repo, supply: PackSource | None) -> FetchSession:
    """For a client that was told of the refs by an earlier answer, up to ten minutes ago."""
    return FetchSession(objects, refs, supply, partial(versions.moved, repo.id, _LATELY_SECONDS))

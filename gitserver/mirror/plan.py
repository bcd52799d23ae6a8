"""From what a source shows and what is here: which refs move, what to ask for, and where HEAD goes."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gitserver.fetch.graph import peel
from gitserver.mirror.source import Listing
from gitserver.objects.store import Kind, Objects
from gitserver.update.namespaces import is_open
from storage.errors import ObjectNotFound
from storage.records import ZERO_OID, Oid, RefUpdate
from storage.versions.base import Refs


@dataclass(frozen=True, slots=True)
class Plan:
    """`late` is the deletion of what HEAD points to now: it can go once HEAD points to `head`."""

    updates: tuple[RefUpdate, ...]
    late: tuple[RefUpdate, ...]
    head: bytes


def make_plan(here: Refs, there: Listing) -> Plan:
    """Afterwards the refs here are those of the source but for the hub's own namespaces, no more and no others."""
    have = {ref.name: ref.oid for ref in here.refs if is_open(ref.name)}
    wanted = {ref.name: ref.oid for ref in there.refs}
    updates = [RefUpdate(name, have.get(name, ZERO_OID), oid) for name, oid in wanted.items() if have.get(name) != oid]
    gone = [RefUpdate(name, oid, ZERO_OID) for name, oid in have.items() if name not in wanted]
    now = tuple(update for update in gone if update.ref != here.head)
    late = tuple(update for update in gone if update.ref == here.head)
    return Plan((*updates, *now), late, _head(here.head, there.head, sorted(wanted)))


def _head(here: bytes, there: bytes, names: Sequence[bytes]) -> bytes:
    """The source's HEAD, unless that points to nothing that is there."""
    branches = [name for name in names if name.startswith(b"refs/heads/")]
    known = [name for name in (there, here, *branches) if name in branches]
    return known[0] if known else here


def missing(objects: Objects, there: Listing) -> list[Oid]:
    """What is to be asked for. What is here is here with all that it names."""
    return sorted({ref.oid for ref in there.refs if not objects.contains(ref.oid)})


def newest(objects: Objects, here: Refs, most: int) -> list[Oid]:
    """Commits of the repository, newest first, by which the source may know what is here."""
    seen = set(_commits(objects, (ref.oid for ref in here.refs)))
    heap = [(-objects.commit(oid).time, oid) for oid in seen]
    heapq.heapify(heap)
    found: list[Oid] = []
    while heap and len(found) < most:
        _, oid = heapq.heappop(heap)
        found.append(oid)
        for parent in objects.commit(oid).parents:
            if parent not in seen:
                seen.add(parent)
                heapq.heappush(heap, (-objects.commit(parent).time, parent))
    return found


def _commits(objects: Objects, oids: Iterable[Oid]) -> Iterable[Oid]:
    for oid in oids:
        try:
            _, end, kind = peel(objects, oid)
        except ObjectNotFound:
            continue
        if kind is Kind.COMMIT:
            yield end

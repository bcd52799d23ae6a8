"""The part of an answer that v0 and v2 share: shallow lines and the pack with its progress."""

import logging
from collections.abc import Iterator

from gitserver.fetch.pack_job import PackOrder, Wanted
from gitserver.fetch.packing import Rules
from gitserver.fetch.session import FetchSession
from gitserver.fetch.shallow import Deepen, ShallowPlan
from gitserver.protocol.bands import Bands
from gitserver.protocol.request import FetchRequest
from storage.errors import HubError, ObjectNotFound
from storage.records import Oid

log = logging.getLogger(__name__)
_LOST = " Fetch again, since it may have been removed just now; if that does not help, tell the administrator to run the check."


def shallow_plan(session: FetchSession, request: FetchRequest, wanted: Wanted) -> ShallowPlan:
    excluded = tuple(session.named(name) for name in request.deepen_not)
    deepen = Deepen(request.depth, request.has(b"deepen-relative"), request.deepen_since, excluded)
    return session.shallow_plan(deepen, wanted, request.shallows)


def shallow_lines(plan: ShallowPlan) -> list[bytes]:
    return [b"shallow " + oid.hex().encode() for oid in plan.shallow] + [b"unshallow " + oid.hex().encode() for oid in plan.unshallow]


def pack_order(request: FetchRequest, wanted: Wanted, common: tuple[Oid, ...], plan: ShallowPlan) -> PackOrder:
    rules = Rules(request.has(b"ofs-delta"), request.has(b"thin-pack"))
    return PackOrder(wanted, common, plan, request.filter, request.has(b"include-tag"), rules)


def send_pack(session: FetchSession, order: PackOrder, bands: Bands) -> Iterator[bytes]:
    """The pack on `bands`; an error on the way ends it on band 3, since the status line is gone."""
    try:
        job = session.pack(order)
        for count in job.run():
            yield from bands.alive(f"Enumerating objects: {count}")
        total = job.total
        yield from bands.say(f"Enumerating objects: {total}, done.\n")
        yield from bands.pack(job.pieces())
        yield from bands.say(f"Total {total} (rewritten {job.rewritten}), reused {total - job.rewritten}\n")
    except HubError as error:
        log.error("a pack could not be made: %s", error.message)
        yield bands.fatal(error.message + (_LOST if isinstance(error, ObjectNotFound) else ""))

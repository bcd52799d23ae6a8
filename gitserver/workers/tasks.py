"""What runs in the process pool: functions of plain data, with packs opened by their paths. Their packs never change."""

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from gitserver.fetch.pack_job import PackJob, PackOrder
from gitserver.objects.store import BaseCache, Objects
from gitserver.receive.ingest import Ingest, Ingested, IngestOptions
from gitserver.workers.reachability import NotClosed, build
from storage.filecache import FileCache
from storage.files import sync_file
from storage.limits import Limits
from storage.packs import GivenPacks, open_pack
from storage.records import Oid, PackInfo
from storage.versions.base import Refs

_BUILD_BASES = 8 << 20  # bytes of inflated bases; more made it no faster, since it goes through a pack in its order
_KEPT = 4  # repositories whose packs stay open for the next job


@dataclass(frozen=True, slots=True)
class Stock:
    """A repository's packs, newest first, and where its prepared files lie, if they are of use."""

    repo_id: str
    packs: tuple[tuple[PackInfo, str, str], ...]
    prepared: Path | None


@dataclass(frozen=True, slots=True)
class PackedResult:
    """How many objects the pack holds, and how many of them were deflated anew."""

    objects: int
    rewritten: int


def stock_of(objects: Objects, prepared: FileCache | None = None) -> Stock:
    return Stock(
        objects.repo_id, tuple((pack.info, *pack.paths) for pack in objects.packs()), prepared.root if prepared is not None else None
    )


def ready() -> None:
    """Nothing: the process has started and has its modules."""


def make_reach(stock: Stock, pack_id: str, out: Path) -> None:
    """Write the reachability of one of the packs to `out`; nothing, where it does not hold all that it names.

    Raises FileNotFoundError when a pack is gone meanwhile.
    """
    objects = open_stock(stock, BaseCache(_BUILD_BASES))
    pack = next(pack for pack in objects.packs() if pack.info.id == pack_id)
    with out.open("wb") as file:
        try:
            build(objects, pack, file)
        except NotClosed:
            file.truncate(0)
    sync_file(out)  # it is kept for ever, and nobody looks whether it is whole


def make_answer(stock: Stock, order: PackOrder, refs: Refs, out: Path) -> PackedResult:
    """Write the pack that answers `order`, of a client that has nothing, to `out`, where others read it while it grows.

    Raises FileNotFoundError as above.
    """
    objects = _opened(stock)
    objects.refresh()
    job = PackJob(objects, refs, order, ())
    for _ in job.run():
        pass
    with out.open("r+b") as file:
        for piece in job.pieces():
            file.write(piece)
    sync_file(out)
    return PackedResult(job.total, job.rewritten)


def ingest(stock: Stock, pack: Path, targets: Collection[Oid], terms: IngestOptions, limits: Limits, told: str) -> Ingested:
    """Check a pushed pack; what is to be shown meanwhile stands in the file `told`. Of the kinds those of `targets` and tags are told.

    Raises what Ingest.run does, and FileNotFoundError as above, before it has touched the pack.
    """
    objects = _opened(stock)
    with Path(told).open("r+b", 0) as out:

        def progress(text: str) -> None:
            os.pwrite(out.fileno(), text.encode().ljust(200), 0)

        made = Ingest(objects, limits, progress, terms).run(pack)
    asked = {*targets, *made.tags, *made.tags.values()}
    return replace(made, kinds={oid: kind for oid, kind in made.kinds.items() if oid in asked})


@lru_cache(_KEPT)
def _opened(stock: Stock) -> Objects:
    return open_stock(stock, _shared_bases())


@lru_cache(1)
def _shared_bases() -> BaseCache:
    """Of all that is opened in this process."""
    return BaseCache()


def open_stock(stock: Stock, bases: BaseCache) -> Objects:
    """Raises FileNotFoundError when a pack is gone meanwhile."""
    packs = [open_pack(*paths) for paths in stock.packs]
    return Objects(stock.repo_id, GivenPacks(packs), bases, FileCache(stock.prepared, 0) if stock.prepared else None)

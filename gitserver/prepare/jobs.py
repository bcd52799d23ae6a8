"""What runs in the workshop: functions of plain data, with packs opened by their paths. Their packs never change."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from gitserver.fetch.session import PackJob, PackOrder
from gitserver.objects import Objects
from gitserver.reach.build import NotClosed, build
from storage.filecache import FileCache
from storage.packs import Packs, open_pack
from storage.records import PackInfo
from storage.versions.base import Refs

_KEPT = 4  # repositories whose packs stay open for the next job


@dataclass(frozen=True, slots=True)
class Stock:
    """A repository's packs, newest first, and where its prepared files lie."""

    repo_id: str
    packs: tuple[tuple[PackInfo, str, str], ...]
    prepared: str


@dataclass(frozen=True, slots=True)
class Made:
    """How many objects the pack holds, and how many of them were deflated anew."""

    objects: int
    rewritten: int


def stock_of(objects: Objects, prepared: FileCache) -> Stock:
    return Stock(objects.repo_id, tuple((pack.info, *pack.paths) for pack in objects.packs()), str(prepared.root))


def make_reach(stock: Stock, pack_id: str, out: Path) -> None:
    """Write the reachability of one of the packs to `out`; nothing, where it does not hold all that it names.

    Raises FileNotFoundError when a pack is gone meanwhile.
    """
    objects = _opened(stock)
    pack = next(pack for pack in objects.packs() if pack.info.id == pack_id)
    with out.open("wb") as file:
        try:
            build(objects, pack, file)
        except NotClosed:
            file.truncate(0)


def make_answer(stock: Stock, order: PackOrder, refs: Refs, out: Path) -> Made:
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
    return Made(job.total, job.rewritten)


@lru_cache(_KEPT)
def _opened(stock: Stock) -> Objects:
    packs = [open_pack(*paths) for paths in stock.packs]
    return Objects(stock.repo_id, _Open(packs), prepared=FileCache(Path(stock.prepared), 0))


class _Open:
    """A source of packs that are open already."""

    def __init__(self, packs: Packs) -> None:
        self._packs = packs

    def open_listed(self, repo_id: str, held: Packs) -> Packs:
        return self._packs

    def lost(self, repo_id: str) -> Iterator[str]:
        return iter(())

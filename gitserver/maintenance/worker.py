"""The work of a whole repack, in a process of its own (`python -m gitserver.maintenance.worker`): it sees files and ids, no rows.

A job comes as one line on standard input. When standard input ends, whoever wanted the work is gone, and the process with it.
"""

import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gitserver.maintenance.catalog import Catalog
from gitserver.maintenance.full_pack import Tries, WholePack
from gitserver.maintenance.order import DEAD, MAIN, RESULT, RepackInput, RepackOrder, RepackResult, Role
from gitserver.maintenance.walk import Found, Walk
from gitserver.objects.store import Objects
from storage.errors import Unavailable
from storage.packs import GivenPacks, PackFile, StoredEntry
from storage.packs.packfile import read_entries
from storage.records import Oid, PackInfo

_NICE = 10
_ORDER = (Role.KEPT, Role.SOURCE, Role.DEAD)


def main() -> None:
    os.nice(_NICE)
    job = RepackOrder.parse(sys.stdin.readline())
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        made = repack(job)
    except Unavailable as error:
        made = RepackResult(error=error.message)
    result = Path(job.folder) / RESULT
    result.write_text(made.text(), "utf-8")


def repack(job: RepackOrder) -> RepackResult:
    """Write the packs of a job. Raises Unavailable when something is damaged or missing."""
    given = sorted(job.packs, key=lambda one: _ORDER.index(one.role))
    packs = [_open(one) for one in given]
    fixed = sum(one.role is Role.KEPT for one in given)
    catalog = Catalog([(pack, _entries(one)) for pack, one in zip(packs, given, strict=True)], fixed)
    return _Repack(job, given, catalog, Objects("", GivenPacks(packs))).run()


class _Repack:
    """Numbers of the catalog go by kept packs first, then sources, then dead packs."""

    def __init__(self, job: RepackOrder, given: Sequence[RepackInput], catalog: Catalog, objects: Objects) -> None:
        self._job = job
        self._catalog = catalog
        self._objects = objects
        self._roles = [one.role for one in given]
        self._walk = Walk(catalog, objects)
        self._tries = Tries(job.delta_repack_bytes, job.delta_object_bytes)

    def run(self) -> RepackResult:
        folder = Path(self._job.folder)
        reached = self._walk.collect(bytes.fromhex(root) for root in self._job.roots)
        dead_kept = self._follow_kept(reached)
        left = self._walk.collect(self._unmet_of_live_packs())
        main = self._write(self._copied(reached), folder / MAIN)
        dead = self._write(self._copied(left), folder / DEAD)
        ids = [self._catalog.shelves[index].pack.info.id for index in dead_kept]
        return RepackResult(main, dead, tuple(ids))

    def _follow_kept(self, reached: Found) -> list[int]:
        """A kept pack with one object that is reached stays with all of them, so what these name stays, too. The packs that do not."""
        left = [index for index, role in enumerate(self._roles) if role is Role.KEPT]
        while (index := next((index for index in left if self._is_reached(index)), None)) is not None:
            left.remove(index)
            reached.add(self._walk.collect(self._catalog.oids[number] for number in self._catalog.shelves[index].numbers))
        return left

    def _is_reached(self, index: int) -> bool:
        return any(self._walk.is_met(number) for number in self._catalog.shelves[index].numbers)

    def _unmet_of_live_packs(self) -> list[Oid]:
        """What leads from these is set aside with them: what is dropped first must not be named by what stays longer."""
        live = [shelf for shelf, role in zip(self._catalog.shelves, self._roles, strict=True) if role is not Role.DEAD]
        return [self._catalog.oids[number] for shelf in live for number in shelf.numbers if not self._walk.is_met(number)]

    def _copied(self, found: Found) -> Found:
        return found.only(lambda number: self._roles[self._catalog.shelf_of[number]] is not Role.KEPT)

    def _write(self, found: Found, path: Path) -> PackInfo | None:
        if not len(found):
            return None
        return WholePack(self._catalog, self._objects, found, self._walk.paths, self._tries).write(path)


def _open(given: RepackInput) -> PackFile:
    return PackFile(given.info, os.fdopen(given.pack_fd, "rb"), os.fdopen(os.dup(given.index_fd), "rb"))


def _entries(given: RepackInput) -> Sequence[StoredEntry]:
    return read_entries(os.fdopen(given.index_fd, "rb"))


def _leave_with_parent(*_: Any) -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()

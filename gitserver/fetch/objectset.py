"""A set of objects of one repository: marks over its large pack, where that has a reachability file, and ids of all others."""

from collections.abc import Iterable, Iterator
from itertools import compress

from gitserver.objects.marks import Marks, without
from gitserver.objects.reachability import Reach
from storage.records import Oid


class ObjectSet:
    def __init__(self, others: set[Oid] | None = None, reach: Reach | None = None) -> None:
        """`others` becomes this object's own; none of them is in the large pack of `reach`."""
        self.others: set[Oid] = set() if others is None else others
        self.reach = reach
        self.marks: Marks = bytearray(reach.size if reach is not None else 0)

    def __contains__(self, oid: Oid) -> bool:
        if oid in self.others:
            return True
        position = self.reach.position(oid) if self.reach is not None else None
        return position is not None and self.marks[position] == 1

    def __len__(self) -> int:
        return len(self.others) + self.marks.count(1)

    def __iter__(self) -> Iterator[Oid]:
        if self.reach is not None:
            yield from map(self.reach.oid, compress(range(self.reach.size), self.marks))
        yield from self.others

    def add(self, oid: Oid) -> None:
        position = self.reach.position(oid) if self.reach is not None else None
        if position is None:
            self.others.add(oid)
        else:
            self.marks[position] = 1

    def update(self, oids: Iterable[Oid]) -> None:
        for oid in oids:
            self.add(oid)

    def remove_all(self, gone: "ObjectSet") -> None:
        """`gone` is over the same large pack."""
        self.others -= gone.others
        self.marks = without(self.marks, gone.marks)

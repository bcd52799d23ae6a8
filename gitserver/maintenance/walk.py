"""What leads from some objects, in the order in which it is written: newest first, so that what is read together stands together."""

import heapq
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator

from gitserver.maintenance.catalog import Catalog
from gitserver.objects.parse import GITLINK, TREE, TREE_ENTRIES, parse_commit_node, parse_tag_target
from gitserver.objects.store import Kind, Objects, RawObject
from storage.errors import ObjectNotFound, Unavailable
from storage.records import Oid


class Found:
    """Numbers of objects of each kind, newest first."""

    def __init__(self) -> None:
        self.commits = array("I")
        self.tags = array("I")
        self.trees = array("I")
        self.blobs = array("I")

    def add(self, other: "Found") -> None:
        for mine, more in zip(self._all(), other._all(), strict=True):
            mine.extend(more)

    def only(self, wanted: Callable[[int], bool]) -> "Found":
        made = Found()
        for mine, left in zip(made._all(), self._all(), strict=True):
            mine.extend(filter(wanted, left))
        return made

    def __len__(self) -> int:
        return len(self.commits) + len(self.tags) + len(self.trees) + len(self.blobs)

    def __iter__(self) -> Iterator[int]:
        for numbers in self._all():
            yield from numbers

    def _all(self) -> "tuple[array[int], ...]":
        return self.commits, self.tags, self.trees, self.blobs


class Walk:
    """Each object is met once, whichever `collect` meets it. `paths` has a hash of where an object was met first: the versions of one
    file have the same one.
    """

    def __init__(self, catalog: Catalog, objects: Objects) -> None:
        self._catalog = catalog
        self._objects = objects
        self._is_met = bytearray(len(catalog))
        self._commits: list[tuple[int, int, Oid, tuple[Oid, ...]]] = []  # a heap: newest first, number, tree, parents
        self.paths = array("I", bytes(4 * len(catalog)))

    def is_met(self, number: int) -> bool:
        return bool(self._is_met[number])

    def collect(self, roots: Iterable[Oid]) -> Found:
        """Everything from `roots` on that was not met before. Raises Unavailable when something of it is not in the catalog."""
        found = Found()
        rest: list[int] = []
        for oid in roots:
            self._root(oid, found, rest)
        while self._commits:
            _, number, tree, parents = heapq.heappop(self._commits)
            found.commits.append(number)
            for parent in parents:
                self._commit(parent)
            self._tree(self._number(tree), found)
        for number in rest:
            self._tree(number, found)
        return found

    def _root(self, oid: Oid, found: Found, rest: list[int]) -> None:
        number = self._number(oid)
        if self._is_met[number]:
            return
        kind = self._kind(oid)
        while kind is Kind.TAG:
            if self._is_met[number]:
                return
            self._is_met[number] = 1
            found.tags.append(number)
            oid, _ = parse_tag_target(self._get(oid).data)
            number, kind = self._number(oid), self._kind(oid)
        if kind is Kind.COMMIT:
            self._commit(oid)
        elif kind is Kind.TREE:
            rest.append(number)
        elif not self._is_met[number]:
            self._is_met[number] = 1
            found.blobs.append(number)

    def _commit(self, oid: Oid) -> None:
        number = self._number(oid)
        if self._is_met[number]:
            return
        self._is_met[number] = 1
        node = parse_commit_node(oid, self._get(oid).data)
        heapq.heappush(self._commits, (-node.time, number, node.tree, node.parents))

    def _tree(self, root: int, found: Found) -> None:
        """A tree and what is below it, in the order of the paths."""
        is_met, numbers, paths = self._is_met, self._catalog.numbers, self.paths
        stack = [(root, 0)]
        while stack:
            tree, path = stack.pop()
            if is_met[tree]:
                continue
            is_met[tree] = 1
            paths[tree] = path
            found.trees.append(tree)
            below = []
            for mode, name, oid in TREE_ENTRIES.findall(self._get(self._catalog.oids[tree]).data):
                number = numbers.get(oid)
                if number is None:
                    if mode != GITLINK:
                        raise self._missing(oid)
                elif mode == TREE:
                    if not is_met[number]:
                        below.append((number, zlib.crc32(name + b"/", path)))
                elif mode != GITLINK and not is_met[number]:
                    is_met[number] = 1
                    paths[number] = zlib.crc32(name, path)
                    found.blobs.append(number)
            stack += reversed(below)

    def _number(self, oid: Oid) -> int:
        number = self._catalog.numbers.get(oid)
        if number is None:
            raise self._missing(oid)
        return number

    def _get(self, oid: Oid) -> RawObject:
        try:
            return self._objects.get(oid)
        except (ObjectNotFound, zlib.error, ValueError) as error:
            raise Unavailable(
                f"Object {oid.hex()} cannot be read, and nothing was repacked ({error}). Run: kohakuhub admin check"
            ) from error

    def _kind(self, oid: Oid) -> Kind:
        try:
            return self._objects.header(oid)[0]
        except ObjectNotFound as error:
            raise self._missing(oid) from error

    def _missing(self, oid: Oid) -> Unavailable:
        return Unavailable(f"Object {oid.hex()} is named but missing, and nothing was repacked. Run: kohakuhub admin check")

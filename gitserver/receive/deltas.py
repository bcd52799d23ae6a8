"""Deltas of a pushed pack, resolved base first without recursion; memory is bounded by a cache that may always be missed."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gitserver.objects.store import RawObject
from gitserver.receive.patch import Patch, patched, read_sizes
from gitserver.receive.scan import PackEntry, PackScan, too_large
from storage.errors import BadPack
from storage.limits import MIB, Limits
from storage.records import Oid

_CACHE_BYTES = 16 * MIB


@dataclass(frozen=True, slots=True)
class Resolved:
    """A delta's entry with the data that it makes, and how it was made."""

    entry: PackEntry
    data: bytes
    patch: Patch


class Deltas:
    """`found` resolves a base that is not in the pack (thin packs), from the repository's own objects; None when it has none."""

    def __init__(self, scan: PackScan, limits: Limits, found: Callable[[Oid], RawObject | None]) -> None:
        self._scan = scan
        self._limits = limits
        self._found = found
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._cached = 0
        self._large = (0, b"")  # the last that is too large for the cache, so that a chain of such is not made anew for each
        self._waiting: defaultdict[Oid, list[PackEntry]] = defaultdict(list)
        self._children: defaultdict[int, list[PackEntry]] = defaultdict(list)
        self._count = 0
        self.outside: dict[Oid, RawObject] = {}  # bases to append, so that the stored pack is whole

    def add(self, entry: PackEntry) -> None:
        self._count += 1
        if entry.base is not None:
            self._children[entry.base.offset].append(entry)
        elif entry.base_oid is not None:
            self._waiting[entry.base_oid].append(entry)

    def keep(self, entry: PackEntry, data: bytes) -> None:
        """Data that may be needed soon."""
        if len(data) > _CACHE_BYTES // 2:
            self._large = (entry.offset, data)
            return
        if entry.offset in self._cache:
            return
        self._cache[entry.offset] = data
        self._cached += len(data)
        while self._cached > _CACHE_BYTES:
            self._cached -= len(self._cache.popitem(last=False)[1])

    def resolve(self, bases: Iterable[PackEntry]) -> Iterator[Resolved]:
        """Every delta with its data; the caller sets `oid` before it takes the next. `bases` are the whole objects of the pack.

        Raises BadPack when a delta has no base or does not fit it, TooLarge for a result over the limit.
        """
        for base in bases:
            yield from self._below(base)
        for oid in list(self._waiting):
            raw = self._found(oid) if oid in self._waiting else None
            if raw is not None:
                self.outside[oid] = raw
                for child in self._waiting.pop(oid):
                    child.kind = raw.kind
                    yield self._apply(oid, raw.data, child)
                    yield from self._below(child)
        if self._waiting:
            missing = next(iter(self._waiting)).hex()
            raise BadPack(f"The pack has unresolved deltas: base {missing} is neither in it nor in this repository. Fetch, and push again.")
        if self._count:
            raise BadPack(f"The pack has {self._count} unresolved deltas whose bases lead to each other.")

    def _below(self, root: PackEntry) -> Iterator[Resolved]:
        stack = [(root, 0)]
        while stack:
            base, depth = stack.pop()
            children = self._children.pop(base.offset, []) + self._waiting.pop(base.oid, [])
            if children and depth >= self._limits.delta_depth:
                raise BadPack(f"The pack has a chain of more than {self._limits.delta_depth} deltas. Run git repack -adf, and push again.")
            data = self.data(base) if children else b""
            for child in children:
                child.base = base
                child.kind = base.kind
                resolved = self._apply(base.oid, data, child)
                self.keep(child, resolved.data)
                yield resolved
                stack.append((child, depth + 1))

    def data(self, entry: PackEntry) -> bytes:
        """Inflated and patched; from the cache, else rebuilt from the nearest ancestor."""
        chain: list[PackEntry] = []
        at = entry
        while (data := self._known(at)) is None and at.base is not None:
            chain.append(at)
            at = at.base
        if data is None:
            outside = self.outside.get(at.base_oid) if at.base_oid is not None else None
            data = self._again(outside.data, at) if outside is not None else self._scan.inflate(at)
            self.keep(at, data)
        for link in reversed(chain):
            data = self._again(data, link)
            self.keep(link, data)
        return data

    def _known(self, entry: PackEntry) -> bytes | None:
        return self._large[1] if self._large[0] == entry.offset else self._cache.get(entry.offset)

    def _apply(self, base_oid: Oid, base: bytes, entry: PackEntry) -> Resolved:
        delta = self._scan.inflate(entry)
        sizes = read_sizes(delta, entry.offset)
        if sizes.base != len(base):
            raise BadPack(f"The delta at offset {entry.offset} is for a base of {sizes.base} bytes, but its base has {len(base)}.")
        if sizes.result > self._limits.object_bytes:
            raise too_large(entry.offset, sizes.result, self._limits)
        self._scan.count_inflated(sizes.result)
        self._count -= 1
        data = patched(base, delta, sizes, entry.offset)
        entry.size = len(data)
        return Resolved(entry, data, Patch(base_oid, delta, sizes.end))

    def _again(self, base: bytes, entry: PackEntry) -> bytes:
        delta = self._scan.inflate(entry)
        return patched(base, delta, read_sizes(delta, entry.offset), entry.offset)

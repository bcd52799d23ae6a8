"""Deltas of a pushed pack, resolved base first without recursion; memory is bounded by a cache that may always be missed."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator

from dulwich.errors import ApplyDeltaError
from dulwich.pack import apply_delta

from gitserver.objects import RawObject
from gitserver.receive.scan import Entry, PackScan, too_large
from storage.errors import BadPack
from storage.limits import MIB, Limits
from storage.records import Oid

_CACHE_BYTES = 16 * MIB


class Deltas:
    """`found` resolves a base that is not in the pack (thin packs), from the repository's own objects; None when it has none."""

    def __init__(self, scan: PackScan, limits: Limits, found: Callable[[Oid], RawObject | None]) -> None:
        self._scan = scan
        self._limits = limits
        self._found = found
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._cached = 0
        self._waiting: defaultdict[Oid, list[Entry]] = defaultdict(list)
        self._children: defaultdict[int, list[Entry]] = defaultdict(list)
        self._count = 0
        self.outside: dict[Oid, RawObject] = {}  # bases to append, so that the stored pack is whole

    def add(self, entry: Entry) -> None:
        self._count += 1
        if entry.base is not None:
            self._children[entry.base.offset].append(entry)
        elif entry.base_oid is not None:
            self._waiting[entry.base_oid].append(entry)

    def keep(self, entry: Entry, data: bytes) -> None:
        """Data that may be needed soon."""
        if entry.offset in self._cache or len(data) > _CACHE_BYTES // 2:
            return
        self._cache[entry.offset] = data
        self._cached += len(data)
        while self._cached > _CACHE_BYTES:
            self._cached -= len(self._cache.popitem(last=False)[1])

    def resolve(self, bases: Iterable[Entry]) -> Iterator[tuple[Entry, bytes]]:
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
                    data = self._apply(raw.data, child)
                    child.kind = raw.kind
                    yield child, data
                    yield from self._below(child)
        if self._waiting:
            missing = next(iter(self._waiting)).hex()
            raise BadPack(f"The pack has unresolved deltas: base {missing} is neither in it nor in this repository. Fetch, and push again.")
        if self._count:
            raise BadPack(f"The pack has {self._count} unresolved deltas whose bases lead to each other.")

    def _below(self, root: Entry) -> Iterator[tuple[Entry, bytes]]:
        stack = [(root, 0)]
        while stack:
            base, depth = stack.pop()
            children = self._children.pop(base.offset, []) + self._waiting.pop(base.oid, [])
            if children and depth >= self._limits.delta_depth:
                raise BadPack(f"The pack has a chain of more than {self._limits.delta_depth} deltas. Run git repack -adf, and push again.")
            for child in children:
                child.base = base
                child.kind = base.kind
                data = self._apply(self.data(base), child)
                self.keep(child, data)
                yield child, data
                stack.append((child, depth + 1))

    def data(self, entry: Entry) -> bytes:
        """Inflated and patched; from the cache, else rebuilt from the nearest ancestor."""
        chain: list[Entry] = []
        at = entry
        while (data := self._cache.get(at.offset)) is None and at.base is not None:
            chain.append(at)
            at = at.base
        if data is None:
            outside = self.outside.get(at.base_oid) if at.base_oid is not None else None
            inflated = self._scan.inflate(at)
            data = _patch(outside.data, inflated, at) if outside is not None else inflated
            self.keep(at, data)
        for link in reversed(chain):
            data = _patch(data, self._scan.inflate(link), link)
            self.keep(link, data)
        return data

    def _apply(self, base: bytes, entry: Entry) -> bytes:
        delta = self._scan.inflate(entry)
        base_size, result_size = _sizes(delta, entry)
        if base_size != len(base):
            raise BadPack(f"The delta at offset {entry.offset} is for a base of {base_size} bytes, but its base has {len(base)}.")
        if result_size > self._limits.object_bytes:
            raise too_large(result_size, self._limits)
        self._scan.count_inflated(result_size)
        self._count -= 1
        data = _patch(base, delta, entry)
        entry.size = len(data)
        return data


def _patch(base: bytes, delta: bytes, entry: Entry) -> bytes:
    """Base and delta to result. An instruction more, for one byte, is put at the end: dulwich passes over a bad copy that is the last,
    and other programs could not read what is stored then.
    """
    ((_, start), (size, end)) = _numbers(delta, entry)
    try:
        data = b"".join(apply_delta(base, delta[:start] + _number(size + 1) + delta[end:] + b"\1\0"))
    except (ApplyDeltaError, AssertionError, IndexError, ValueError) as error:
        raise BadPack(f"The delta at offset {entry.offset} does not fit its base. Run git fsck, and push again.") from error
    return data[:-1]


def _sizes(delta: bytes, entry: Entry) -> tuple[int, int]:
    """The sizes of base and result that a delta begins with."""
    (base, _), (result, _) = _numbers(delta, entry)
    return base, result


def _numbers(delta: bytes, entry: Entry) -> list[tuple[int, int]]:
    """The same, each with where it ends."""
    numbers: list[tuple[int, int]] = []
    position = 0
    try:
        while len(numbers) < 2:
            size = shift = 0
            byte = 0x80
            while byte & 0x80:
                byte = delta[position]
                size |= (byte & 0x7F) << shift
                shift += 7
                position += 1
            numbers.append((size, position))
    except IndexError as error:
        raise BadPack(f"The delta at offset {entry.offset} is cut off. Run git fsck, and push again.") from error
    return numbers


def _number(value: int) -> bytes:
    out = bytearray([value & 0x7F])
    while value := value >> 7:
        out[-1] |= 0x80
        out.append(value & 0x7F)
    return bytes(out)

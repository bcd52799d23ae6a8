"""The objects of one repository, read from its packs: by id, inflated one at a time, delta chains walked without recursion."""

import hashlib
import math
import threading
import time
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

from dulwich.pack import apply_delta

from gitserver.objects.entries import OFS_DELTA, EntryHeader, read_entry_header, read_size
from gitserver.objects.parse import CommitNode, TreeItem, parse_commit_node, parse_tree
from gitserver.objects.reachability import Reach, open_reach
from storage.errors import ObjectNotFound, Unavailable
from storage.filecache import FileCache
from storage.limits import MIB
from storage.packs import PackFile, Packs, PackStore
from storage.records import Oid
from storage.singleflight import Once

_BASE_CACHE_BYTES = 48 * MIB
_STORES_BYTES = 64 * MIB  # of what is kept open of all repositories
_COMMIT_CACHE = 60_000  # commits of all repositories, of some 450 bytes each


class Kind(IntEnum):
    """Object types by their number in packs."""

    COMMIT = 1
    TREE = 2
    BLOB = 3
    TAG = 4

    @property
    def text(self) -> bytes:
        return self.name.lower().encode()


@dataclass(frozen=True, slots=True)
class RawObject:
    kind: Kind
    data: bytes


class Location(NamedTuple):
    pack: PackFile
    offset: int


def object_id(kind: Kind, data: bytes) -> Oid:
    return hashlib.sha1(b"%s %d\0" % (kind.text, len(data)) + data, usedforsecurity=False).digest()


class BaseCache:
    """Inflated objects that deltas may need soon; one bounded cache for all repositories. A pack's id names its bytes."""

    def __init__(self, most_bytes: int = _BASE_CACHE_BYTES) -> None:
        self._most = most_bytes
        self._held = 0
        self._raws: OrderedDict[tuple[str, int], RawObject] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, place: Location) -> RawObject | None:
        key = (place.pack.info.id, place.offset)
        with self._lock:
            raw = self._raws.get(key)
            if raw is not None:
                self._raws.move_to_end(key)
            return raw

    def keep(self, place: Location, raw: RawObject) -> None:
        if len(raw.data) > self._most // 8:
            return
        key = (place.pack.info.id, place.offset)
        with self._lock:
            if key in self._raws:
                return
            self._raws[key] = raw
            self._held += len(raw.data)
            while self._held > self._most:
                self._held -= len(self._raws.popitem(last=False)[1].data)


class CommitBudget:
    """How many commits all repositories together hold parsed. When there are too many, all are forgotten: they are quick to parse."""

    def __init__(self, most: int = _COMMIT_CACHE) -> None:
        self._most = most
        self._held = 0
        self._users: weakref.WeakSet[Objects] = weakref.WeakSet()
        self._lock = threading.Lock()

    def join(self, user: "Objects") -> None:
        with self._lock:
            self._users.add(user)

    def spend(self, commit: CommitNode) -> None:
        """One more is held; a merge of very many counts for more."""
        self._held += 1 + len(commit.parents) // 8
        if self._held > self._most:
            with self._lock:
                self._held = 0
                for user in self._users:
                    user.forget_commits()


class PackList(Protocol):
    """Where a repository's packs come from: `storage.packs.PackStore`, or some that are open already."""

    def open_listed(self, repo_id: str, held: Packs) -> Packs:
        """All packs, newest first; `held` itself when nothing changed."""

    def lost(self, repo_id: str) -> Iterator[str]:
        """A line for each pack that is not stored whole."""


class Objects:
    """One repository's objects. Safe for threads; packs that other workers add are found by a look at the rows on a miss.

    `prepared` may have the reachability of the largest pack: then commits are read from there.
    """

    def __init__(
        self,
        repo_id: str,
        packs: PackList,
        bases: BaseCache | None = None,
        prepared: FileCache | None = None,
        budget: CommitBudget | None = None,
    ) -> None:
        self.repo_id = repo_id
        self.reach: Reach | None = None
        self._prepared = prepared
        self._store = packs
        self._packs: list[PackFile] = []
        self._bases = bases or BaseCache()
        self._commits: dict[Oid, CommitNode] = {}
        self._budget = budget or CommitBudget()
        self._budget.join(self)
        self._lock = threading.Lock()
        self._failure = (-math.inf, "")  # when the last look failed, and why
        self.refresh()

    def packs(self) -> list[PackFile]:
        return self._packs

    def largest(self) -> PackFile | None:
        """The pack of the most objects, the first of them by id; what is set aside to be dropped does not count."""
        return min(
            (pack for pack in self._packs if pack.info.dead_since is None),
            key=lambda pack: (-pack.info.objects, pack.info.id),
            default=None,
        )

    @property
    def held_bytes(self) -> int:
        """What its packs take of memory, mapped files aside."""
        return sum(pack.held_bytes for pack in self._packs) + (self.reach.size if self.reach is not None else 0)

    def lost_packs(self) -> Iterator[str]:
        """A line for each pack that is not stored whole, though it may be open here."""
        return self._store.lost(self.repo_id)

    def refresh(self) -> None:
        """Look at the rows again. One thread at a time: an older look must not end after a newer one.

        Who waited while another look failed is told the same: against a server that hangs, waits must not add up.
        """
        came = time.monotonic()
        with self._lock:
            failed, message = self._failure
            if failed > came:
                raise Unavailable(message)
            try:
                self._packs = self._store.open_listed(self.repo_id, self._packs)
                self._find_reach()
            except Unavailable as error:
                self._failure = time.monotonic(), error.message
                raise

    def peek(self, oid: Oid) -> Location | None:
        """Where the object is, as far as the last `refresh` tells."""
        return _locate(self._packs, oid)

    def find(self, oid: Oid) -> Location | None:
        packs = self._packs
        found = _locate(packs, oid)
        if found is None:
            self.refresh()
            if self._packs is not packs:
                found = _locate(self._packs, oid)
        return found

    def contains(self, oid: Oid) -> bool:
        return self.find(oid) is not None

    def get(self, oid: Oid) -> RawObject:
        """The object, whole. Objects are at most `Limits.object_bytes`. Raises ObjectNotFound."""
        return self._read(self._location(oid))

    def header(self, oid: Oid) -> tuple[Kind, int]:
        """Kind and size, from entry headers and the first bytes of a delta. Raises ObjectNotFound."""
        place = self._location(oid)
        head = read_entry_header(place.pack.data, place.offset)
        size = head.size if head.kind_or_delta < OFS_DELTA else _result_size(place.pack, head)
        while head.kind_or_delta >= OFS_DELTA:
            place = self._base(place, head)
            head = read_entry_header(place.pack.data, place.offset)
        return Kind(head.kind_or_delta), size

    def commit(self, oid: Oid) -> CommitNode:
        """What a walk needs of a commit. Raises ObjectNotFound, also for an object that is no commit."""
        node = self._commits.get(oid)
        if node is None:
            node = (self.reach.commit(oid) if self.reach is not None else None) or self._commit(oid)
            self._budget.spend(node)
            self._commits[oid] = node
        return node

    def forget_commits(self) -> None:
        self._commits = {}

    def _commit(self, oid: Oid) -> CommitNode:
        raw = self.get(oid)
        if raw.kind is not Kind.COMMIT:
            raise ObjectNotFound(f"{oid.hex()} is a {raw.kind.text.decode()}, not a commit.")
        return parse_commit_node(oid, raw.data)

    def tree(self, oid: Oid) -> tuple[TreeItem, ...]:
        return parse_tree(self.tree_data(oid))

    def tree_data(self, oid: Oid) -> bytes:
        raw = self.get(oid)
        if raw.kind is not Kind.TREE:
            raise ObjectNotFound(f"{oid.hex()} is a {raw.kind.text.decode()}, not a tree.")
        return raw.data

    def measure(self, oid: Oid, most: int) -> tuple[int, bytes | None]:
        """The size of a blob, and the blob itself where that is at most `most`. Raises ObjectNotFound."""
        place = self._location(oid)
        head = read_entry_header(place.pack.data, place.offset)
        if head.kind_or_delta < OFS_DELTA:
            return head.size, _inflate(place.pack, head) if head.size <= most else None
        if head.size > most:
            size = _result_size(place.pack, head)
            return size, self._read(place).data if size <= most else None
        delta = _inflate(place.pack, head)
        size = read_size(delta, read_size(delta, 0)[1])[0]
        return size, b"".join(apply_delta(self._read(self._base(place, head)).data, delta)) if size <= most else None

    def stream(self, oid: Oid, piece: int = 256 * 1024) -> Iterator[bytes]:
        """A blob's bytes in pieces; only a delta is built in memory first."""
        place = self._location(oid)
        head = read_entry_header(place.pack.data, place.offset)
        if head.kind_or_delta >= OFS_DELTA:
            data = self._read(place).data
            yield from (data[i : i + piece] for i in range(0, len(data), piece))
            return
        inflater = zlib.decompressobj()
        compressed = memoryview(place.pack.data)[head.data_offset : self.entry_end(place)]
        for start in range(0, len(compressed), piece):
            pending: bytes | memoryview = compressed[start : start + piece]
            while pending:
                if data := inflater.decompress(pending, piece):
                    yield data
                pending = inflater.unconsumed_tail
        if tail := inflater.flush():
            yield tail

    def entry_end(self, place: Location) -> int:
        """Where the entry's compressed bytes end."""
        return place.pack.end(place.offset)

    def _find_reach(self) -> None:
        largest = self.largest()
        if largest is None or (self.reach is not None and self.reach.pack is not largest):
            self.reach = None
        if largest is not None and self.reach is None and self._prepared is not None:
            self.reach = open_reach(self._prepared, self.repo_id, largest)

    def _location(self, oid: Oid) -> Location:
        place = self.find(oid)
        if place is None:
            raise ObjectNotFound(f"Object {oid.hex()} is not in this repository.")
        return place

    def _read(self, place: Location) -> RawObject:
        deltas: list[tuple[Location, EntryHeader]] = []
        raw = self._bases.get(place)
        while raw is None:
            head = read_entry_header(place.pack.data, place.offset)
            if head.kind_or_delta < OFS_DELTA:
                raw = RawObject(Kind(head.kind_or_delta), _inflate(place.pack, head))
                self._bases.keep(place, raw)
            else:
                deltas.append((place, head))
                place = self._base(place, head)
                raw = self._bases.get(place)
        for at, head in reversed(deltas):
            raw = RawObject(raw.kind, b"".join(apply_delta(raw.data, _inflate(at.pack, head))))
            self._bases.keep(at, raw)
        return raw

    def _base(self, place: Location, head: EntryHeader) -> Location:
        if head.base_offset is not None:
            return Location(place.pack, head.base_offset)
        assert head.base_oid is not None
        inside = place.pack.offset(head.base_oid)
        return Location(place.pack, inside) if inside is not None else self._location(head.base_oid)


class ObjectStores:
    """The Objects of each repository in use, kept for the next request; `prepared` holds what is made of them ahead, by repository."""

    def __init__(self, packs: PackStore, prepared: FileCache | None = None, keep: int = 16) -> None:
        self._packs = packs
        self.prepared = prepared
        self._keep = keep
        self._bases = BaseCache()
        self._budget = CommitBudget()
        self._stores: OrderedDict[str, Objects] = OrderedDict()
        self._opening: Once[str, Objects] = Once()
        self._lock = threading.Lock()

    def of(self, repo_id: str) -> Objects:
        with self._lock:
            store = self._stores.get(repo_id)
            if store is not None:
                self._stores.move_to_end(repo_id)
                return store
        made = self._opening.run(
            repo_id, lambda: Objects(repo_id, self._packs, self._bases, self.prepared, self._budget)
        )  # files may come from afar
        with self._lock:
            store = self._stores.setdefault(repo_id, made)
            self._stores.move_to_end(repo_id)
            held = sum(one.held_bytes for one in self._stores.values())
            while len(self._stores) > 1 and (len(self._stores) > self._keep or held > _STORES_BYTES):
                held -= self._stores.popitem(last=False)[1].held_bytes
            return store

    def forget(self, repo_id: str) -> None:
        """The repository is deleted."""
        with self._lock:
            self._stores.pop(repo_id, None)
        if self.prepared is not None:
            self.prepared.remove_folder(repo_id)


def _locate(packs: list[PackFile], oid: Oid) -> Location | None:
    for pack in packs:
        offset = pack.offset(oid)
        if offset is not None:
            return Location(pack, offset)
    return None


def _inflate(pack: PackFile, head: EntryHeader) -> bytes:
    """The whole data of an entry. Its size was judged when the pack was received.

    zlib copies the input that it leaves over: it is given about as much as the entry can need, not the rest of the pack.
    """
    inflater = zlib.decompressobj()
    start, step = head.data_offset, head.size + (head.size >> 8) + 256
    pieces = []
    while not inflater.eof:
        compressed = pack.data[start : start + step]
        if not compressed:
            raise ObjectNotFound(f"Pack {pack.info.id} is damaged at {head.data_offset}; tell the administrator to run the check.")
        pieces.append(inflater.decompress(compressed))
        start += step
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _result_size(pack: PackFile, head: EntryHeader) -> int:
    """The second number of a delta: the size of what it makes."""
    start = zlib.decompressobj().decompress(pack.data[head.data_offset : head.data_offset + 1024], 20)
    _, offset = read_size(start, 0)
    return read_size(start, offset)[0]

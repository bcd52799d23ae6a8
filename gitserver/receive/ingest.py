"""A pushed pack, checked and indexed: scan, deltas, fsck, connectivity, thin bases, index. One inflation an object, bounded memory."""

import hashlib
import mmap
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dulwich.pack import write_pack_index_v2

from gitserver.objects.pack_writer import pack_entry
from gitserver.objects.parse import CommitNode, parse_commit_node
from gitserver.objects.store import Kind, Objects, RawObject, object_id
from gitserver.receive.deltas import Deltas
from gitserver.receive.fsck import Fsck, gitattributes_faults, gitmodules_faults
from gitserver.receive.large_blobs import misplaced
from gitserver.receive.patch import Patch
from gitserver.receive.scan import PackEntry, PackScan
from gitserver.receive.severities import USUAL, LargeBlobs, Strictness
from lfs.pointer import MOST_BYTES, parse
from storage.errors import BadPack, ObjectNotFound
from storage.limits import Limits
from storage.records import BlobRef, Oid, PackInfo

_TICK = 5000
_MOST_LARGE = 10_000  # blobs over the limit that are remembered


@dataclass(frozen=True, slots=True)
class Ingested:
    """A pack that may be stored; `pointers` are the LFS objects that its blobs name, `tags` its tag objects with what they point to,
    `commits` its commits where they were asked for, `warnings` lines for who pushed it, `misplaced` such of files for Git LFS.
    """

    info: PackInfo
    index: Path
    kinds: dict[Oid, Kind]
    pointers: list[BlobRef]
    tags: dict[Oid, Oid] = field(default_factory=dict)
    commits: dict[Oid, CommitNode] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How strictly a pack is judged, and whether its commits are told. Files for Git LFS are looked for in the trees of `tips`;
    `bases` are the stored trees that the pack's were made from, where that is known.
    """

    strictness: Strictness = USUAL
    keep_commits: bool = False
    tips: tuple[Oid, ...] = ()
    bases: tuple[Oid, ...] = ()


class Ingest:
    """One push's pack against one repository."""

    def __init__(self, objects: Objects, limits: Limits, progress: Callable[[str], None], terms: IngestOptions) -> None:
        self._objects = objects
        self._limits = limits
        self._progress = progress
        self._fsck = Fsck(limits, terms.strictness.severities)
        self._kinds: dict[Oid, Kind] = {}
        self._pointers: dict[str, BlobRef] = {}
        self._tags: dict[Oid, Oid] = {}
        self._terms = terms
        self._commits: dict[Oid, CommitNode] = {}
        self._large: dict[Oid, int] = {}  # blobs over the limit with their sizes
        self._pointer_blobs: set[Oid] = set()
        self._has_filters = False
        self._misplaced: list[str] = []
        for base in terms.bases:
            self._fsck.know_tree(objects.tree_data(base))

    def run(self, pack: Path) -> Ingested:
        """Check `pack` (a file of our own), complete it if it is thin, and write its index beside it. The caller has refreshed the objects.

        Raises BadPack or TooLarge; the caller drops the files.
        """
        with pack.open("r+b") as file:
            if pack.stat().st_size < 32:
                raise BadPack("The pushed data is no git pack, or it is cut off. Push again.")
            # The map goes with its last view; an error's traceback may hold one for a while.
            scan = PackScan(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), self._limits)
            entries, outside = self._read(scan)
            trailer = bytes(scan.view[-20:])
        self._connect()
        rows = [(entry.oid, entry.offset, entry.crc) for entry in entries]
        if outside:
            appended, trailer = complete(pack, outside, len(entries))
            rows += appended
        index = pack.with_suffix(".idx")
        with index.open("wb") as out:
            write_pack_index_v2(out, sorted(rows), trailer)
        info = PackInfo(trailer.hex(), len(rows), pack.stat().st_size)
        pointers, warnings = list(self._pointers.values()), self._fsck.judge.warnings
        return Ingested(info, index, self._kinds, pointers, self._tags, self._commits, warnings, self._misplaced)

    def _read(self, scan: PackScan) -> tuple[list[PackEntry], dict[Oid, RawObject]]:
        scan.read_header()
        if hashlib.sha1(scan.view[:-20], usedforsecurity=False).digest() != bytes(scan.view[-20:]):
            raise BadPack("The pack's checksum is wrong: it was damaged on the way. Push again.")
        deltas = Deltas(scan, self._limits, self._stored)
        entries: list[PackEntry] = []
        for scanned in scan.entries():
            entry = scanned.entry
            entries.append(entry)
            if entry.kind is None:
                deltas.add(entry)
            elif entry.size and not scanned.data:
                self._large_blob(scan, entry)
            else:
                self._object(entry, scanned.data)
                deltas.keep(entry, scanned.data)
            if len(entries) % _TICK == 0:
                self._progress(f"Checking objects: {len(self._kinds)}/{scan.count}\r")
        whole = [entry for entry in entries if entry.kind is not None]
        for resolved in deltas.resolve(whole):
            self._object(resolved.entry, resolved.data, resolved.patch)
            if len(self._kinds) % _TICK == 0:
                self._progress(f"Checking objects: {len(self._kinds)}/{scan.count}\r")
        self._look_into(entries, deltas)
        self._misplaced = self._find_misplaced(entries, deltas)
        self._progress(f"Checking objects: {len(self._kinds)}/{scan.count}, done.\n")
        return entries, {oid: raw for oid, raw in deltas.outside.items() if oid not in self._kinds}

    def _look_into(self, entries: list[PackEntry], deltas: Deltas) -> None:
        """The files that git itself would read, in the pack or stored before under another name."""
        names = self._fsck.references
        for name, oids in (("gitmodules", names.gitmodules), ("gitattributes", names.gitattributes)):
            for entry in entries if oids else ():
                if entry.oid in oids and entry.kind is Kind.BLOB:
                    self._look_at(name, entry.oid, deltas.data(entry))
            for oid in oids:
                kind = self._kinds.get(oid) or self._stored_kind(oid)
                if kind is Kind.BLOB and oid not in self._kinds:
                    self._look_at(name, oid, self._objects.get(oid).data)
                elif kind is not Kind.BLOB and (kind or name == "gitattributes"):  # git lets a submodule be called .gitmodules
                    self._fsck.judge.fault(kind or Kind.BLOB, oid, f"{name}Blob", f"it stands for .{name}, but it is no file")

    def _look_at(self, name: str, oid: Oid, data: bytes) -> None:
        faults = gitmodules_faults(data) if name == "gitmodules" else gitattributes_faults(data)
        for fault in faults:
            self._fsck.judge.fault(Kind.BLOB, oid, fault.id, fault.text)
        self._has_filters |= name == "gitattributes" and b"filter" in data

    def _find_misplaced(self, entries: list[PackEntry], deltas: Deltas) -> list[str]:
        """Lines about files for Git LFS; where nothing speaks of it, and no blob is large, nothing is looked for."""
        if self._terms.strictness.large is LargeBlobs.IGNORE or not (self._has_filters or self._large):
            return []
        new = _New(entries, deltas, self._objects, self._pointer_blobs)
        roots = [root for tip in self._terms.tips if (root := new.root(self._peeled(tip))) is not None]
        return list(misplaced(roots, self._large, new, self._limits).lines(self._limits))

    def _peeled(self, oid: Oid) -> Oid:
        while oid in self._tags:
            oid = self._tags[oid]
        return oid

    def _object(self, entry: PackEntry, data: bytes, patch: Patch | None = None) -> None:
        assert entry.kind is not None
        entry.oid = oid = object_id(entry.kind, data)
        self._note(oid, entry.kind)
        self._fsck.check(entry.kind, oid, data, patch)
        if entry.kind is Kind.BLOB:
            if len(data) <= MOST_BYTES and (pointer := parse(data)):
                self._pointers[pointer.oid] = pointer.blob
                self._pointer_blobs.add(oid)
            self._note_large(oid, len(data))
        elif entry.kind is Kind.COMMIT and self._terms.keep_commits:
            self._commits[oid] = parse_commit_node(oid, data)
        elif entry.kind is Kind.TAG:
            self._tags[oid] = bytes.fromhex(data[7:47].decode("ascii"))
        if self._objects.peek(oid) is not None and self._objects.get(oid) != RawObject(entry.kind, data):
            raise BadPack(f"Object {oid.hex()} differs from the stored one of the same id: a SHA-1 collision.")

    def _large_blob(self, scan: PackScan, entry: PackEntry) -> None:
        digest = hashlib.sha1(b"blob %d\0" % entry.size, usedforsecurity=False)
        for piece in scan.stream(entry):
            digest.update(piece)
        entry.oid = digest.digest()
        self._note(entry.oid, Kind.BLOB)
        self._note_large(entry.oid, entry.size)

    def _note_large(self, oid: Oid, size: int) -> None:
        if size > self._limits.regular_bytes and len(self._large) < _MOST_LARGE:
            self._large[oid] = size

    def _note(self, oid: Oid, kind: Kind) -> None:
        if oid in self._kinds:
            raise BadPack(f"The pack holds object {oid.hex()} twice.")
        self._kinds[oid] = kind

    def _stored(self, oid: Oid) -> RawObject | None:
        try:
            return self._objects.get(oid)
        except ObjectNotFound:
            return None

    def _connect(self) -> None:
        """Everything that the new objects name is in the pack or stored here already, and is what it should be.

        What is stored was checked so when it came: the store is closed under reference, and no walk is needed.
        """
        for kind in Kind:
            for oid in self._fsck.references.of(kind):
                have = self._kinds.get(oid) or self._stored_kind(oid)
                if have is None:
                    raise BadPack(_lacks(kind, oid))
                if have is not kind:
                    raise BadPack(f"Object {oid.hex()} is a {have.text.decode()}, but another object takes it for a {kind.text.decode()}.")

    def _stored_kind(self, oid: Oid) -> Kind | None:
        try:
            return self._objects.header(oid)[0]
        except ObjectNotFound:
            return None


class _New:
    """NewObjects of a pack that was read."""

    def __init__(self, entries: list[PackEntry], deltas: Deltas, objects: Objects, pointers: set[Oid]) -> None:
        self._entries = {entry.oid: entry for entry in entries}
        self._deltas = deltas
        self._objects = objects
        self._pointers = pointers

    def root(self, commit: Oid) -> Oid | None:
        entry = self._entries.get(commit)
        is_commit = entry is not None and entry.kind is Kind.COMMIT
        return parse_commit_node(commit, self._deltas.data(entry)).tree if entry is not None and is_commit else None

    def tree(self, oid: Oid) -> bytes | None:
        entry = self._entries.get(oid)
        return self._deltas.data(entry) if entry is not None and entry.kind is Kind.TREE else None

    def size(self, oid: Oid) -> int | None:
        entry = self._entries.get(oid)
        return entry.size if entry is not None and entry.kind is Kind.BLOB and oid not in self._pointers else None

    def text(self, oid: Oid) -> bytes | None:
        entry = self._entries.get(oid)
        if entry is not None:
            return self._deltas.data(entry) if entry.kind is Kind.BLOB else None
        try:
            return self._objects.get(oid).data
        except ObjectNotFound:
            return None


def _lacks(kind: Kind, oid: Oid) -> str:
    text = f"The push lacks {kind.text.decode()} {oid.hex()}, which one of its objects names."
    if kind is Kind.COMMIT:
        return f"{text} A shallow clone is made whole first: git fetch --unshallow. Else run git fsck, and push again."
    return f"{text} Run git fsck, and push again."


def complete(pack: Path, outside: dict[Oid, RawObject], count: int) -> tuple[list[tuple[Oid, int, int]], bytes]:
    """Append the bases of a thin pack to it. Returns their index rows and the new trailer."""
    rows: list[tuple[Oid, int, int]] = []
    with pack.open("r+b") as file:
        file.seek(-20, 2)
        for oid, raw in outside.items():
            entry = pack_entry(raw)
            rows.append((oid, file.tell(), zlib.crc32(entry)))
            file.write(entry)
        end = file.tell()
        file.truncate(end)
        file.seek(8)
        file.write(struct.pack(">I", count + len(outside)))
        file.seek(0)
        digest = hashlib.sha1(usedforsecurity=False)
        while piece := file.read(1 << 20):
            digest.update(piece)
        file.seek(end)
        file.write(digest.digest())
    return rows, digest.digest()

"""A pushed pack, checked and indexed: scan, deltas, fsck, connectivity, thin bases, index. One inflation an object, bounded memory."""

import hashlib
import mmap
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dulwich.pack import write_pack_index_v2

from gitserver.entries import entry_header
from gitserver.objects import Kind, Objects, RawObject, object_id
from gitserver.parse import CommitNode, parse_commit_node
from gitserver.receive.deltas import Deltas
from gitserver.receive.fsck import Fsck, check_gitattributes, check_gitmodules
from gitserver.receive.patch import Patch
from gitserver.receive.scan import Entry, PackScan
from gitserver.receive.verdict import Profile
from lfs.pointer import MOST_BYTES, parse
from storage.errors import BadPack, ObjectNotFound
from storage.limits import Limits
from storage.records import BlobRef, Oid, PackInfo

_TICK = 5000


@dataclass(frozen=True, slots=True)
class Ingested:
    """A pack that may be stored; `pointers` are the LFS objects that its blobs name, `tags` its tag objects with what they point to,
    `commits` its commits where they were asked for.
    """

    info: PackInfo
    index: Path
    kinds: dict[Oid, Kind]
    pointers: list[BlobRef]
    tags: dict[Oid, Oid] = field(default_factory=dict)
    commits: dict[Oid, CommitNode] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Terms:
    """How strictly a pack is judged, whether its commits are told, and the stored trees that its trees were made from, if that is known."""

    profile: Profile = Profile.PUSHED
    keep_commits: bool = False
    bases: tuple[Oid, ...] = ()


class Ingest:
    """One push's pack against one repository."""

    def __init__(self, objects: Objects, limits: Limits, progress: Callable[[str], None], terms: Terms) -> None:
        self._objects = objects
        self._limits = limits
        self._progress = progress
        self._fsck = Fsck(limits, terms.profile)
        self._kinds: dict[Oid, Kind] = {}
        self._pointers: dict[str, BlobRef] = {}
        self._tags: dict[Oid, Oid] = {}
        self._keep_commits = terms.keep_commits
        self._commits: dict[Oid, CommitNode] = {}
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
        return Ingested(info, index, self._kinds, list(self._pointers.values()), self._tags, self._commits)

    def _read(self, scan: PackScan) -> tuple[list[Entry], dict[Oid, RawObject]]:
        scan.read_header()
        if hashlib.sha1(scan.view[:-20], usedforsecurity=False).digest() != bytes(scan.view[-20:]):
            raise BadPack("The pack's checksum is wrong: it was damaged on the way. Push again.")
        deltas = Deltas(scan, self._limits, self._stored)
        entries: list[Entry] = []
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
        self._progress(f"Checking objects: {len(self._kinds)}/{scan.count}, done.\n")
        return entries, {oid: raw for oid, raw in deltas.outside.items() if oid not in self._kinds}

    def _look_into(self, entries: list[Entry], deltas: Deltas) -> None:
        """The files that git itself would read, in the pack or stored before under another name."""
        names = self._fsck.references
        for check, oids in ((check_gitmodules, names.gitmodules), (check_gitattributes, names.gitattributes)):
            for entry in entries if oids else ():
                if entry.oid in oids and entry.kind is Kind.BLOB:
                    check(entry.oid, deltas.data(entry))
            for oid in oids:
                kind = self._kinds.get(oid) or self._stored_kind(oid)
                if kind is Kind.BLOB and oid not in self._kinds:
                    check(oid, self._objects.get(oid).data)
                elif kind is not Kind.BLOB and (kind or oids is names.gitattributes):  # git lets a submodule be called .gitmodules
                    raise BadPack(
                        f"fsck error: {oid.hex()} stands for .gitmodules or .gitattributes, but it is no file (gitmodulesBlob …)."
                    )

    def _object(self, entry: Entry, data: bytes, patch: Patch | None = None) -> None:
        assert entry.kind is not None
        entry.oid = oid = object_id(entry.kind, data)
        self._note(oid, entry.kind)
        self._fsck.check(entry.kind, oid, data, patch)
        if entry.kind is Kind.BLOB:
            if len(data) <= MOST_BYTES and data.startswith(b"version ") and (pointer := parse(data)):
                self._pointers[pointer.oid] = pointer.blob
        elif entry.kind is Kind.COMMIT and self._keep_commits:
            self._commits[oid] = parse_commit_node(oid, data)
        elif entry.kind is Kind.TAG:
            self._tags[oid] = bytes.fromhex(data[7:47].decode("ascii"))
        if self._objects.peek(oid) is not None and self._objects.get(oid) != RawObject(entry.kind, data):
            raise BadPack(f"Object {oid.hex()} differs from the stored one of the same id: a SHA-1 collision.")

    def _large_blob(self, scan: PackScan, entry: Entry) -> None:
        digest = hashlib.sha1(b"blob %d\0" % entry.size, usedforsecurity=False)
        for piece in scan.stream(entry):
            digest.update(piece)
        entry.oid = digest.digest()
        self._note(entry.oid, Kind.BLOB)

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


def pack_entry(raw: RawObject) -> bytes:
    """An object as a whole pack entry (gitformat-pack)."""
    return entry_header(raw.kind, len(raw.data)) + zlib.compress(raw.data, 3)

"""Xet ingest: xorbs are hashed as they come and staged; a shard's files are rebuilt from them, checked and put into the pool.

Nothing is believed that was not hashed here. Order of writes (I4): staged bytes, then their row; pool object, then the rows that link it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from lfs.xet.hashes import Chunks, XetHash, file_hash, range_hash, to_text
from lfs.xet.index import FindXorb, XetIndex, Xorb
from lfs.xet.shard import ShardFile, Term, parse_shard
from lfs.xet.xorb import XorbDecoder
from storage.blobs.base import BlobStore, StagedUpload, StagingStore
from storage.errors import Invalid, ObjectNotFound, TooLarge, Unavailable
from storage.limits import Limits
from storage.records import BlobRef

_PIECE = 256 * 1024
_KEPT_XORBS = 16
_TRIES = 4  # staged bytes may move into the pool while a file is being rebuilt


@dataclass(frozen=True, slots=True)
class ByteRun:
    """A run of bytes: of the staged xorb `name`, or of the pool object `name`."""

    name: str
    is_staged: bool
    position: int
    size: int


class XorbUpload:
    """One xorb on its way in; `finish` makes it usable to its sender."""

    def __init__(self, index: XetIndex, staging: StagingStore, limits: Limits) -> None:
        self._index = index
        self._staging = staging
        self._file: StagedUpload = staging.create()
        self._decoder = XorbDecoder(self._file.write, limits)

    def feed(self, pieces: Iterable[bytes]) -> None:
        for data in pieces:
            self._decoder.feed(data)

    def finish(self, name: str, user_id: int) -> bool:
        """False when the user sent it before; what others sent is not told (I7). Raises Invalid if the bytes are not the xorb `name`."""
        value, chunks = self._decoder.finish()
        if to_text(value) != name:
            raise Invalid(f"The bytes sent are the xorb {to_text(value)}, not {name[:80]}. Send it again.")
        is_new = self._index.granted(user_id, name) is None
        if not self._is_placed(name):
            self._file.publish(name)
        noted = self._index.add(Xorb(name, chunks, True), user_id)
        if not noted.is_staged:
            self._staging.remove(name)
        elif not self._is_staged(name) and not self._is_placed(name):  # it may just have moved into the pool
            raise Unavailable("The xorb expired while it was sent again. Send it once more.")
        return is_new

    def abort(self) -> None:
        self._file.abort()

    def _is_placed(self, name: str) -> bool:
        known = self._index.find(name)
        return known is not None and known.is_placed

    def _is_staged(self, name: str) -> bool:
        try:
            self._staging.open(name).close()
        except ObjectNotFound:
            return False
        return True


class XetIngest:
    def __init__(self, index: XetIndex, staging: StagingStore, blobs: BlobStore, limits: Limits) -> None:
        self.index = index
        self._staging = staging
        self._blobs = blobs
        self._limits = limits

    def receive(self) -> XorbUpload:
        """The caller aborts it in any case."""
        return XorbUpload(self.index, self._staging, self._limits)

    def read(self, data: bytes, user_id: int) -> list[ShardFile]:
        """The files of an uploaded shard, every hash in it made again. Raises Invalid or TooLarge."""
        files = parse_shard(data, self._limits)
        if sum(max(0, term.end - term.first) for file in files for term in file.terms) > self._limits.xet_shard_chunks:
            raise TooLarge(f"The shard names more than {self._limits.xet_shard_chunks} chunks. Send fewer files at once.")
        find = self._finder(user_id)
        for file in files:
            _check_file(file, find)
            if file.size > self._limits.lfs_object_bytes:
                raise TooLarge(f"A file of {file.size} bytes is larger than the limit of {self._limits.lfs_object_bytes}.")
        return files

    def register(self, repo_id: str, user_id: int, files: Sequence[ShardFile], progress: Callable[[int], None]) -> None:
        """Rebuild what is new, then let the repository have all of it. `progress` is told the bytes rebuilt so far."""
        rebuilt = self.index.sha256_of(files)
        done = 0
        for file in files:
            known = rebuilt.get(file.hash)
            if known is not None and known != file.sha256:
                raise Invalid(f"File {to_text(file.hash)} has the SHA-256 {known}, not {file.sha256}. Check the client.")
            if known is None or not self._blobs.exists(BlobRef(file.sha256, file.size)):
                self._rebuild(file, user_id)
                rebuilt[file.hash] = file.sha256
            done += file.size
            progress(done)
        for name in self.index.settle(repo_id, files, self._finder(user_id)):
            self._staging.remove(name)

    def check(self) -> Iterator[str]:
        """One line a finding, for `kohakuhub admin check`."""
        for name in self.index.staged():
            try:
                self._staging.open(name).close()
            except ObjectNotFound:
                yield f"xorb {name}: its staged bytes are missing"

    def expire(self) -> None:
        """Drop xorbs that no shard ever used, once clients have forgotten them too."""
        seconds = self._limits.xet_staged_seconds
        self.index.expire(time.time_ns() // 1000 - seconds * 1_000_000, self._staging.remove)
        for name in self._staging.older(seconds):
            if not self.index.is_staged(name):  # its sender died between the bytes and the row
                self._staging.remove(name)

    def _finder(self, user_id: int) -> FindXorb:
        """A shard may name any number of xorbs: the last few are kept."""

        @lru_cache(maxsize=_KEPT_XORBS)
        def find(value: XetHash) -> Xorb:
            xorb = self.index.granted(user_id, to_text(value))
            if xorb is None:
                raise Invalid(
                    f"Xorb {to_text(value)} was not uploaded by you, or has expired. Remove the folder xet in the client's cache"
                    " (~/.cache/huggingface/xet) and upload again."
                )
            return xorb

        return find

    def _rebuild(self, file: ShardFile, user_id: int) -> None:
        """Raises Invalid when the bytes do not have the SHA-256 that the shard says; nothing is stored then."""
        for _ in range(_TRIES):
            upload = self._blobs.upload(BlobRef(file.sha256, file.size))
            try:
                for piece in self._pieces(_plan(file, self._finder(user_id))):
                    upload.write(piece)
                upload.commit()
                return
            except ObjectNotFound:
                continue  # another shard has moved a staged xorb into the pool: look again
            finally:
                upload.abort()
        raise Unavailable("The chunks of this file are being moved. Try again in a moment.")

    def _pieces(self, segments: Iterator[ByteRun]) -> Iterator[bytes]:
        with ExitStack() as stack:
            last: tuple[str, BinaryIO] | None = None
            for segment in segments:
                if last is None or last[0] != segment.name:
                    stack.pop_all().close()
                    opened = self._staging.open(segment.name) if segment.is_staged else self._blobs.open(segment.name)
                    last = segment.name, stack.enter_context(opened)
                yield from _read(last[1], segment)


def _check_file(file: ShardFile, find: FindXorb) -> None:
    if file_hash(_checked_runs(file, find)) != file.hash:
        raise Invalid(f"The chunks named for file {to_text(file.hash)} make another file. Check the client.")


def _checked_runs(file: ShardFile, find: FindXorb) -> Iterator[Chunks]:
    for term in file.terms:
        chunks = find(term.xorb).chunks
        if not term.first < term.end <= len(chunks):
            raise Invalid(f"The shard names chunks {term.first} to {term.end} of a xorb with {len(chunks)}. Check the client.")
        run = chunks[term.first : term.end]
        if run.size != term.size:
            raise Invalid(f"Chunks {term.first} to {term.end} of xorb {to_text(term.xorb)} have {run.size} bytes, not {term.size}.")
        if range_hash(run) != term.range_hash:
            raise Invalid(f"The range hash of chunks {term.first} to {term.end} of xorb {to_text(term.xorb)} is wrong.")
        yield run


def _plan(file: ShardFile, find: FindXorb) -> Iterator[ByteRun]:
    """Where the bytes of each term lie now."""
    offsets = lru_cache(maxsize=_KEPT_XORBS)(lambda value: find(value).offsets())
    for term in file.terms:
        xorb, at = find(term.xorb), offsets(term.xorb)
        if xorb.is_staged:
            yield ByteRun(xorb.hash, True, at[term.first], term.size)
        else:
            yield from _placed(xorb, term, at)


def _placed(xorb: Xorb, term: Term, at: list[int]) -> Iterator[ByteRun]:
    chunk = term.first
    while chunk < term.end:
        best = max((place for place in xorb.places if place.first <= chunk < place.end), key=lambda place: place.end, default=None)
        if best is None:
            raise Invalid(
                f"Chunk {chunk} of xorb {xorb.hash} has expired. Remove the folder xet in the client's cache (~/.cache/huggingface/xet)"
                " and upload again."
            )
        end = min(best.end, term.end)
        yield ByteRun(best.sha256, False, best.position + at[chunk] - at[best.first], at[end] - at[chunk])
        chunk = end


def _read(file: BinaryIO, segment: ByteRun) -> Iterator[bytes]:
    file.seek(segment.position)
    left = segment.size
    while left:
        piece = file.read(min(left, _PIECE))
        if not piece:
            raise Unavailable(f"Stored bytes of {segment.name} are shorter than they were. Tell the operator to run the check.")
        left -= len(piece)
        yield piece

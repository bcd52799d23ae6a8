"""A bundle as a file: a head that names branches and tags, then one pack with everything that they lead to (gitformat-bundle)."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from gitserver.fetch.filters import Filter
from gitserver.fetch.pack_job import PackOrder
from gitserver.fetch.packing import Rules
from gitserver.fetch.session import FetchSession
from gitserver.fetch.shallow import ShallowPlan
from storage.errors import Invalid
from storage.files import sync_file
from storage.limits import MIB
from storage.records import Oid
from storage.versions.base import Ref, Refs

_SIGNATURE = b"# v2 git bundle\n"
_BUNDLED = (b"refs/heads/", b"refs/tags/")
_LINE_BYTES = 4096
_PIECE = MIB


def write_bundle(session: FetchSession, path: Path, go_on: Callable[[], None]) -> str:
    """Write all of `session`'s branches and tags; the SHA-1 of the file in hex. `go_on` is called before each MiB and may raise.

    Raises Invalid when there is nothing to write.
    """
    chosen = [ref for ref in session.refs.refs if ref.name.startswith(_BUNDLED)]
    if not chosen:
        raise Invalid("The repository has no branch and no tag yet.")
    digest = hashlib.sha1(usedforsecurity=False)
    with path.open("wb") as file:
        for piece in _gathered(_pieces(session, chosen, go_on)):
            go_on()
            digest.update(piece)
            file.write(piece)
    sync_file(path)
    return digest.hexdigest()


def read_tips(file: BinaryIO, most: int) -> list[Oid]:
    """What the head of a bundle of ours names. Raises Invalid for any other file, and for more than `most` lines."""
    if file.readline(_LINE_BYTES) != _SIGNATURE:
        raise Invalid("This is no bundle.")
    tips: list[Oid] = []
    for _ in range(most):
        line = file.readline(_LINE_BYTES)
        if line == b"\n":
            return tips
        oid, _, name = line.partition(b" ")
        if len(oid) != 40 or not name.endswith(b"\n"):
            break
        tips.append(bytes.fromhex(oid.decode("ascii")))
    raise Invalid("The head of this bundle is damaged.")


def _pieces(session: FetchSession, chosen: list[Ref], go_on: Callable[[], None]) -> Iterator[bytes | memoryview]:
    wanted = session.wanted(ref.oid for ref in chosen)
    yield _SIGNATURE + b"".join(_head(session.refs, chosen)) + b"\n"
    job = session.pack(PackOrder(wanted, (), ShallowPlan(), Filter(), False, Rules(ofs_delta=True, thin=False)))
    for _ in job.run():
        go_on()
    yield from job.pieces()


def _head(refs: Refs, chosen: list[Ref]) -> Iterator[bytes]:
    head = refs.get(refs.head)
    if head is not None:
        yield b"%s HEAD\n" % head.oid.hex().encode()
    for ref in chosen:
        yield b"%s %s\n" % (ref.oid.hex().encode(), ref.name)


def _gathered(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        if len(waiting) >= _PIECE:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)

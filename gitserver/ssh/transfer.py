"""git-lfs-transfer: large objects and locks over SSH alone (git-lfs docs/proposals/ssh_adapter.md, version 1)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from gitserver.protocol.pktline import DELIM, FLUSH, MAX_DATA, Special, pkt, read_pkt
from gitserver.ssh.lock_commands import LockCommands, status
from gitserver.ssh.stream import Stream
from lfs.objects.possession import Possession
from lfs.transfers.wire import BadObject, Unprocessable, parse_object
from storage.blobs.base import BlobStore
from storage.errors import Forbidden, HubError, Invalid, NotFound, ObjectNotFound, RepoNotFound, TooLarge
from storage.limits import Limits
from storage.records import BlobRef, Repo

_MOST_ARGUMENTS = 32
_MOST_LINE = 2048  # a path of 1024 bytes fits


@dataclass(slots=True)
class _Request:
    """One command. Where `has_body`, lines or bytes follow up to the next flush, and the command reads them all."""

    verb: str
    value: str
    arguments: dict[str, str] = field(default_factory=dict)
    has_body: bool = False


class Transfer:
    """One session: `admit` asks for its right anew at each command."""

    def __init__(
        self,
        admit: Callable[[], Repo],
        possession: Possession,
        blobs: BlobStore,
        locks: LockCommands,
        limits: Limits,
        stream: Stream,
        *,
        is_upload: bool,
    ) -> None:
        self._admit = admit
        self._possession = possession
        self._blobs = blobs
        self._locks = locks
        self._limits = limits
        self._stream = stream
        self._is_upload = is_upload
        self._commands: dict[str, Callable[[_Request], Iterator[bytes]]] = {
            "version": self._version,
            "batch": self._batch,
            "put-object": self._put,
            "verify-object": self._verify,
            "get-object": self._get,
            "lock": self._lock,
            "list-lock": self._list_locks,
            "list-locks": self._list_locks,
            "unlock": self._unlock,
        }

    def serve(self) -> int:
        """The exit status. git-lfs leaves connections that it did not need without a word."""
        self._stream.write(pkt(b"version=1\n") + pkt(b"locking\n") + FLUSH)
        while (request := self._read()) is not None:
            if request.verb == "quit":
                self._stream.write(status(200) + FLUSH)
                return 0
            for piece in self._answer(request):
                self._stream.write(piece)
        return 0

    def _read(self) -> _Request | None:
        """The next command, up to its body. Raises Invalid for what cannot be read on from."""
        first = read_pkt(self._stream)
        if first is None:
            return None
        verb, _, value = _text(first).partition(" ")
        request = _Request(verb, value)
        while isinstance(packet := read_pkt(self._stream), bytes):
            name, _, given = _text(packet).partition("=")
            request.arguments[name] = given
            if len(request.arguments) > _MOST_ARGUMENTS:
                raise TooLarge(f"A command has at most {_MOST_ARGUMENTS} arguments here.")
        request.has_body = packet is Special.DELIM
        return request

    def _answer(self, request: _Request) -> Iterator[bytes]:
        """What a command refuses, it refuses before its answer begins."""
        try:
            command = self._commands.get(request.verb)
            if command is None:
                self._skip(request)
                raise NotFound(f"{request.verb[:60]!r} is not served here.")
            yield from command(request)
        except _Fatal as error:
            raise Invalid(error.message) from error
        except HubError as error:
            message = "Repository not found." if isinstance(error, RepoNotFound) else error.message
            yield status(error.status) + DELIM + pkt(" ".join(message.split()).encode()[:_MOST_LINE] + b"\n") + FLUSH

    def _version(self, request: _Request) -> Iterator[bytes]:
        self._skip(request)
        if request.value != "1":
            raise Invalid(f"Version {request.value[:20]!r} is not known here; this is version 1.")
        yield status(200) + FLUSH

    def _batch(self, request: _Request) -> Iterator[bytes]:
        blobs = [self._object(line) for line in self._lines(request)]
        if request.arguments.get("hash-algo", "sha256") != "sha256":
            raise Unprocessable("Only hash-algo sha256 is known here. Configure the client for it.")
        held = self._possession.held(self._admit().id, {blob.sha256 for blob in blobs})
        yield status(200) + pkt(b"hash-algo=sha256\n") + DELIM
        for blob in blobs:
            have = held.get(blob.sha256) == blob
            action = "noop" if have == self._is_upload else "upload" if self._is_upload else "download"
            yield pkt(f"{blob.sha256} {blob.size} {action}\n".encode())
        yield FLUSH

    def _put(self, request: _Request) -> Iterator[bytes]:
        """The body is read to its end whatever comes of it, so that the next command is found; but not more than was announced."""
        try:
            blob, repo = self._named(request), self._admit()
            if not self._is_upload:
                raise Forbidden("This session is for downloads. git-lfs opens another one to upload.")
            upload = self._blobs.upload(blob)
        except HubError:
            self._drop(self._body(request, self._limits.lfs_object_bytes))
            raise
        body = self._body(request, blob.size)
        try:
            for data in body:
                upload.write(data)
            upload.commit()
            self._possession.link(repo.id, blob)
        finally:
            upload.abort()
            self._drop(body)
        yield status(200) + FLUSH

    def _verify(self, request: _Request) -> Iterator[bytes]:
        self._skip(request)
        blob = self._named(request)
        if self._possession.has(self._admit().id, blob.sha256) != blob:
            raise ObjectNotFound(f"Object {blob.sha256} of {blob.size} bytes is not in this repository. Upload it first.")
        yield status(200) + FLUSH

    def _get(self, request: _Request) -> Iterator[bytes]:
        self._skip(request)
        sha256 = _oid(request.value)
        blob = self._possession.has(self._admit().id, sha256)
        if blob is None:
            raise ObjectNotFound(f"Object {sha256} is not in this repository. Push it with: git lfs push --all")
        with self._blobs.open(sha256) as file:
            yield status(200) + pkt(f"size={blob.size}\n".encode()) + DELIM
            yield from _packets(file)
        yield FLUSH

    def _lock(self, request: _Request) -> Iterator[bytes]:
        self._skip(request)
        yield from self._locks.lock(request.arguments)

    def _list_locks(self, request: _Request) -> Iterator[bytes]:
        self._skip(request)
        yield from self._locks.list(request.arguments)

    def _unlock(self, request: _Request) -> Iterator[bytes]:
        self._skip(request)
        yield from self._locks.unlock(request.value, request.arguments)

    def _named(self, request: _Request) -> BlobRef:
        return self._object(f"{request.value} {request.arguments.get('size', '')}")

    def _object(self, line: str) -> BlobRef:
        """Of `oid size`, and what follows, which nobody here needs. Raises Unprocessable, Invalid."""
        sha256, _, rest = line.partition(" ")
        size = rest.partition(" ")[0]
        if not (size.isascii() and size.isdigit() and len(size) < 19):
            raise Invalid(f"Object {sha256[:80]!r} has no size. Send it in bytes.")
        blob = parse_object({"oid": sha256, "size": int(size)}, self._limits)
        if isinstance(blob, BadObject):
            raise Unprocessable(blob.message)
        return blob

    def _lines(self, request: _Request) -> list[str]:
        lines: list[str] = []
        count = 0
        while request.has_body and isinstance(packet := read_pkt(self._stream), bytes):
            count += 1
            if count <= self._limits.lfs_batch_objects:
                lines.append(_text(packet))
            elif count > 10 * self._limits.lfs_batch_objects:
                raise _Fatal("The batch does not end.")
        if count > len(lines):
            raise TooLarge(f"The batch names {count} objects; at most {len(lines)} are taken at once. Send smaller batches.")
        return lines

    def _body(self, request: _Request, size: int) -> Iterator[bytes]:
        while request.has_body and (packet := read_pkt(self._stream)) is not Special.FLUSH:
            if not isinstance(packet, bytes):
                raise _Fatal("The object's bytes end before they are all here. Send it again.")
            size -= len(packet)
            if size < 0:
                raise _Fatal("More bytes came than the object has. Send the file as it is.")
            yield packet

    def _skip(self, request: _Request) -> None:
        """The body of a command that has none, or is not known."""
        self._drop(self._body(request, self._limits.command_bytes))

    def _drop(self, body: Iterator[bytes]) -> None:
        for _ in body:
            pass


class _Fatal(HubError):
    """The client is not where this side thinks it is: nothing more can be read."""


def _packets(file: BinaryIO) -> Iterator[bytes]:
    try:
        while data := file.read(4 * MAX_DATA):
            yield b"".join(pkt(data[start : start + MAX_DATA]) for start in range(0, len(data), MAX_DATA))
    except HubError as error:  # the size is told already: only the end of the session tells the client now
        raise _Fatal(error.message) from error


def _text(packet: bytes | Special) -> str:
    """A line of the protocol. Raises Invalid."""
    if not isinstance(packet, bytes) or len(packet) > _MOST_LINE:
        raise Invalid("This is no git-lfs-transfer command. Use git-lfs 3 or newer.")
    return packet.removesuffix(b"\n").decode("utf-8", "replace")


def _oid(text: str) -> str:
    if len(text) != 64 or not all(char in "0123456789abcdef" for char in text):
        raise Unprocessable("The oid is not a sha256 in 64 lower-case hex digits.")
    return text

"""The body of a commit: one JSON object a line (x-ndjson), read while it arrives. File contents go to a spool on disk, not to memory."""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from typing import IO, Any

from gitserver.commit.changes import Change, CommitRequest, CopiedFile, Put, PutLarge, Remove
from gitserver.commit.paths import checked_path
from httpapi.bodies import parse_json
from storage.errors import Invalid, TooLarge
from storage.limits import Limits
from storage.records import Oid

# Few texts, and few characters between them: as objects, 16 MiB of `[],[],[],` would take hundreds.
_SHAPE = re.compile(rb'(?:"(?:[^"\\]++|\\.)*+"|[^"]){0,10000}+', re.DOTALL)
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class CommitReader:
    """Fed with the body in any pieces; `finish` gives the request. Raises Invalid, BadPath, TooLarge that name the line."""

    def __init__(self, spool: IO[bytes], limits: Limits) -> None:
        self._spool = spool
        self._limits = limits
        self._digest = hashlib.sha256()
        self._rest = bytearray()
        self._line = 0
        self._changes: list[Change] = []
        self._header: dict[str, Any] | None = None

    def feed(self, data: bytes) -> None:
        self._digest.update(data)
        searched = len(self._rest)
        self._rest += data
        start = 0
        while (end := self._rest.find(b"\n", max(start, searched))) >= 0:
            self._read(self._rest[start:end])
            start = end + 1
        del self._rest[:start]
        if len(self._rest) > self._limits.commit_line_bytes:
            raise self._long()

    def finish(self, branch: bytes, user_id: int) -> CommitRequest:
        line, self._rest = self._rest, bytearray()
        if line:
            self._read(line)
        if self._header is None:
            raise Invalid("The commit has no header line. Check the client.")
        self._digest.update(b"\0%d %s" % (user_id, branch))
        return CommitRequest(branch, self._message(), self._parent(), tuple(self._changes), self._spool, self._digest.hexdigest())

    def _read(self, line: bytearray) -> None:
        self._line += 1
        if len(line) > self._limits.commit_line_bytes:
            raise self._long()
        if not line.strip():
            return
        item = parse_json(line, f"Line {self._line} of the commit") if _SHAPE.fullmatch(line) else None
        if not isinstance(item, dict) or not isinstance(item.get("value"), dict):
            raise self._bad("it is no object with key and value, or one with far too much beside")
        key, value = item.get("key"), item["value"]
        if key == "header":
            self._head(value)
        elif isinstance(key, str) and key in _READERS:
            if len(self._changes) >= self._limits.commit_operations:
                raise TooLarge(f"The commit has more than {self._limits.commit_operations} operations. Make several commits of it.")
            self._changes.append(_READERS[key](self, value))
        else:
            raise self._bad(f"the key {str(key)[:40]!r} is not known")

    def _head(self, value: dict[str, Any]) -> None:
        if self._header is not None:
            raise self._bad("there is a header already")
        self._header = value

    def _file(self, value: dict[str, Any]) -> Put:
        path = checked_path(value.get("path"), self._limits)
        content = value.get("content")
        if not isinstance(content, str):
            raise self._bad("the file has no content")
        encoding = value.get("encoding", "base64")
        try:
            data = base64.b64decode(content, validate=True) if encoding == "base64" else content.encode()
        except (binascii.Error, ValueError) as error:
            raise self._bad("the content is not base64") from error
        if encoding not in ("base64", "utf-8"):
            raise self._bad(f"the encoding {str(encoding)[:40]!r} is not known; base64 and utf-8 are")
        position = self._spool.tell()
        self._spool.write(data)
        return Put(path, position, len(data))

    def _large(self, value: dict[str, Any]) -> PutLarge:
        path = checked_path(value.get("path"), self._limits)
        oid, size = value.get("oid"), value.get("size")
        if value.get("algo", "sha256") != "sha256" or not isinstance(oid, str) or not _SHA256.fullmatch(oid):
            raise self._bad("the oid is not a sha256 in 64 lower-case hex digits")
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
            raise self._bad("the size is no number of bytes")
        return PutLarge(path, oid, size)

    def _removed(self, value: dict[str, Any]) -> Remove:
        path = value.get("path")
        return Remove(checked_path(path.rstrip("/") if isinstance(path, str) else path, self._limits))

    def _copied(self, value: dict[str, Any]) -> CopiedFile:
        revision = value.get("srcRevision")
        if revision is not None and not isinstance(revision, str):
            raise self._bad("srcRevision is no text")
        return CopiedFile(checked_path(value.get("path"), self._limits), checked_path(value.get("srcPath"), self._limits), revision or None)

    def _message(self) -> str:
        assert self._header is not None
        summary, description = self._header.get("summary"), self._header.get("description") or ""
        if not isinstance(summary, str) or not isinstance(description, str) or not summary.replace("\0", "").strip():
            raise Invalid("The header of the commit needs a summary. Give the commit a message.")
        message = f"{summary.strip()}\n\n{description.strip()}".replace("\0", "").strip()
        if len(message.encode("utf-8", "replace")) > self._limits.commit_message_bytes:
            raise TooLarge(f"The commit message has more than {self._limits.commit_message_bytes} bytes. Shorten it.")
        return message

    def _parent(self) -> Oid | None:
        assert self._header is not None
        parent = self._header.get("parentCommit")
        if parent is None or parent == "":
            return None
        if not isinstance(parent, str) or not _SHA1.fullmatch(parent):
            raise Invalid(f"parentCommit {str(parent)[:60]!r} is not a commit id of 40 hex digits.")
        return bytes.fromhex(parent)

    def _bad(self, fault: str) -> Invalid:
        return Invalid(f"Line {self._line} of the commit is wrong: {fault}. Check the client.")

    def _long(self) -> TooLarge:
        return TooLarge(f"A line of the commit is longer than {self._limits.commit_line_bytes} bytes. Upload large files as large files.")


# By function, not by bound method: a reader that refers to itself, with its megabytes, would wait for the cycle collector.
_READERS: dict[str, Callable[[CommitReader, dict[str, Any]], Change]] = {
    "file": CommitReader._file,
    "lfsFile": CommitReader._large,
    "deletedFile": CommitReader._removed,
    "deletedFolder": CommitReader._removed,
    "copyFile": CommitReader._copied,
}

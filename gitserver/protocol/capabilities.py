"""What this server says that it can do: one row a capability, as in git's serve.c and upload-pack.c. Only what works stands here."""

import re
from dataclasses import dataclass

from gitserver.protocol.sessions import session_line
from storage.versions.base import Refs

AGENT = b"kohakuhub"
_VERSION = re.compile(r"(?:^|:)version=([012])(?=:|$)")

# Protocol v0 and v1, upload-pack.
UPLOAD_PACK: tuple[bytes, ...] = (
    b"multi_ack",
    b"thin-pack",
    b"side-band",
    b"side-band-64k",
    b"ofs-delta",
    b"shallow",
    b"deepen-since",
    b"deepen-not",
    b"deepen-relative",
    b"no-progress",
    b"include-tag",
    b"multi_ack_detailed",
    b"no-done",
    b"allow-tip-sha1-in-want",
    b"allow-reachable-sha1-in-want",
    b"filter",
    b"object-format=sha1",
    b"agent=" + AGENT,
)

# Protocol v0 and v1, receive-pack.
RECEIVE_PACK: tuple[bytes, ...] = (
    b"report-status",
    b"report-status-v2",
    b"delete-refs",
    b"side-band-64k",
    b"quiet",
    b"atomic",
    b"push-options",
    b"ofs-delta",
    b"object-format=sha1",
    b"agent=" + AGENT,
)


@dataclass(frozen=True, slots=True)
class Capability:
    """One line of the v2 advertisement; `is_command` ones may stand behind `command=`."""

    name: bytes
    value: bytes = b""
    is_command: bool = False

    @property
    def line(self) -> bytes:
        return self.name + (b"=" + self.value if self.value else b"") + b"\n"


V2: tuple[Capability, ...] = (
    Capability(b"agent", AGENT),
    Capability(b"ls-refs", b"unborn", is_command=True),
    Capability(b"fetch", b"shallow wait-for-done filter ref-in-want sideband-all", is_command=True),
    Capability(b"server-option"),
    Capability(b"object-format", b"sha1"),
    Capability(b"object-info", is_command=True),
    Capability(b"bundle-uri", is_command=True),
)


def upload_pack_line(refs: Refs, session: str, *, is_stateless: bool = True) -> bytes:
    """The v0 capability list; it names where HEAD points. `no-done` is for stateless connections only."""
    symref = (b"symref=HEAD:" + refs.head,) if refs.get(refs.head) is not None else ()
    names = UPLOAD_PACK if is_stateless else tuple(name for name in UPLOAD_PACK if name != b"no-done")
    return b" ".join((*names, session_line(session), *symref))


def receive_pack_line(session: str) -> bytes:
    return b" ".join((*RECEIVE_PACK, session_line(session)))


def version_asked(protocol: str) -> int:
    """The highest known version that a client names (`version=2:key=value`, in Git-Protocol or GIT_PROTOCOL), 0 without one."""
    return max(map(int, _VERSION.findall(protocol)), default=0)

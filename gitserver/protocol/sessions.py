"""session-id: a name for each side's run of git, so that the operator's log and the client's trace can be laid beside each other."""

import logging
import re
import secrets

log = logging.getLogger(__name__)

_LONGEST = 128
_NAME = b"session-id"
_PLAIN = re.compile(rb"[!-~]+")  # printable and without spaces, as the protocol asks


def new_session() -> str:
    return secrets.token_hex(8)


def session_line(session: str) -> bytes:
    """The capability, with our own name in it; a new one where the door has none that can be shown."""
    name = session.encode()
    return _NAME + b"=" + (name[:_LONGEST] if _PLAIN.fullmatch(name) else new_session().encode())


def note_client(capability: bytes, own: str) -> None:
    """Log what a client says its session is, bounded; what is no name is left out: nothing depends on it."""
    name, _, value = capability.partition(b"=")
    if name == _NAME and _PLAIN.fullmatch(value):
        log.info("git session %s of a client is %s here", value[:_LONGEST].decode("ascii"), own[:_LONGEST] or "nameless")

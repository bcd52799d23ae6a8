"""Paths that clients name in text: what git would refuse in a tree is refused here with a message about the path (git's verify_path)."""

import re

from gitserver.receive.names import is_dotgit
from storage.errors import BadPath
from storage.limits import Limits

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME_BYTES = 255


def checked_path(text: object, limits: Limits) -> bytes:
    """`text` as git's bytes. Raises BadPath that says what is wrong with it."""
    if not isinstance(text, str) or not text:
        raise BadPath("A path must be a text that is not empty.")
    fault = _fault(text, limits)
    if fault:
        raise BadPath(f"Path {text[:200].encode('ascii', 'backslashreplace').decode()!r} is not allowed: {fault}.")
    return text.encode()


def _fault(text: str, limits: Limits) -> str:
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return "it is no valid Unicode text"
    if _CONTROL.search(text):
        return "it holds a control character"
    if "\\" in text:
        return "it holds a backslash; folders are separated by /"
    if len(data) > limits.path_bytes:
        return f"it has {len(data)} bytes, and {limits.path_bytes} are allowed"
    return next((fault for name in data.split(b"/") if (fault := name_fault(name))), "")


def name_fault(name: bytes) -> str:
    """Why no tree may hold an entry of that name; empty when it may."""
    if name in (b"", b".", b".."):
        return "it must be relative, without empty parts, '.' or '..'"
    if len(name) > _NAME_BYTES:
        return f"one of its parts has {len(name)} bytes, and {_NAME_BYTES} are allowed"
    return "'.git' in any spelling belongs to git itself" if is_dotgit(name) else ""

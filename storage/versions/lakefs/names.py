"""Names in LakeFS. Branch ids hold only `[0-9A-Za-z_-]`, tag ids no `/`: git's ref names are encoded, so that each has one id and back.

`_HH` stands for a byte. Every encoded name begins with a letter, a digit or `_HH`, so names of our own (`_tx-…`) never meet one.
"""

import base64
import hashlib
import re

_HEADS = b"refs/heads/"
_TAGS = b"refs/tags/"
_MOST_BYTES = 512
_HEX64 = re.compile(r"[0-9a-f]{64}")
_REPOSITORY = re.compile(r"h-([a-z2-7]{26})")
_ESCAPED = re.compile(r"_([0-9A-F]{2})")
_PLAIN = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-")
_TAG_PLAIN = _PLAIN | {ord(".")}
_LIKE_ESCAPE = re.compile(rb"_[0-9A-F]{2}")

SCRATCH = "_tx-"
_HASHED = "_x-"
_DOTTED = "t."


def repository_id(repo_id: str) -> str:
    """LakeFS's id of a hub repository (32 hex digits): `h-` and 26 letters and digits. It never changes, whatever the name."""
    return "h-" + base64.b32encode(bytes.fromhex(repo_id)).decode().rstrip("=").lower()


def repo_id_of(repository: str) -> str | None:
    """The hub's id for LakeFS's; None for what is none of ours."""
    found = _REPOSITORY.fullmatch(repository)
    return base64.b32decode(found[1].upper() + "======").hex() if found else None


def branch_id(ref: bytes) -> str:
    """LakeFS's branch for `refs/heads/…`."""
    return _encode(ref.removeprefix(_HEADS), _PLAIN)


def branch_ref(branch: str) -> bytes | None:
    """The ref for a LakeFS branch; None for scratch branches, and for shortened names, which only rows and commits tell."""
    if branch.startswith((SCRATCH, _HASHED)):
        return None
    name = _unescape(branch)
    return _HEADS + (name if _encode(name, _PLAIN) == branch else branch.encode())  # made in LakeFS, where our rules are not known


def tag_id(ref: bytes) -> str:
    """LakeFS's tag for `refs/tags/…`. LakeFS does not let a tag have a branch's name: each of these has a dot, which no branch has."""
    name = ref.removeprefix(_TAGS)
    text = _encode(name, _TAG_PLAIN)
    if text.startswith(_DOTTED):
        return f"_{name[0]:02X}" + text[1:]
    return text if "." in text else _DOTTED + text


def tag_ref(tag: str) -> bytes | None:
    """The ref for a LakeFS tag; None for shortened names."""
    if tag.startswith((_HASHED, _DOTTED + _HASHED)):
        return None
    name = _unescape(tag.removeprefix(_DOTTED))
    return _TAGS + (name if tag_id(_TAGS + name) == tag else tag.encode())


def _encode(name: bytes, plain: frozenset[int]) -> str:
    is_like_commit = _HEX64.fullmatch(name.decode("latin-1")) is not None  # LakeFS would take it for a commit's id
    text = "".join(_escaped(name, at, plain, is_kept=not (is_like_commit and at == 0)) for at in range(len(name)))
    return text if len(text) <= _MOST_BYTES else _HASHED + hashlib.sha256(name).hexdigest()


def _escaped(name: bytes, at: int, plain: frozenset[int], *, is_kept: bool) -> str:
    byte = name[at]
    is_underscore = byte == ord("_") and at > 0 and not _LIKE_ESCAPE.match(name, at)
    is_plain = is_underscore or (byte in plain and not (at == 0 and byte in b"-."))
    return chr(byte) if is_plain and is_kept else f"_{byte:02X}"


def _unescape(text: str) -> bytes:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text).encode("latin-1", "replace")

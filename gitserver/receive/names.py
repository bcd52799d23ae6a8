"""Names that a checkout could mistake for `.git` or its control files, on any file system (git's fsck, verify_path, utf8.c)."""

import re

# Code points that HFS+ ignores when it compares names.
_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_NTFS_END = re.compile(rb"[:\\].*", re.DOTALL)


def is_dotgit(name: bytes) -> bool:
    """`.git` itself, or a name that HFS+ or NTFS takes for it."""
    if b"\\" in name and any(is_dotgit(part) for part in name.split(b"\\")):
        return True
    return _ntfs(name) in (b".git", b"git~1") or _hfs(name) == b".git"


def is_dotgit_file(name: bytes, wanted: bytes) -> bool:
    """Whether `name` stands for `wanted` (b".gitmodules") somewhere; the short NTFS names `gitmod~1` to `~4` too."""
    plain = _ntfs(name)
    short = wanted[1:7]
    return plain == wanted or _hfs(name) == wanted or (plain[:-1] == short + b"~" and plain[-1:] in b"1234" and len(plain) == 8)


def _ntfs(name: bytes) -> bytes:
    return _NTFS_END.sub(b"", name).rstrip(b" .").lower()


def _hfs(name: bytes) -> bytes:
    if name.isascii():
        return name.lower()
    try:
        return _IGNORED.sub("", name.decode("utf-8")).lower().encode()
    except UnicodeDecodeError:
        return name

"""Names that a checkout could mistake for `.git` or its control files, on any file system (git's fsck.c, path.c, utf8.c)."""

import re

# Code points that HFS+ ignores when it compares names.
_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_NTFS_DOTGIT = re.compile(rb"(?:\.git|git~1)[. ]*(?:[\\/:]|\Z)", re.IGNORECASE)


class ControlFile:
    """A file beside `.git` that git reads. `short` is what NTFS makes short names of where the usual ones are taken."""

    def __init__(self, name: bytes, short: bytes) -> None:
        usual = re.escape(b"." + name) + b"|" + re.escape(name[:6]) + b"~[1-4]"
        others = b"|".join(re.escape(short[:at]) + b"~[1-9][0-9]{%d}" % (6 - at) for at in range(7))
        self._ntfs = re.compile(rb"(?:" + usual + b"|" + others + rb")[. ]*(?::|\Z)", re.IGNORECASE)
        self._plain = "." + name.decode()

    def is_named(self, name: bytes) -> bool:
        return self._ntfs.match(name) is not None or _hfs(name) == self._plain

    def is_behind_backslash(self, name: bytes) -> bool:
        """NTFS takes a backslash for a slash."""
        return any(self._ntfs.match(part) for part in _tails(name))


GITMODULES = ControlFile(b"gitmodules", b"gi7eba")
GITATTRIBUTES = ControlFile(b"gitattributes", b"gi7d29")
GITIGNORE = ControlFile(b"gitignore", b"gi250a")
MAILMAP = ControlFile(b"mailmap", b"maba30")


def is_dotgit(name: bytes) -> bool:
    """`.git` itself, or a name that HFS+ or NTFS takes for it."""
    return any(_NTFS_DOTGIT.match(part) for part in (name, *_tails(name))) or _hfs(name) == ".git"


def _tails(name: bytes) -> list[bytes]:
    """What stands behind each backslash."""
    return [name[at.end() :] for at in re.finditer(rb"\\", name)]


def _hfs(name: bytes) -> str:
    """As HFS+ compares it, up to where it is no UTF-8 any more; empty for a name that is not in ASCII then."""
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError as error:
        text = name[: error.start].decode("utf-8")
    text = _IGNORED.sub("", text)
    return text.lower() if text.isascii() else ""

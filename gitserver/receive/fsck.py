"""Strict fsck of single objects: what `git index-pack --strict` refuses (git's fsck-msgids: ERROR and WARN), and what each names.

Odd but legal objects pass byte for byte: signatures, encodings, mergetags, unknown headers, octopus merges, gitlinks, names in any bytes.
"""

import re
from dataclasses import dataclass, field
from enum import Enum

from gitserver.objects import Kind
from gitserver.receive.gitmodules import gitmodules_fault
from gitserver.receive.names import GITATTRIBUTES, GITMODULES, is_dotgit
from storage.errors import BadPack
from storage.limits import Limits
from storage.records import ZERO_OID, Oid

_PERSON = rb"[^<>\n\0]* <[^<>\n\0]*> (?:0|[1-9][0-9]{0,18}) [+-][0-9]{4}\n"
_COMMIT = re.compile(rb"tree ([0-9a-f]{40})\n((?:parent [0-9a-f]{40}\n)*)author " + _PERSON + rb"committer " + _PERSON)
_TAG = re.compile(rb"object ([0-9a-f]{40})\ntype (commit|tree|blob|tag)\ntag ([^\n\0]*)\n(?:tagger " + _PERSON + rb")?(?=[^\n]*\n|\Z)")
_WHOLE_ENTRY = re.compile(rb"[0-7]+ [^\0]*\0.{20}", re.DOTALL)
_MOST_JUDGED = 200_000  # entries of trees that are remembered
# Odd permissions of regular files are badFilemode, which git only mentions; other kinds of entry are what they are exactly.
_MODE = re.compile(rb"100[0-7]{3}|120000|40000|160000")
_SUSPECT = re.compile(rb"git|~[1-9]|[^\x00-\x7f]|\\", re.IGNORECASE)  # only such names can stand for .git and its files
_SLASH = ord("/")
_MOST_ATTRIBUTES = 100 << 20
_LONGEST_ATTRIBUTE = 2048
_KINDS = {kind.text: kind for kind in Kind}
# What old programs wrote into people's lines (missingEmail, missingSpaceBeforeDate, badDate, badTimezone …), and modes like 040000.
_LINE = rb" (?![^\n]*[0-9]{19})[^\n\0]*\n"
_OLD_COMMIT = re.compile(rb"tree ([0-9a-f]{40})\n((?:parent [0-9a-f]{40}\n)*)author" + _LINE + rb"committer" + _LINE)
_OLD_TAG = re.compile(rb"object ([0-9a-f]{40})\ntype (commit|tree|blob|tag)\ntag ([^\n\0]*)\n(?:tagger" + _LINE + rb")?(?=[^\n]*\n|\Z)")
_OLD_MODE = re.compile(rb"0{0,2}(?:100[0-7]{3}|120000|40000|160000)")


class Profile(Enum):
    """How strict: PUSHED is git's own `--strict`; IMPORTED also takes what old histories are known to hold and no program trips over:
    odd lines about people (author, committer, tagger) and zero-padded modes. All that is a danger stays refused.
    """

    PUSHED = 0
    IMPORTED = 1


@dataclass(slots=True)
class References:
    """What the objects of a pack name, by the kind that it must have."""

    commits: set[Oid] = field(default_factory=set)
    trees: set[Oid] = field(default_factory=set)
    blobs: set[Oid] = field(default_factory=set)
    tags: set[Oid] = field(default_factory=set)
    gitmodules: set[Oid] = field(default_factory=set)  # these two are looked into, wherever they are stored
    gitattributes: set[Oid] = field(default_factory=set)

    def of(self, kind: Kind) -> set[Oid]:
        return {Kind.COMMIT: self.commits, Kind.TREE: self.trees, Kind.BLOB: self.blobs, Kind.TAG: self.tags}[kind]


class Fsck:
    """Checks objects one by one and gathers their references. Raises BadPack that names the object and the fault as git does."""

    def __init__(self, limits: Limits, profile: Profile = Profile.PUSHED) -> None:
        self._limits = limits
        is_old = profile is Profile.IMPORTED
        self._commit_form, self._tag_form, self._mode = (_OLD_COMMIT, _OLD_TAG, _OLD_MODE) if is_old else (_COMMIT, _TAG, _MODE)
        self.references = References()
        self._judged: dict[bytes, bytes] = {}  # good entries of trees, and what each is sorted by

    def check(self, kind: Kind, oid: Oid, data: bytes) -> None:
        if kind in (Kind.COMMIT, Kind.TAG) and not data.endswith(b"\n") and b"\n\n" not in data:
            raise _bad(kind, oid, "unterminatedHeader: its header does not end with a line feed")
        if kind is Kind.TREE:
            self._tree(oid, data)
        elif kind is Kind.COMMIT:
            self._commit(oid, data)
        elif kind is Kind.TAG:
            self._tag(oid, data)

    def _commit(self, oid: Oid, data: bytes) -> None:
        match = self._commit_form.match(data)
        if match is None:
            raise _bad(Kind.COMMIT, oid, _commit_fault(data))
        if b"\0" in data:
            raise _bad(Kind.COMMIT, oid, "nulInCommit: a NUL byte stands in it")
        if data.startswith(b"author ", match.end()):
            raise _bad(Kind.COMMIT, oid, "multipleAuthors")
        self.references.trees.add(bytes.fromhex(match[1].decode()))
        parents = match[2]
        for start in range(7, len(parents), 48):
            self.references.commits.add(bytes.fromhex(parents[start : start + 40].decode()))

    def _tag(self, oid: Oid, data: bytes) -> None:
        match = self._tag_form.match(data)
        if match is None:
            raise _bad(Kind.TAG, oid, "its header is not object, type, tag and tagger (missingObject, badType, missingTag or badTagger)")
        header = data[: data.find(b"\n\n")] if b"\n\n" in data else data
        if b"\0" in header:
            raise _bad(Kind.TAG, oid, "nulInHeader")
        if data.startswith(b"tagger ", match.end(3) + 1) and match.end() == match.end(3) + 1:
            raise _bad(Kind.TAG, oid, "badTagger: the tagger line is no name, <email>, date and zone")
        self.references.of(_KINDS[match[2]]).add(bytes.fromhex(match[1].decode()))

    def _tree(self, oid: Oid, data: bytes) -> None:
        """Versions of a tree have most of their entries in common: each is judged once, then only their order and number."""
        entries = _WHOLE_ENTRY.findall(data)
        keys: list[bytes] = list(map(self._judged.get, entries))  # type: ignore[arg-type]
        if None in keys:
            keys = [self._judged.get(entry) or self._entry(oid, entry) for entry in entries]
        if b"".join(entries) != data:
            raise _bad(Kind.TREE, oid, "badTree: it cannot be parsed")
        different = set(keys)
        is_in_order = len(different) == len(keys) and sorted(keys) == keys
        if not is_in_order or not different.isdisjoint([key[:-1] for key in keys if key[-1] == _SLASH]):
            raise _bad(Kind.TREE, oid, _order_fault(keys))

    def _entry(self, oid: Oid, entry: bytes) -> bytes:
        """Judge one entry of a tree; what it is sorted by: the name of a folder with a slash."""
        written, _, rest = entry.partition(b" ")
        name, target = rest[:-21], rest[-20:]
        if not self._mode.fullmatch(written) or target == ZERO_OID:
            raise _bad(Kind.TREE, oid, _entry_fault(written, name, target))
        mode = written.lstrip(b"0")
        self._name(oid, mode, name, target)
        if mode == b"40000":
            self.references.trees.add(target)
        elif mode != b"160000":
            self.references.blobs.add(target)
        if len(self._judged) >= _MOST_JUDGED:
            self._judged.clear()
        self._judged[entry] = key = name + b"/" if mode == b"40000" else name
        return key

    def _name(self, oid: Oid, mode: bytes, name: bytes, target: Oid) -> None:
        if not name or name in (b".", b"..") or b"/" in name:
            raise _bad(Kind.TREE, oid, f"emptyName, hasDot, hasDotdot or fullPathname: {_shown(name)}")
        if len(name) > self._limits.path_bytes:
            raise _bad(Kind.TREE, oid, f"largePathname: a name of {len(name)} bytes; {self._limits.path_bytes} are allowed")
        if not _SUSPECT.search(name):
            return
        if is_dotgit(name):
            raise _bad(Kind.TREE, oid, f"hasDotgit: {_shown(name)} stands for .git on some file system")
        if GITMODULES.is_named(name) or GITMODULES.is_behind_backslash(name):
            if mode == b"120000":
                raise _bad(Kind.TREE, oid, "gitmodulesSymlink: .gitmodules is a symbolic link")
            self.references.gitmodules.add(target)
        if mode != b"120000" and GITATTRIBUTES.is_named(name):
            self.references.gitattributes.add(target)


def check_gitmodules(oid: Oid, data: bytes) -> None:
    """A .gitmodules blob: nothing in it may become an option or a command of somebody's git."""
    if fault := gitmodules_fault(data):
        raise _bad(Kind.BLOB, oid, fault)


def check_gitattributes(oid: Oid, data: bytes) -> None:
    """A .gitattributes blob: git reads neither very large ones nor very long lines."""
    if len(data) > _MOST_ATTRIBUTES:
        raise _bad(Kind.BLOB, oid, f"gitattributesLarge: more than {_MOST_ATTRIBUTES} bytes")
    if any(len(line) >= _LONGEST_ATTRIBUTE for line in data.partition(b"\0")[0].split(b"\n")):
        raise _bad(Kind.BLOB, oid, f"gitattributesLineLength: a line of {_LONGEST_ATTRIBUTE} bytes or more")


def _order_fault(keys: list[bytes]) -> str:
    """Of a tree's entries by what they are sorted by; one of two of the same name may be a tree and stand further down."""
    seen: set[bytes] = set()
    last = b""
    for key in keys:
        name = key.removesuffix(b"/")
        if name in seen:
            return f"duplicateEntries: {_shown(name)} stands in it twice"
        if key <= last:
            return f"treeNotSorted: {_shown(name)} stands after a greater name"
        seen.add(name)
        last = key
    raise AssertionError("these entries are in order")


def _entry_fault(mode: bytes, name: bytes, target: Oid) -> str:
    if mode.startswith(b"0"):
        return f"zeroPaddedFilemode: {_shown(mode)} of {_shown(name)}"
    if target == ZERO_OID and _MODE.fullmatch(mode):
        return f"nullSha1: {_shown(name)} points to no object"
    return f"badFilemode: {_shown(mode)} of {_shown(name)}"


def _commit_fault(data: bytes) -> str:
    for line, fault in (
        (rb"tree [0-9a-f]{40}\n", "missingTree or badTreeSha1"),
        (rb"(?:parent [0-9a-f]{40}\n)*", ""),
        (rb"(?!parent )", "badParentSha1"),
        (rb"author [^\n]*\n", "missingAuthor"),
        (rb"committer [^\n]*\n", "missingCommitter"),
    ):
        match = re.match(line, data)
        if match is None:
            return fault
        data = data[match.end() :]
    return "an author or committer line is no name, <email>, date and zone (missingEmail, badDate, badTimezone …)"


def _bad(kind: Kind, oid: Oid, fault: str) -> BadPack:
    return BadPack(f"fsck error in {kind.text.decode()} {oid.hex()}: {fault}")


def _shown(name: bytes) -> str:
    return repr(name[:80])[1:]

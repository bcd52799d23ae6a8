"""Fsck of trees. Versions of a tree have most of their entries in common: each entry is judged once, and of a tree that came as a
delta only what lies between its copied entries is parsed.
"""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from operator import ge

from gitserver.objects.store import Kind
from gitserver.receive.names import GITATTRIBUTES, GITIGNORE, GITMODULES, MAILMAP, is_dotgit
from gitserver.receive.patch import Patch
from gitserver.receive.verdict import Judge, References, bad, shown
from storage.limits import MIB, Limits
from storage.records import ZERO_OID, Oid

_ENTRY = re.compile(rb"[0-7]+ [^\0]*\0.{20}", re.DOTALL)
_KEYS = re.compile(rb"(?:0?(4)0000|[0-7]+) ([^\0]*)\0.{20}", re.DOTALL)  # whether it is a folder, and its name
_PIECES = re.compile(_ENTRY.pattern + rb"|.+", re.DOTALL)  # what is no entry is one piece with all behind it: no second search
_MOST_JUDGED = 8 * MIB  # of entries that are remembered
_MOST_KEPT = 4 * MIB  # of trees that are
_LEAST_KEPT = 4096  # what is made from a smaller tree is parsed whole as fast
_MOST_COPIES = 1000  # of a delta that are looked at; the rest of the tree is parsed
_MODES = frozenset((b"100644", b"100755", b"120000", b"40000", b"160000"))
_FILE = re.compile(rb"100[0-7]{3}")  # with odd permissions; other kinds of entry are what they are exactly
_SLASH = ord("/")
_SUSPECT = re.compile(rb"git|mailmap|~[1-9]|[^\x00-\x7f]|\\", re.IGNORECASE)  # only such names can stand for .git and its files
_SYMLINKS = (
    (GITATTRIBUTES, "gitattributesSymlink"),
    (GITIGNORE, "gitignoreSymlink"),
    (MAILMAP, "mailmapSymlink"),
)


@dataclass(frozen=True, slots=True)
class _Tree:
    """A good tree: what each of its entries is sorted by, and how many bytes it has."""

    keys: list[bytes]
    widths: "array[int]"


class TreeCheck:
    """Checks trees one by one and gathers what they name. Raises BadPack that names the tree and its fault as git does."""

    def __init__(self, limits: Limits, judge: Judge, references: References) -> None:
        self._limits = limits
        self._judge = judge
        self._references = references
        self._judged: dict[bytes, bytes] = {}  # good entries, and what each is sorted by
        self._folders: set[bytes] = set()  # what the folders among them are sorted by
        self._kept: OrderedDict[Oid, _Tree] = OrderedDict()
        self._judged_bytes = self._kept_bytes = 0

    def know(self, data: bytes) -> None:
        """The entries of a tree that is stored already: they are good, and what they name is stored, too."""
        sorted_by = [name + b"/" if folder else name for folder, name in _KEYS.findall(data)]
        self._judged.update(zip(_ENTRY.findall(data), sorted_by, strict=True))
        self._folders.update(key for key in sorted_by if key[-1] == _SLASH)
        self._judged_bytes += len(data)

    def check(self, oid: Oid, data: bytes, patch: Patch | None) -> None:
        derived = self._derive(oid, data, patch) if patch else None
        if derived is not None:
            tree, new = derived
            is_good = _is_still_in_order(tree.keys, new)
        else:
            tree = _Tree([], array("L"))
            if not self._parse(oid, data, tree):
                raise bad(Kind.TREE, oid, "badTree", "it cannot be parsed")
            is_good = self._is_in_order(tree.keys)
        if not is_good:
            raise bad(Kind.TREE, oid, *_order_fault(tree.keys))
        self._keep(oid, tree)
        if self._judged_bytes > _MOST_JUDGED:
            self._judged.clear()
            self._folders.clear()
            self._judged_bytes = 0

    def _derive(self, oid: Oid, data: bytes, patch: Patch) -> tuple[_Tree, list[slice]] | None:
        """A tree of the whole entries that its delta copies and of what is between them, and where that stands among the keys.

        A stretch between is told even if it is empty: what was copied need not go on in the order of the base. None if the base is not
        kept or so much larger that it costs more than it saves, or if what begins an entry in the base does not here.
        """
        base = self._kept.get(patch.base)
        if base is None or len(data) < 8 * len(base.keys):
            return None
        self._kept.move_to_end(patch.base)
        tree, new, done = _Tree([], array("L")), [], 0
        keys, widths, places = tree.keys, tree.widths, list(accumulate(base.widths, initial=0))
        for at, offset, size in islice(patch.copies(), _MOST_COPIES):
            first, last = bisect_left(places, offset), bisect_right(places, offset + size) - 1
            if first < last:
                begin, known = at + places[first] - offset, len(keys)
                if begin > done and not self._parse(oid, data[done:begin], tree):
                    return None
                new.append(slice(known, len(keys)))
                keys += base.keys[first:last]
                widths += base.widths[first:last]
                done = begin + places[last] - places[first]
        known = len(keys)
        if not self._parse(oid, data[done:], tree):
            return None
        new.append(slice(known, len(keys)))
        return tree, new

    def _parse(self, oid: Oid, data: bytes, tree: _Tree) -> bool:
        """Add the entries of `data` to `tree`; whether they are whole."""
        entries = _PIECES.findall(data)
        if entries and not _ENTRY.fullmatch(entries[-1]):
            return False
        for entry in entries:
            if entry not in self._judged:
                self._entry(oid, entry)
        tree.keys.extend(map(self._judged.__getitem__, entries))
        tree.widths.extend(map(len, entries))
        return True

    def _is_in_order(self, keys: list[bytes]) -> bool:
        """Strictly ascending, and no name both as a file and as a folder, which need not stand beside each other."""
        different = set(keys)
        if len(different) < len(keys) or sorted(keys) != keys:
            return False
        return different.isdisjoint([key[:-1] for key in different & self._folders])

    def _entry(self, oid: Oid, entry: bytes) -> None:
        """Judge one entry. A folder is sorted by its name with a slash."""
        written, _, rest = entry.partition(b" ")
        name, target = rest[:-21], rest[-20:]
        mode = self._mode(oid, written, name) if written not in _MODES else written
        if target == ZERO_OID:
            raise bad(Kind.TREE, oid, "nullSha1", f"{shown(name)} points to no object")
        self._name(oid, mode, name, target)
        if mode == b"40000":
            self._references.trees.add(target)
            name += b"/"
            self._folders.add(name)
        elif mode != b"160000":
            self._references.blobs.add(target)
        self._judged[entry] = name
        self._judged_bytes += len(entry)

    def _mode(self, oid: Oid, written: bytes, name: bytes) -> bytes:
        """The mode without zeros in front, of a kind that git has."""
        mode = written.lstrip(b"0")
        if mode not in _MODES and not _FILE.fullmatch(mode):
            raise bad(Kind.TREE, oid, "badTree", f"{shown(written)} of {shown(name)} is the mode of nothing that git knows")
        if mode not in _MODES:
            self._judge.fault(Kind.TREE, oid, "badFilemode", f"{shown(written)} of {shown(name)}")
        if mode != written:
            self._judge.fault(Kind.TREE, oid, "zeroPaddedFilemode", f"{shown(written)} of {shown(name)}")
        return mode

    def _name(self, oid: Oid, mode: bytes, name: bytes, target: Oid) -> None:
        if not name:
            raise bad(Kind.TREE, oid, "emptyName", "an entry has no name")
        if name in (b".", b".."):
            raise bad(Kind.TREE, oid, "hasDot" if name == b"." else "hasDotdot", f"an entry is called {shown(name)}")
        if b"/" in name:
            raise bad(Kind.TREE, oid, "fullPathname", f"a slash stands in the name {shown(name)}")
        if len(name) > (most := self._limits.path_bytes):
            self._judge.fault(Kind.TREE, oid, "largePathname", f"a name of {len(name)} bytes; {most} are allowed")
        if _SUSPECT.search(name):
            self._control(oid, mode, name, target)

    def _control(self, oid: Oid, mode: bytes, name: bytes, target: Oid) -> None:
        """A name that may stand for `.git`, or for a file that git reads."""
        if is_dotgit(name):
            self._judge.fault(Kind.TREE, oid, "hasDotgit", f"{shown(name)} stands for .git on some file system")
        if mode == b"120000":
            for file, fault in _SYMLINKS:
                if file.is_named(name):
                    self._judge.fault(Kind.TREE, oid, fault, f"{shown(name)} is a symbolic link")
        if GITMODULES.is_named(name) or GITMODULES.is_behind_backslash(name):
            if mode == b"120000":
                self._judge.fault(Kind.TREE, oid, "gitmodulesSymlink", f"{shown(name)} is a symbolic link")
            self._references.gitmodules.add(target)
        if mode != b"120000" and GITATTRIBUTES.is_named(name):
            self._references.gitattributes.add(target)

    def _keep(self, oid: Oid, tree: _Tree) -> None:
        """As the base of the next ones; not again what another pack of the repository holds too."""
        size = sum(tree.widths)
        if oid in self._kept or not _LEAST_KEPT <= size <= _MOST_KEPT // 4:
            return
        self._kept[oid] = tree
        self._kept_bytes += size
        while self._kept_bytes > _MOST_KEPT:
            self._kept_bytes -= sum(self._kept.popitem(last=False)[1].widths)


def _is_still_in_order(keys: list[bytes], new: list[slice]) -> bool:
    """Strictly ascending, and no name both as a file and as a folder, where only the `new` keys and their neighbours can break it."""
    for part in new:
        around = keys[max(part.start - 1, 0) : part.stop + 1]
        if any(map(ge, around, around[1:])):
            return False
    for key in chain.from_iterable(keys[part] for part in new):
        other = key[:-1] if key[-1] == _SLASH else key + b"/"
        place = bisect_left(keys, other)
        if keys[place : place + 1] == [other]:
            return False
    return True


def _order_fault(keys: list[bytes]) -> tuple[str, str]:
    """Of a tree's entries by what they are sorted by; one of two of the same name may be a tree and stand further down."""
    seen: set[bytes] = set()
    last = b""
    for key in keys:
        name = key.removesuffix(b"/")
        if name in seen:
            return "duplicateEntries", f"{shown(name)} stands in it twice"
        if key <= last:
            return "treeNotSorted", f"{shown(name)} stands after a greater name"
        seen.add(name)
        last = key
    raise AssertionError("these entries are in order")

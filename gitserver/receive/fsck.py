"""Fsck of single objects: the faults that `git index-pack --strict` knows, each taken as the table of severities says.

It also gathers what objects name. Odd but legal objects pass byte for byte: signatures, encodings, mergetags, unknown headers, octopus
merges, gitlinks, names in any bytes.
"""

import re
from collections.abc import Iterator

from gitserver.objects.parse import LATEST
from gitserver.objects.store import Kind
from gitserver.receive.gitmodules import gitmodules_fault
from gitserver.receive.patch import Patch
from gitserver.receive.people import Fault, person_faults
from gitserver.receive.severities import DEFAULT, Severities
from gitserver.receive.trees import TreeCheck
from gitserver.receive.verdict import Judge, References, bad, shown
from storage.limits import Limits
from storage.records import Oid


def _dates() -> str:
    """A pattern for seconds as git writes them, up to the latest: fewer digits, or one that is smaller."""
    digits = str(LATEST)
    smaller = [
        f"{digits[:place]}[{int(place == 0)}-{int(digit) - 1}][0-9]{{{len(digits) - place - 1}}}"
        for place, digit in enumerate(digits)
        if int(digit) > int(place == 0)
    ]
    return "|".join(["0", f"[1-9][0-9]{{0,{len(digits) - 2}}}", *smaller, digits])


# Objects as git writes them, which most are. What does not match is taken apart, and may be good all the same.
_PERSON = rb"[^<>\n\0]* <[^<>\n\0]*> (?:" + _dates().encode() + rb") [+-][0-9]{4}\n"
_COMMIT = re.compile(rb"tree ([0-9a-f]{40})\n((?:parent [0-9a-f]{40}\n)*)author " + _PERSON + rb"committer " + _PERSON + rb"(?!author )")
_TAG = re.compile(rb"object ([0-9a-f]{40})\ntype (commit|tree|blob|tag)\ntag [^\n\0]*\ntagger " + _PERSON)
_OID = re.compile(rb"[0-9a-f]{40}\n")
_MOST_ATTRIBUTES = 100 << 20
_LONGEST_ATTRIBUTE = 2048
_KINDS = {kind.text: kind for kind in Kind}


class Fsck:
    """Checks objects one by one and gathers their references. Raises BadPack that names the object and the fault as git does."""

    def __init__(self, limits: Limits, severities: Severities = DEFAULT) -> None:
        self.references = References()
        self.judge = Judge(severities)
        self._trees = TreeCheck(limits, self.judge, self.references)

    def know_tree(self, data: bytes) -> None:
        """A stored tree, from which new ones were made: what they have in common is not looked at again."""
        self._trees.know(data)

    def check(self, kind: Kind, oid: Oid, data: bytes, patch: Patch | None = None) -> None:
        """`patch` tells how `data` came about, where that is known; it only saves time."""
        if kind is Kind.TREE:
            self._trees.check(oid, data, patch)
        elif kind is Kind.COMMIT:
            _check_header(kind, oid, data)
            self._commit(oid, data)
        elif kind is Kind.TAG:
            _check_header(kind, oid, data)
            self._tag(oid, data)

    def _commit(self, oid: Oid, data: bytes) -> None:
        match = _COMMIT.match(data)
        if match is not None:
            tree, parents = match[1], match[2]
        else:
            tree, parents = self._odd_commit(oid, data)
        if b"\0" in data:
            self.judge.fault(Kind.COMMIT, oid, "nulInCommit", "a NUL byte stands in its message")
        self.references.trees.add(bytes.fromhex(tree.decode()))
        for start in range(7, len(parents), 48):
            self.references.commits.add(bytes.fromhex(parents[start : start + 40].decode()))

    def _odd_commit(self, oid: Oid, data: bytes) -> tuple[bytes, bytes]:
        """The id of its tree and the lines of its parents; the rest is judged."""
        header = _Header(self.judge, Kind.COMMIT, oid, data)
        tree = header.oid(b"tree", "missingTree", "badTreeSha1")
        start = header.at
        while header.has(b"parent"):
            header.oid(b"parent", "", "badParentSha1")
        parents = data[start : header.at]
        authors = 0
        while header.has(b"author"):
            header.person(b"author")
            authors += 1
        if authors != 1:
            fault = "multipleAuthors" if authors else "missingAuthor"
            self.judge.fault(Kind.COMMIT, oid, fault, f"{authors or 'no'} author lines behind tree and parents")
        if header.has(b"committer"):
            header.person(b"committer")
        else:
            self.judge.fault(Kind.COMMIT, oid, "missingCommitter", "no committer line behind the author")
        if header.has(b"author"):
            self.judge.fault(Kind.COMMIT, oid, "multipleAuthors", "another author line behind the committer")
        return tree, parents

    def _tag(self, oid: Oid, data: bytes) -> None:
        match = _TAG.match(data)
        target, kind = match.groups() if match is not None else self._odd_tag(oid, data)
        self.references.of(_KINDS[kind]).add(bytes.fromhex(target.decode()))

    def _odd_tag(self, oid: Oid, data: bytes) -> tuple[bytes, bytes]:
        """What it leads to, and its kind; the rest is judged."""
        header = _Header(self.judge, Kind.TAG, oid, data)
        target = header.oid(b"object", "missingObject", "badObjectSha1")
        kind = header.line(b"type", "missingTypeEntry")
        if kind not in _KINDS:
            raise bad(Kind.TAG, oid, "badType", f"{shown(kind)} is no kind of object")
        header.line(b"tag", "missingTagEntry")
        if header.has(b"tagger"):
            header.person(b"tagger")
        else:
            self.judge.fault(Kind.TAG, oid, "missingTaggerEntry", "no tagger line")
        return target, kind


def _check_header(kind: Kind, oid: Oid, data: bytes) -> None:
    """Afterwards each line of the header ends with a line feed, and no NUL stands in one. Raises BadPack."""
    nul = data.find(b"\0")
    if nul >= 0 and data.find(b"\n\n", 0, nul) < 0:
        raise bad(kind, oid, "nulInHeader", f"a NUL byte stands in its header at offset {nul}")
    if not data.endswith(b"\n") and b"\n\n" not in data:
        raise bad(kind, oid, "unterminatedHeader", "its header does not end with a line feed")


class _Header:
    """Reads the lines of a header that was checked, in their order."""

    def __init__(self, judge: Judge, kind: Kind, oid: Oid, data: bytes) -> None:
        self._judge = judge
        self._kind = kind
        self._oid = oid
        self._data = data
        self.at = 0

    def has(self, keyword: bytes) -> bool:
        return self._data.startswith(keyword + b" ", self.at)

    def line(self, keyword: bytes, missing: str) -> bytes:
        """What follows the keyword. Raises BadPack where another line stands."""
        if not self.has(keyword):
            line = self._data[self.at :].partition(b"\n")[0]
            raise bad(self._kind, self._oid, missing, f"a {keyword.decode()} line should stand in place of {shown(line)}")
        start = self.at + len(keyword) + 1
        end = self._data.index(b"\n", start)
        self.at = end + 1
        return self._data[start:end]

    def oid(self, keyword: bytes, missing: str, wrong: str) -> bytes:
        line = self.line(keyword, missing)
        if not _OID.fullmatch(line + b"\n"):
            raise bad(self._kind, self._oid, wrong, f"no object id in the line {shown(keyword + b' ' + line)}")
        return line

    def person(self, keyword: bytes) -> None:
        line = self.line(keyword, "")
        self._judge.line(self._kind, self._oid, keyword + b" " + line, person_faults(line))


def gitmodules_faults(data: bytes) -> Iterator[Fault]:
    """A .gitmodules blob: nothing in it may become an option or a command of somebody's git."""
    if told := gitmodules_fault(data):
        fault, _, text = told.partition(": ")
        yield Fault(fault, text)


def gitattributes_faults(data: bytes) -> Iterator[Fault]:
    """A .gitattributes blob: git reads neither very large ones nor very long lines."""
    if len(data) > _MOST_ATTRIBUTES:
        yield Fault("gitattributesLarge", f"more than {_MOST_ATTRIBUTES} bytes")
    elif any(len(line) >= _LONGEST_ATTRIBUTE for line in data.partition(b"\0")[0].split(b"\n")):
        yield Fault("gitattributesLineLength", f"a line of {_LONGEST_ATTRIBUTE} bytes or more")

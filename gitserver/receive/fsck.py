"""Strict fsck of single objects: what `git index-pack --strict` refuses (git's fsck-msgids: ERROR and WARN), and what each names.

Odd but legal objects pass byte for byte: signatures, encodings, mergetags, unknown headers, octopus merges, gitlinks, names in any bytes.
"""

import re

from gitserver.objects import Kind
from gitserver.receive.gitmodules import gitmodules_fault
from gitserver.receive.patch import Patch
from gitserver.receive.trees import Trees
from gitserver.receive.verdict import Profile, References, bad
from storage.limits import Limits
from storage.records import Oid

_LATEST = 2**63 - 1  # seconds: what git keeps in 64 bits with a sign


def _dates() -> str:
    """A pattern for seconds as git writes them, up to the latest: fewer digits, or one that is smaller."""
    digits = str(_LATEST)
    smaller = [
        f"{digits[:place]}[{int(place == 0)}-{int(digit) - 1}][0-9]{{{len(digits) - place - 1}}}"
        for place, digit in enumerate(digits)
        if int(digit) > int(place == 0)
    ]
    return "|".join(["0", f"[1-9][0-9]{{0,{len(digits) - 2}}}", *smaller, digits])


_PERSON = rb"[^<>\n\0]* <[^<>\n\0]*> (?:" + _dates().encode() + rb") [+-][0-9]{4}\n"
_COMMIT = re.compile(rb"tree ([0-9a-f]{40})\n((?:parent [0-9a-f]{40}\n)*)author " + _PERSON + rb"committer " + _PERSON)
_TAG = re.compile(rb"object ([0-9a-f]{40})\ntype (commit|tree|blob|tag)\ntag ([^\n\0]*)\n(?:tagger " + _PERSON + rb")?(?=[^\n]*\n|\Z)")
_MOST_ATTRIBUTES = 100 << 20
_LONGEST_ATTRIBUTE = 2048
_KINDS = {kind.text: kind for kind in Kind}
# What old programs wrote into people's lines (missingEmail, missingSpaceBeforeDate, badDate, badTimezone …), but no date that overflows.
_LINE = rb" (?:" + _PERSON[:-2] + rb"|(?![^\n]*>[ \t\r\v\f]*[0-9]{19})[^\n\0]*)\n"
_OLD_COMMIT = re.compile(rb"tree ([0-9a-f]{40})\n((?:parent [0-9a-f]{40}\n)*)author" + _LINE + rb"committer" + _LINE)
_OLD_TAG = re.compile(rb"object ([0-9a-f]{40})\ntype (commit|tree|blob|tag)\ntag ([^\n\0]*)\n(?:tagger" + _LINE + rb")?(?=[^\n]*\n|\Z)")


class Fsck:
    """Checks objects one by one and gathers their references. Raises BadPack that names the object and the fault as git does."""

    def __init__(self, limits: Limits, profile: Profile = Profile.PUSHED) -> None:
        self._commit_form, self._tag_form = (_OLD_COMMIT, _OLD_TAG) if profile is Profile.IMPORTED else (_COMMIT, _TAG)
        self.references = References()
        self._trees = Trees(limits, profile, self.references)

    def know_tree(self, data: bytes) -> None:
        """A stored tree, from which new ones were made: what they have in common is not looked at again."""
        self._trees.know(data)

    def check(self, kind: Kind, oid: Oid, data: bytes, patch: Patch | None = None) -> None:
        """`patch` tells how `data` came about, where that is known; it only saves time."""
        if kind in (Kind.COMMIT, Kind.TAG) and not data.endswith(b"\n") and b"\n\n" not in data:
            raise bad(kind, oid, "unterminatedHeader: its header does not end with a line feed")
        if kind is Kind.TREE:
            self._trees.check(oid, data, patch)
        elif kind is Kind.COMMIT:
            self._commit(oid, data)
        elif kind is Kind.TAG:
            self._tag(oid, data)

    def _commit(self, oid: Oid, data: bytes) -> None:
        match = self._commit_form.match(data)
        if match is None:
            raise bad(Kind.COMMIT, oid, _commit_fault(data))
        if b"\0" in data:
            raise bad(Kind.COMMIT, oid, "nulInCommit: a NUL byte stands in it")
        if data.startswith(b"author ", match.end()):
            raise bad(Kind.COMMIT, oid, "multipleAuthors")
        self.references.trees.add(bytes.fromhex(match[1].decode()))
        parents = match[2]
        for start in range(7, len(parents), 48):
            self.references.commits.add(bytes.fromhex(parents[start : start + 40].decode()))

    def _tag(self, oid: Oid, data: bytes) -> None:
        match = self._tag_form.match(data)
        if match is None:
            raise bad(Kind.TAG, oid, "its header is not object, type, tag and tagger (missingObject, badType, missingTag or badTagger)")
        header = data[: data.find(b"\n\n")] if b"\n\n" in data else data
        if b"\0" in header:
            raise bad(Kind.TAG, oid, "nulInHeader")
        if data.startswith(b"tagger ", match.end(3) + 1) and match.end() == match.end(3) + 1:
            raise bad(Kind.TAG, oid, "badTagger: the tagger line is no name, <email>, date and zone")
        self.references.of(_KINDS[match[2]]).add(bytes.fromhex(match[1].decode()))


def check_gitmodules(oid: Oid, data: bytes) -> None:
    """A .gitmodules blob: nothing in it may become an option or a command of somebody's git."""
    if fault := gitmodules_fault(data):
        raise bad(Kind.BLOB, oid, fault)


def check_gitattributes(oid: Oid, data: bytes) -> None:
    """A .gitattributes blob: git reads neither very large ones nor very long lines."""
    if len(data) > _MOST_ATTRIBUTES:
        raise bad(Kind.BLOB, oid, f"gitattributesLarge: more than {_MOST_ATTRIBUTES} bytes")
    if any(len(line) >= _LONGEST_ATTRIBUTE for line in data.partition(b"\0")[0].split(b"\n")):
        raise bad(Kind.BLOB, oid, f"gitattributesLineLength: a line of {_LONGEST_ATTRIBUTE} bytes or more")


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

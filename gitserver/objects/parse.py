"""What git objects say, read without building more than a walk needs. Only objects that passed fsck come here."""

import re
from dataclasses import dataclass

from storage.records import Oid, Signature

# Mode, name and id of each entry of a tree. Only trees that passed fsck are stored, so the matches follow each other without gaps.
TREE_ENTRIES = re.compile(rb"0*([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL)  # old trees have zeros in front of modes
CHILDREN = re.compile(rb"0*160000 [^\0]+\0.{20}|[0-7]+ [^\0]+\0(.{20})", re.DOTALL)  # the ids alone; b"" for a submodule
_DATE = re.compile(rb"[ \t\r\v\f]*([0-9]+)[ \t\r\v\f]*(?:([+-])([0-9]{2})([0-9]{2})(?![0-9]))?")
LATEST = 2**63 - 1  # seconds: what git keeps in 64 bits with a sign
TREE = b"40000"
GITLINK = b"160000"


@dataclass(frozen=True, slots=True)
class CommitNode:
    """A commit for walks; `time` is the committer's, in seconds."""

    oid: Oid
    tree: Oid
    parents: tuple[Oid, ...]
    time: int


@dataclass(frozen=True, slots=True)
class TreeItem:
    mode: int
    name: bytes
    oid: Oid

    @property
    def is_tree(self) -> bool:
        return self.mode == 0o40000

    @property
    def is_gitlink(self) -> bool:
        return self.mode == 0o160000

    @property
    def sort_key(self) -> bytes:
        """Trees sort as if their names ended in a slash."""
        return self.name + b"/" if self.is_tree else self.name


def parse_commit_node(oid: Oid, data: bytes) -> CommitNode:
    tree = bytes.fromhex(data[5:45].decode("ascii"))
    parents = []
    position = 46
    while data.startswith(b"parent ", position):
        parents.append(bytes.fromhex(data[position + 7 : position + 47].decode("ascii")))
        position += 48
    start = data.find(b"\ncommitter ", position - 1)
    line = data[start + 1 : data.find(b"\n", start + 1)] if start >= 0 else b""
    return CommitNode(oid, tree, tuple(parents), _time(line))


def _time(line: bytes) -> int:
    match = _DATE.match(line, line.rfind(b">") + 1)
    return (read_seconds(match[1]) or 0) if match else 0


def read_seconds(digits: bytes) -> int | None:
    """A date of any length, zeros in front too; None for one that overflows, which readers show as 1970."""
    digits = digits.lstrip(b"0")
    seconds = int(digits or b"0") if len(digits) <= len(str(LATEST)) else LATEST + 1
    return seconds if seconds <= LATEST else None


def parse_person(line: bytes) -> Signature:
    """A line of author, committer or tagger behind its keyword, split as git does it: the name up to the first `<`, the address up to the
    `>` that follows, the date behind the last `>`. What is not there is empty, 1970 and UTC, and so is a zone of more than four digits.
    """
    name, start, rest = line.partition(b"<")
    email, end, _ = rest.partition(b">")
    if not start or not end:
        return Signature(b"", b"", 0)
    match = _DATE.match(line, line.rfind(b">") + 1)
    if match is None:
        return Signature(name.strip(), email.lstrip(b"< "), 0)
    digits, sign, hours, minutes = match.groups()
    zone = int(hours) * 60 + int(minutes) if sign else 0
    return Signature(name.strip(), email.lstrip(b"< "), read_seconds(digits) or 0, -zone if sign == b"-" else zone)


def parse_tree(data: bytes) -> tuple[TreeItem, ...]:
    items = []
    position, end = 0, len(data)
    while position < end:
        space = data.index(b" ", position)
        nul = data.index(b"\0", space)
        items.append(TreeItem(int(data[position:space], 8), data[space + 1 : nul], data[nul + 1 : nul + 21]))
        position = nul + 21
    return tuple(items)


def parse_tag_target(data: bytes) -> tuple[Oid, bytes]:
    """What a tag object points to: its id, and its type as git writes it (b"commit")."""
    return bytes.fromhex(data[7:47].decode("ascii")), data[53 : data.index(b"\n", 53)]

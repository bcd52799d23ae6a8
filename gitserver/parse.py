"""What git objects say, read without building more than a walk needs. Only objects that passed fsck come here."""

import re
from dataclasses import dataclass

from storage.records import Oid

# Mode, name and id of each entry of a tree. Only trees that passed fsck are stored, so the matches follow each other without gaps.
TREE_ENTRIES = re.compile(rb"0*([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL)  # old trees have zeros in front of modes
CHILDREN = re.compile(rb"0*160000 [^\0]+\0.{20}|[0-7]+ [^\0]+\0(.{20})", re.DOTALL)  # the ids alone; b"" for a submodule
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
    parts = line[line.rfind(b">") + 1 :].split()
    return int(parts[0]) if parts and parts[0].isdigit() else 0


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

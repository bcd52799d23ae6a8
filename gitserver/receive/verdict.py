"""What fsck says of objects: how strict it is, what they name, and how a fault is told."""

from dataclasses import dataclass, field
from enum import Enum

from gitserver.objects import Kind
from storage.errors import BadPack
from storage.records import Oid


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


def bad(kind: Kind, oid: Oid, fault: str) -> BadPack:
    return BadPack(f"fsck error in {kind.text.decode()} {oid.hex()}: {fault}")


def shown(name: bytes) -> str:
    return repr(name[:80])[1:]

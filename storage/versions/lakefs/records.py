"""What LakeFS tells, as records."""

from collections.abc import Mapping
from dataclasses import dataclass, field

OPERATION = "hub.op"  # metadata of a commit that the hub made: the operation's id
BASE = "hub.base"  # the commit that it was made on
OID = "git.oid"
TREE = "git.tree"
COVERED_SINCE = "hub.covered-since"  # metadata of a repository, in seconds: see docs/decisions/0024-covered-pointers.md


@dataclass(frozen=True, slots=True)
class LakeCommit:
    """`created` is in seconds. The initial commit of a repository has no parents."""

    id: str
    parents: tuple[str, ...]
    message: str
    committer: str
    created: int
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_initial(self) -> bool:
        return not self.parents

    @property
    def is_ours(self) -> bool:
        """Whether the hub made it, and nobody's changes came between its base and it."""
        return OPERATION in self.metadata and OID in self.metadata and self.parents[:1] == (self.metadata.get(BASE),)


@dataclass(frozen=True, slots=True)
class LakeRef:
    """A branch or a tag, and the commit that it stands at."""

    id: str
    commit: str


@dataclass(frozen=True, slots=True)
class LakeDifference:
    """A path that is not the same in two commits; gone from the second one, or with what stands there."""

    path: str
    is_removed: bool
    size: int = 0


@dataclass(frozen=True, slots=True)
class LakeObject:
    path: str
    address: str
    checksum: str
    size: int
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Link:
    """A path to be staged: the object at `address`, whose SHA-256 is `sha256`."""

    path: str
    address: str
    sha256: str
    size: int
    metadata: Mapping[str, str]

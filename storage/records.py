"""The frozen records that travel between functions.

Units: times are UTC microseconds since the epoch, sizes are bytes. An `oid` is a raw 20-byte SHA-1; its 40-digit form is
`oid.hex()` and appears only at JSON, pkt-lines and messages. Git paths and ref names are bytes.
"""

import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Self, TypeAlias

from storage.errors import BadName

Oid: TypeAlias = bytes

ZERO_OID: Oid = bytes(20)


class Access(IntEnum):
    """Ordered rights on one repository; the only vocabulary for rights anywhere."""

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


class Scope(StrEnum):
    """What a credential may be used for at most, whoever holds it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"

    @property
    def access(self) -> Access:
        return Access[self.name]


class RepoKind(StrEnum):
    MODEL = "model"
    DATASET = "dataset"
    SPACE = "space"

    @property
    def plural(self) -> str:
        return self.value + "s"


_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?")


def checked_name(text: str, what: str) -> str:
    """`text` if it may name a user, an organization or a repository, else BadName that says why not."""
    if not _NAME.fullmatch(text):
        raise BadName(f"{what} {text[:100]!r} is not allowed: use 1 to 96 of A-Z a-z 0-9 . _ - and start and end with a letter or digit.")
    if "--" in text or ".." in text or text.lower().endswith((".git", ".lock")):
        raise BadName(f"{what} {text!r} is not allowed: it may not hold '--' or '..' nor end in '.git' or '.lock'.")
    return text


@dataclass(frozen=True, slots=True)
class RepoName:
    """What a user types: kind, namespace and name. Compared without case (`key`), kept as it was given."""

    kind: RepoKind
    namespace: str
    name: str

    @classmethod
    def parse(cls, kind: RepoKind, namespace: str, name: str) -> Self:
        """Names from outside; raises BadName."""
        return cls(kind, checked_name(namespace, "namespace"), checked_name(name, "repository name"))

    @property
    def full(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def path(self) -> str:
        """Its path on the web: `ns/name` for a model, `datasets/ns/name`, `spaces/ns/name`."""
        return self.full if self.kind is RepoKind.MODEL else f"{self.kind.plural}/{self.full}"

    @property
    def key(self) -> str:
        return self.full.lower()


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository that exists. `id` is 32 hex digits and never changes; storage keys are made of it, never of names."""

    id: str
    name: RepoName
    is_private: bool
    creator_id: int
    created_at: int
    updated_at: int
    head: bytes = b"refs/heads/main"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. An anonymous caller has `user_id` 0 and an empty name."""

    user_id: int
    name: str
    email: str
    is_admin: bool
    scope: Scope
    from_session: bool
    token_name: str = ""
    token_created_at: int = 0
    token_expires_at: int | None = None

    @property
    def is_anonymous(self) -> bool:
        return self.user_id == 0


ANONYMOUS = Principal(0, "", "", False, Scope.READ, False)


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A large object in the pool: lower-case hex SHA-256 and size."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A path of a tree. `mode` is git's (0o100644, 0o120000, 0o40000 …); `size` is the blob's own, `lfs` what a pointer names."""

    path: bytes
    mode: int
    oid: Oid
    size: int
    lfs: BlobRef | None = None

    @property
    def is_file(self) -> bool:
        """Whether the path has bytes here: a file or a symbolic link, of whatever permissions."""
        return self.mode & 0o170000 in (0o100000, 0o120000)

    @property
    def is_symlink(self) -> bool:
        return self.mode & 0o170000 == 0o120000

    @property
    def is_gitlink(self) -> bool:
        """Whether the path names a commit of another repository (a submodule), which is not stored here."""
        return self.mode & 0o170000 == 0o160000


@dataclass(frozen=True, slots=True)
class Signature:
    """Who and when, as git writes it: seconds since the epoch and minutes east of UTC."""

    name: bytes
    email: bytes
    time: int
    zone_minutes: int = 0


@dataclass(frozen=True, slots=True)
class Commit:
    oid: Oid
    tree: Oid
    parents: tuple[Oid, ...]
    author: Signature
    committer: Signature
    message: bytes


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """Move `ref` from `old` to `new`; ZERO_OID as old creates, as new deletes."""

    ref: bytes
    old: Oid
    new: Oid


@dataclass(frozen=True, slots=True)
class PackInfo:
    """A stored pack: `id` is its 40-hex trailer (the SHA-1 of its bytes); `size` that of the .pack file.

    `dead_since`: when its objects were set aside because nothing led to them; None for a usual pack.
    """

    id: str
    objects: int
    size: int
    dead_since: int | None = None

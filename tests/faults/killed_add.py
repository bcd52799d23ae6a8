"""Arguments: data directory, repository, step. Store one commit, as a push does, and die by SIGKILL before that step, or never."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gitserver.objects.pack_writer import PackWriter
from gitserver.objects.store import Kind, RawObject, object_id
from hub.services import build
from hub.settings import Settings
from storage.blobs.bucket import Bucket
from storage.filecache import FileCache
from storage.packs.store import PackStore
from storage.records import ZERO_OID, RefUpdate, RepoKind, RepoName, Scope

PERSON = b"A <a@example.org> 1700000000 +0000"


def main() -> None:
    services = build(Settings(data=Path(sys.argv[1])))
    user = services.users.by_name("alice")
    assert user is not None
    alice = user.principal(Scope.WRITE, from_session=False)
    name = RepoName(RepoKind.MODEL, "alice", sys.argv[2])
    repo = services.repos.find(name) or services.repos.create(alice, name, is_private=False)
    before = len(services.packs.list(repo.id))
    if sys.argv[3] != "never":
        die_at(int(sys.argv[3]))

    def fill(writer: PackWriter) -> list[RefUpdate]:
        blob = RawObject(Kind.BLOB, b"content")
        tree = RawObject(Kind.TREE, b"100644 f\0" + object_id(blob.kind, blob.data))
        head = b"tree " + object_id(tree.kind, tree.data).hex().encode()
        *_, commit = map(
            writer.add, (blob, tree, RawObject(Kind.COMMIT, head + b"\nauthor " + PERSON + b"\ncommitter " + PERSON + b"\n\nm\n"))
        )
        return [RefUpdate(b"refs/heads/main", ZERO_OID, commit)]

    (result,) = services.ref_writer.store(repo, alice, fill)
    assert not result.reason
    print(f"{before} packs before, {len(services.packs.list(repo.id))} after")  # noqa: T201
    services.close()


def die_at(step: int) -> None:
    """The steps in their order: two writes to the bucket, two moves into the cache, the rows."""
    left = [step]

    def stepping(work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return work(*arguments)

        return run

    for owner, name in ((Bucket, "put"), (FileCache, "keep"), (PackStore, "record")):
        setattr(owner, name, stepping(getattr(owner, name)))


if __name__ == "__main__":
    main()

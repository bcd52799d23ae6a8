"""`check_repository` finds what a disk may do to a repository."""

import os
import random
from pathlib import Path
from typing import Any

import pytest

from gitserver.maintenance.check import check_repository
from gitserver.objects.pack_writer import PackWriter
from gitserver.objects.store import Kind, ObjectStores, RawObject, object_id
from lfs.pointer import Pointer, serialize
from storage.packs import PackStore
from storage.records import ZERO_OID, RefUpdate, Repo, RepoKind, RepoName, Scope

PERSON = b"A <a@example.org> 1700000000 +0000"


@pytest.fixture
def actor(services: Any) -> Any:
    return services.users.create("ann", "ann@example.org", "long enough").principal(Scope.WRITE, from_session=False)


def filled(services: Any, actor: Any, content: bytes) -> Repo:
    """A repository with one commit of one file, stored through the same order of writes as a push."""
    repo: Repo = services.repos.create(actor, RepoName(RepoKind.MODEL, "ann", "r"), is_private=False)
    blob = RawObject(Kind.BLOB, content)
    tree = RawObject(Kind.TREE, b"100644 f\0" + object_id(blob.kind, blob.data))
    head = b"tree " + object_id(tree.kind, tree.data).hex().encode()
    commit = RawObject(Kind.COMMIT, head + b"\nauthor " + PERSON + b"\ncommitter " + PERSON + b"\n\nm\n")

    def fill(writer: PackWriter) -> list[RefUpdate]:
        *_, new = [writer.add(raw) for raw in (blob, tree, commit)]
        return [RefUpdate(b"refs/heads/main", ZERO_OID, new)]

    results = services.ref_writer.store(repo, actor, fill)
    assert [result.reason for result in results] == [""]
    return repo


def findings(services: Any, repo: Repo) -> list[str]:
    """With eyes of its own: nothing that another part has open or cached."""
    packs = PackStore(services.stores.packs, services.settings.data / "incoming", services.database)
    return list(check_repository(repo, ObjectStores(packs), services.versions, services.possession))


def pack_file(services: Any, repo: Repo) -> Path:
    found: Path = next((services.settings.data / "git" / repo.id).glob("*.pack"))
    return found


def test_a_sound_repository(services: Any, actor: Any) -> None:
    assert findings(services, filled(services, actor, b"content")) == []


def test_what_a_tree_names_is_missing(services: Any, actor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the pack that had it were gone: stored without the look at what objects name."""
    monkeypatch.setattr("gitserver.receive.ingest.Ingest._connect", lambda ingest: None)
    repo: Repo = services.repos.create(actor, RepoName(RepoKind.MODEL, "ann", "r"), is_private=False)
    tree = RawObject(Kind.TREE, b"100644 f\0" + b"\x05" * 20)
    head = b"tree " + object_id(tree.kind, tree.data).hex().encode()
    commit = RawObject(Kind.COMMIT, head + b"\nauthor " + PERSON + b"\ncommitter " + PERSON + b"\n\nm\n")

    def fill(writer: PackWriter) -> list[RefUpdate]:
        *_, new = [writer.add(raw) for raw in (tree, commit)]
        return [RefUpdate(b"refs/heads/main", ZERO_OID, new)]

    assert [result.reason for result in services.ref_writer.store(repo, actor, fill)] == [""]

    assert any("05" * 20 in finding for finding in findings(services, repo))


def test_flipped_bytes(services: Any, actor: Any) -> None:
    repo = filled(services, actor, random.Random(1).randbytes(3000))
    pack = pack_file(services, repo)
    data = bytearray(pack.read_bytes())
    data[1000] ^= 4
    pack.write_bytes(data)
    found = findings(services, repo)

    assert any("its bytes were changed" in line for line in found)
    assert any(line.startswith("object ") for line in found)


def test_a_lost_pack(services: Any, actor: Any) -> None:
    repo = filled(services, actor, b"content")
    os.unlink(pack_file(services, repo))

    assert [line.split()[2:4] for line in findings(services, repo)] == [["is", "missing"]]


def test_a_large_object_that_is_not_here(services: Any, actor: Any) -> None:
    oid = "ab" * 32
    repo = filled(services, actor, serialize(Pointer(oid, 5)))

    assert findings(services, repo) == [f"large object {oid} is named by a pointer but missing"]

"""Integrity of one repository, for `kohakuhub admin check`."""

import hashlib
import zlib
from collections.abc import Iterator

from dulwich.errors import ApplyDeltaError

from gitserver.objects.store import Kind, Objects, ObjectStores, RawObject, object_id
from gitserver.receive.fsck import Fsck
from gitserver.receive.severities import STORED
from lfs.objects.possession import Possession
from lfs.pointer import MOST_BYTES, parse
from storage.errors import BadPack, HubError, RepoNotFound
from storage.limits import Limits
from storage.packs import PackFile
from storage.records import BlobRef, Oid, Repo
from storage.versions.base import VersionStore


def check_repository(repo: Repo, stores: ObjectStores, versions: VersionStore, possession: Possession) -> Iterator[str]:
    """One line a finding: packs as they were received, objects that hash to their ids, nothing dangling, LFS objects possessed."""
    try:
        objects = stores.of(repo.id)
        refs = versions.refs(repo.id, fresh=False).refs
        yield from objects.lost_packs()
    except RepoNotFound:
        return  # deleted meanwhile
    except HubError as error:
        yield error.message
        return
    check = _Check(objects, possession, repo.id)
    for pack in objects.packs():
        yield from check.pack(pack)
    yield from check.connections()
    for ref in refs:
        if not objects.contains(ref.oid):
            yield f"ref {ref.name.decode(errors='replace')}: its object {ref.oid.hex()} is missing"


class _Check:
    def __init__(self, objects: Objects, possession: Possession, repo_id: str) -> None:
        self._objects = objects
        self._possession = possession
        self._repo_id = repo_id
        self._fsck = Fsck(Limits(), STORED)
        self._pointers: dict[str, BlobRef] = {}

    def pack(self, pack: PackFile) -> Iterator[str]:
        data = memoryview(pack.data)
        trailer = hashlib.sha1(data[:-20], usedforsecurity=False).hexdigest()
        if trailer != pack.info.id or bytes(data[-20:]).hex() != pack.info.id:
            yield f"pack {pack.info.id}: its bytes were changed"
        data.release()
        entries = pack.oids()
        if len(entries) != pack.info.objects:
            yield f"pack {pack.info.id}: its index has {len(entries)} objects instead of {pack.info.objects}"
        for _, oid in entries:
            finding = self._object(oid)
            if finding:
                yield f"object {oid.hex()}: {finding}"

    def connections(self) -> Iterator[str]:
        for kind in Kind:
            for oid in self._fsck.references.of(kind):
                if not self._objects.contains(oid):
                    yield f"{kind.text.decode()} {oid.hex()} is named by an object but missing"
        for blob in self._possession.missing(self._repo_id, self._pointers.values()):
            yield f"large object {blob.sha256} is named by a pointer but missing"

    def _object(self, oid: Oid) -> str:
        try:
            raw = self._objects.get(oid)
        except (HubError, ApplyDeltaError, zlib.error, ValueError, IndexError) as error:
            return f"it cannot be read ({error})"
        if object_id(raw.kind, raw.data) != oid:
            return "its bytes do not hash to its id"
        return self._note(oid, raw)

    def _note(self, oid: Oid, raw: RawObject) -> str:
        try:
            self._fsck.check(raw.kind, oid, raw.data)
        except BadPack as error:
            return error.message
        if raw.kind is Kind.BLOB and len(raw.data) <= MOST_BYTES and (pointer := parse(raw.data)):
            self._pointers[pointer.oid] = pointer.blob
        return ""

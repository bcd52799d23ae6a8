"""The commit use case: a client's changes become one git commit on a branch, whole or not at all (docs/decisions/0005).

The cost follows the changed paths: trees of unchanged folders are not read.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO

from gitserver.commit.changes import CommitRequest, Put
from gitserver.commit.draft import ChangeSet, Draft
from gitserver.commit.initial import MESSAGE, Beginning, initial_files
from gitserver.history.browser import Browser, Snapshot
from gitserver.objects.pack_writer import PackWriter
from gitserver.objects.serialize import make_commit
from gitserver.objects.store import Kind, ObjectStores, RawObject
from gitserver.update.ref_updater import check_made
from gitserver.update.ref_writer import RefWriter
from lfs.objects.large_files import LargeFiles
from storage.errors import Stale, Unavailable
from storage.limits import Limits
from storage.records import ZERO_OID, Oid, Principal, RefUpdate, Repo, Signature
from storage.versions.base import RefResult, VersionStore

STALE = "The branch was updated since you opened this page. Please refresh and try again."
_REPLAY_SECONDS = 3600
_PLAIN = Beginning()


class Committer:
    def __init__(
        self, objects: ObjectStores, browser: Browser, writer: RefWriter, versions: VersionStore, large: LargeFiles, limits: Limits
    ) -> None:
        self._objects = objects
        self._browser = browser
        self._writer = writer
        self._versions = versions
        self._large = large
        self._limits = limits

    def commit(self, repo: Repo, principal: Principal, request: CommitRequest) -> Oid:
        """The new commit's id. A request that names no parent goes onto whatever is newest; one that does is refused when it is stale.

        Raises Stale, EntryNotFound, BadPath, Invalid, Unavailable.
        """
        for _ in range(self._limits.commit_tries):
            head = self._head(repo, request.branch)
            if head != ZERO_OID and request.changes and self._made_before(repo, request) == head:
                return head
            if request.parent is not None and request.parent != head:
                raise Stale(STALE)
            results = self._try(repo, principal, request, head)
            if not results[0].reason:
                return results[0].oid
            if self._head(repo, request.branch) == head:
                check_made(results)
        raise Unavailable("Others are committing to this branch all the time. Try again in a moment.")

    def begin(self, repo: Repo, principal: Principal, beginning: Beginning = _PLAIN) -> None:
        """The first commit of a repository that has none: `initial commit` on its default branch.

        Raises BadPath, Invalid.
        """
        if self._versions.refs(repo.id, fresh=False).refs:
            return
        given = _request_of(repo, beginning.files)

        def fill(writer: PackWriter) -> list[RefUpdate]:
            draft = Draft(self._objects.of(repo.id), writer, None)
            _lay(draft, initial_files(repo, beginning))
            ChangeSet(repo, principal, given, self._large, self._limits).apply(draft, self._browser, None)
            return [RefUpdate(repo.head, ZERO_OID, _first(draft, principal))]

        results = self._writer.store(repo, principal, fill)
        if self._head(repo, repo.head) == ZERO_OID:  # else somebody was faster
            check_made(results)

    def _head(self, repo: Repo, branch: bytes) -> Oid:
        found = self._versions.refs(repo.id, fresh=False).get(branch)
        return found.oid if found is not None else ZERO_OID

    def _made_before(self, repo: Repo, request: CommitRequest) -> Oid | None:
        return self._versions.made_for(repo.id, request.branch, request.digest, _REPLAY_SECONDS)

    def _named(self, request: CommitRequest, parent: Snapshot | None) -> CommitRequest:
        """The request with the parent's paths as git has them, where listings spell them otherwise."""
        if parent is None or not any(b"%" in change.path for change in request.changes):
            return request
        stored = self._browser.stored
        changes = (replace(change, path=stored(parent, change.path)) for change in request.changes)
        return replace(request, changes=tuple(changes))

    def _try(self, repo: Repo, principal: Principal, request: CommitRequest, head: Oid) -> list[RefResult]:
        parent = self._browser.at(repo, head.hex()) if head != ZERO_OID else None

        def fill(writer: PackWriter) -> list[RefUpdate]:
            draft = Draft(self._objects.of(repo.id), writer, parent.tree if parent is not None else None)
            if parent is None:
                _lay(draft, initial_files(repo, _PLAIN))
            before = parent.commit if parent is not None else _first(draft, principal)
            named = self._named(request, parent)
            ChangeSet(repo, principal, named, self._large, self._limits).apply(draft, self._browser, parent)
            when = _time_after(parent)
            commit = make_commit(draft.finish(), (before,), signature(principal, when), request.message)
            return [RefUpdate(request.branch, head, draft.add(commit))]

        return self._writer.store(repo, principal, fill, idempotency_key=request.digest)


def signature(principal: Principal, when: int) -> Signature:
    """The user without his address: what he told the hub is not for everybody who clones."""
    name = principal.name.encode()
    return Signature(name, name + b"@users.noreply.kohakuhub", when)


def _request_of(repo: Repo, files: Mapping[bytes, bytes]) -> CommitRequest:
    spool, puts = BytesIO(), []
    for path, data in files.items():
        puts.append(Put(path, spool.tell(), len(data)))
        spool.write(data)
    return CommitRequest(repo.head, MESSAGE, None, tuple(puts), spool, "")


def _lay(draft: Draft, files: Mapping[bytes, bytes]) -> None:
    for path, data in files.items():
        draft.edit.put(path, draft.add(RawObject(Kind.BLOB, data), remember=True))


def _first(draft: Draft, principal: Principal) -> Oid:
    return draft.add(make_commit(draft.finish(), (), signature(principal, int(time.time())), MESSAGE))


def _time_after(parent: Snapshot | None) -> int:
    """Now; never before the parent, whose clock may be ahead: walks go by time."""
    now = int(time.time())
    return max(now, min(parent.objects.commit(parent.commit).time, now + 86400)) if parent is not None else now

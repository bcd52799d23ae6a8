"""A repository's branches, tags and notes are brought to a target: the job `push`, asked for by each update of its refs.

What is sent is the difference to what the target shows at that moment, so it may be cut short and run again at any time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from accounts.access import decide
from gitserver.fetch.enumerate import Enumeration
from gitserver.fetch.filters import Filter
from gitserver.fetch.graph import RevisionWalk, peel
from gitserver.fetch.objectset import ObjectSet
from gitserver.fetch.packing import Packing, Rules
from gitserver.fetch.session import FetchSession
from gitserver.mirror.batch import PAGE, TYPE, Item, LfsServer, action_of, fault_of
from gitserver.mirror.mirrors import Mirror, Mirrors
from gitserver.mirror.pull import Here
from gitserver.mirror.target import Shown, Target
from gitserver.objects.store import Kind, Objects
from lfs.pointer import MOST_BYTES, parse
from storage.errors import Conflict, Forbidden, RepoNotFound
from storage.jobs.runner import Run
from storage.limits import Limits
from storage.outbound.client import Outbound, Request, check_status, deadline
from storage.records import ZERO_OID, Access, BlobRef, Oid, RefUpdate, Repo, Scope
from storage.versions.base import Refs
from storage.versions.ref_names import Names

_SENT = (b"refs/heads/", b"refs/tags/", b"refs/notes/")
_BATCH = 1000  # refs of one push
_REPLY_BYTES = 1 << 20
_MOST_SHOWN = 20


class PushMirror:
    def __init__(self, here: Here, mirrors: Mirrors, outbound: Outbound, limits: Limits) -> None:
        self._here = here
        self._mirrors = mirrors
        self._outbound = outbound
        self._limits = limits

    def push(self, run: Run) -> None:
        """The work of one job. Raises HubErrors that say why it cannot be done, and whatever `run` raises to stop it."""
        mirror = self._mirrors.get(run.lease.key.subject)
        if mirror is None:
            return  # ended meanwhile
        repo = self._allowed(mirror)
        check = deadline(self._limits.import_seconds, run.check)
        target = Target(self._outbound, mirror.url, self._mirrors.login(mirror), self._limits, check)
        run.progress(f"Asking {mirror.url.shown}")
        shown = target.open()
        refs = self._here.versions.refs(repo.id)
        updates = _updates(refs, shown)
        if updates:
            objects = self._here.objects.of(repo.id)
            _Sender(self._here, repo, _Uploads(self._here, self._outbound, target, check), target, shown, run).send(objects, refs, updates)
        run.progress(f"Done: {len(updates)} refs changed")

    def _allowed(self, mirror: Mirror) -> Repo:
        """The rights of who set the mirror up are asked anew each time."""
        repo = self._here.repos.get(mirror.repo_id)
        if repo is None:
            raise RepoNotFound("The repository is gone.")
        user = self._here.users.get(mirror.user_id)
        if user is None or not user.is_active or decide(user.principal(Scope.WRITE, from_session=False), repo) < Access.WRITE:
            raise Forbidden(f"Who set this mirror up may not write to {repo.name.full} any more. Somebody who may sets it up again.")
        return repo


class _Sender:
    """Brings refs to the target, a batch at a time: many servers bound how many one push may hold."""

    def __init__(self, here: Here, repo: Repo, uploads: "_Uploads", target: Target, shown: Shown, run: Run) -> None:
        self._here = here
        self._repo = repo
        self._uploads = uploads
        self._target = target
        self._run = run
        self._rules = Rules(b"ofs-delta" in shown.capabilities, False)
        self._there = dict.fromkeys(shown.refs.values())

    def send(self, objects: Objects, refs: Refs, updates: Sequence[RefUpdate]) -> None:
        """Raises Conflict with the refs that the target refuses, after the others have moved."""
        refused: dict[bytes, str] = {}
        for start in range(0, len(updates), _BATCH):
            batch = updates[start : start + _BATCH]
            found = _new(objects, refs, {update.new for update in batch} - {ZERO_OID}, self._there, self._run)
            refused |= self._push(objects, found, batch)
            self._there |= {update.new: None for update in batch if update.new != ZERO_OID and update.ref not in refused}
            self._run.progress("Refs gone through:", start + len(batch), len(updates))
        if refused:
            raise Conflict(f"{len(refused)} refs are refused by the target: {'; '.join(list(refused.values())[:_MOST_SHOWN])}")

    def _push(self, objects: Objects, found: Enumeration, batch: Sequence[RefUpdate]) -> dict[bytes, str]:
        """Large files first, then the objects and refs."""
        possession, run = self._here.possession, self._run
        large = [blob for blob in _pointers(objects, found.sent) if possession.has(self._repo.id, blob.sha256) == blob]
        self._uploads.send(large, run)
        with self._here.packs.spool() as spool:
            run.progress(f"Sending {len(found.sent)} objects")
            for piece in Packing(objects, ObjectSet(found.sent), ObjectSet(found.known), self._rules).pieces():
                run.check()
                spool.write(piece)
            needs_pack = any(update.new != ZERO_OID for update in batch)
            return self._target.push(batch, spool if needs_pack else None)


class _Uploads:
    def __init__(self, here: Here, outbound: Outbound, target: Target, check: Callable[[], None]) -> None:
        self._here = here
        self._outbound = outbound
        self._check = check
        self._server = LfsServer(outbound, target.base, target.login_for, check)

    def send(self, blobs: Sequence[BlobRef], run: Run) -> None:
        """Those that the target lacks. Raises Conflict with the list of those that it does not take."""
        refused: list[str] = []
        for start in range(0, len(blobs), PAGE):
            page = blobs[start : start + PAGE]
            items = self._server.ask("upload", page, len(blobs))
            for count, blob in enumerate(page, start + 1):
                item = items.get(blob.sha256, {"error": True})
                if fault := fault_of(item):
                    refused.append(f"{blob.sha256} ({fault})")
                elif (action := action_of(item, "upload")) is not None:
                    self._upload(blob, action, item)
                run.progress("Sending large files", count, len(blobs))
        if refused:
            raise Conflict(f"{len(refused)} LFS objects are not taken by the target: {'; '.join(refused[:_MOST_SHOWN])}")

    def _upload(self, blob: BlobRef, action: Item, item: Item) -> None:
        asked = self._server.request("PUT", action, item)
        with self._here.blobs.open(blob.sha256) as file:
            headers = {"Content-Type": "application/octet-stream", **asked.headers, "Content-Length": str(blob.size)}
            self._done(Request("PUT", asked.url, headers, file, asked.login), blob)
        verify = action_of(item, "verify")
        if verify is not None:
            asked = self._server.request("POST", verify, item)
            headers = {"Accept": TYPE, "Content-Type": TYPE, **asked.headers}
            body = f'{{"oid": "{blob.sha256}", "size": {blob.size}}}'.encode()
            self._done(Request("POST", asked.url, headers, body, asked.login), blob)

    def _done(self, request: Request, blob: BlobRef) -> None:
        with self._outbound.send(request, _REPLY_BYTES, self._check) as reply:
            if reply.status not in (201, 202, 204):
                check_status(reply, f"LFS object {blob.sha256}")


def _updates(refs: Refs, shown: Shown) -> list[RefUpdate]:
    """What makes the target's branches, tags and notes those of the hub: what stands in the way of others goes first, the rest last."""
    have = {name: oid for name, oid in shown.refs.items() if name.startswith(_SENT)}
    wanted = {ref.name: ref.oid for ref in refs.refs if ref.name.startswith(_SENT)}
    moved = [RefUpdate(name, have.get(name, ZERO_OID), oid) for name, oid in wanted.items() if have.get(name) != oid]
    gone = [RefUpdate(name, oid, ZERO_OID) for name, oid in have.items() if name not in wanted]
    names = Names(wanted)
    in_the_way = [update for update in gone if names.clash(update.ref)]
    return in_the_way + moved + [update for update in gone if not names.clash(update.ref)]


def _new(objects: Objects, refs: Refs, wants: set[Oid], there: Iterable[Oid], run: Run) -> Enumeration:
    """What `wants` need beyond the objects that the target shows and the hub has."""
    session = FetchSession(objects, refs)
    wanted = session.wanted(wants)
    haves = _peeled(objects, session.common(there))
    walk = RevisionWalk(objects)
    for _ in walk.run(wanted.commits, haves):
        run.check()
    found = Enumeration(objects, Filter())
    for _ in found.commits(walk, haves[:4]):
        run.check()
    found.sent.update(wanted.tags)
    for tree in wanted.trees:
        found.tree(tree, is_wanted=True)
    found.sent.update(wanted.blobs)
    return found


def _peeled(objects: Objects, oids: Iterable[Oid]) -> list[Oid]:
    """The commits among `oids`, or to which they lead."""
    ends = (peel(objects, oid) for oid in oids)
    return list(dict.fromkeys(end for _, end, kind in ends if kind is Kind.COMMIT))


def _pointers(objects: Objects, oids: set[Oid]) -> Iterator[BlobRef]:
    """The LFS objects that the blobs among `oids` name."""
    seen: set[str] = set()
    for oid in oids:
        kind, size = objects.header(oid)
        if kind is Kind.BLOB and size <= MOST_BYTES and (pointer := parse(objects.get(oid).data)) and pointer.oid not in seen:
            seen.add(pointer.oid)
            yield pointer.blob

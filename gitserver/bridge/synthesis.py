"""A commit that was made in LakeFS as a commit of git (I3): its bytes depend on nothing but the LakeFS commit and its parents in git.

Large files become LFS pointers. Keys that no tree of git may hold are left out and counted in the message.
"""

import logging
import shutil

from gitserver.bridge.coverage import pointers_below, told_by, trailers
from gitserver.bridge.tree_import import Taking
from gitserver.bridge.unprojected import carry_over
from gitserver.commit.draft import Draft
from gitserver.objects.pack_writer import PackWriter
from gitserver.objects.serialize import make_commit
from gitserver.objects.store import Objects, ObjectStores
from gitserver.receive.ingest import Ingest, IngestOptions
from lfs.objects.possession import Possession
from storage.blobs.base import BlobStore
from storage.database.base import Database, Tx
from storage.limits import Limits
from storage.packs import PackStore
from storage.records import BlobRef, Oid, PackInfo, Repo, Signature
from storage.versions.git_side import Foreign

log = logging.getLogger(__name__)
_EMAIL = b"lakefs@users.noreply.kohakuhub"


class Intake:
    def __init__(
        self, database: Database, objects: ObjectStores, packs: PackStore, blobs: BlobStore, possession: Possession, limits: Limits
    ) -> None:
        self._database = database
        self._objects = objects
        self._packs = packs
        self._blobs = blobs
        self._possession = possession
        self._limits = limits

    def take_in(self, repo: Repo, foreign: Foreign) -> Oid:
        """The commit, stored. Raises Unavailable."""
        drops = self._packs.upkeep.drops(repo.id)
        objects = self._objects.of(repo.id)
        objects.refresh()
        folder = self._packs.quarantine()
        try:
            pack = folder / "taken.pack"
            writer = PackWriter(pack)
            try:
                oid = self._fill(repo, Draft(objects, writer, _tree(objects, foreign.base)), objects, foreign)
            finally:
                writer.close()
            ingested = Ingest(objects, self._limits, lambda text: None, IngestOptions()).run(pack)
            if ingested.info.objects:
                self._packs.add(repo.id, ingested.info, pack, ingested.index)
                self._database.write(lambda tx: self._record(tx, repo, ingested.info, drops))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        objects.refresh()
        return oid

    def _record(self, tx: Tx, repo: Repo, info: PackInfo, drops: int) -> None:
        self._packs.upkeep.count_on(tx, repo.id, drops)
        self._packs.record(tx, repo.id, info)

    def _fill(self, repo: Repo, draft: Draft, objects: Objects, foreign: Foreign) -> Oid:
        def own(blob: BlobRef) -> None:
            self._possession.link(repo.id, blob)

        taking = Taking(draft, foreign.reader, self._blobs, own, is_covered=foreign.is_covered)
        skipped = taking.apply(foreign.differences)
        if foreign.joined is not None:
            carry_over(draft, objects, _tree(objects, foreign.joined_on), objects.commit(foreign.joined).tree)
        if skipped:
            log.warning("LakeFS: %d keys of commit %s in %s cannot be in git and are left out", skipped, foreign.commit.id, repo.name.full)
        unlike = _cover(taking, objects, foreign) if foreign.is_covered else set()
        return draft.add(make_commit(draft.finish(), foreign.parents, _author(foreign), _message(foreign, skipped, unlike)))


def _cover(taking: Taking, objects: Objects, foreign: Foreign) -> set[bytes]:
    """The .gitattributes that are not as LakeFS has them. What one covered before LakeFS changed it may need a line."""
    folders = [path.rpartition(b"/")[0] for path in taking.attributes]
    added = taking.cover(pointers_below(objects, _tree(objects, foreign.base), folders))
    return told_by(objects, foreign.base) - taking.attributes | added


def _tree(objects: Objects, commit: Oid | None) -> Oid | None:
    return objects.commit(commit).tree if commit is not None else None


def _author(foreign: Foreign) -> Signature:
    """LakeFS knows one user, whoever used its keys."""
    return Signature(foreign.commit.committer.encode("utf-8", "replace") or b"lakefs", _EMAIL, foreign.commit.created)


def _message(foreign: Foreign, skipped: int, unlike: set[bytes]) -> str:
    lines = [foreign.commit.message.strip() or "Commit in LakeFS", "", f"LakeFS-Commit: {foreign.commit.id}"]
    if skipped:
        lines.append(f"Hub-Skipped: {skipped}")
    return "\n".join(lines + trailers(unlike))

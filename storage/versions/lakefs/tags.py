"""Tags on both sides. Git's are the truth and are shown in LakeFS where it has their commit; a new one made in LakeFS comes to git."""

import logging

from storage.database.base import Database, Tx
from storage.records import ZERO_OID, RefUpdate, Repo
from storage.versions.git_side import Contents
from storage.versions.lakefs import operations
from storage.versions.lakefs.client import Denied, LakeFS
from storage.versions.lakefs.names import repository_id, tag_id, tag_ref
from storage.versions.lakefs.reconcile import Reconciler
from storage.versions.lakefs.records import LakeRef
from storage.versions.table import judge_updates, move_refs

log = logging.getLogger(__name__)
_WRONG = (  # tags of git whose commit LakeFS has, and which it does not show so
    "SELECT refs.name, MIN(commits.commit_id) AS commit_id, MIN(shown.id) AS shown FROM refs"
    " JOIN lakefs_commits AS commits ON commits.repo_id = refs.repo_id AND commits.oid = COALESCE(refs.peeled, refs.oid)"
    " LEFT JOIN lakefs_refs AS shown ON shown.repo_id = refs.repo_id AND shown.is_tag = 1 AND shown.ref = refs.name"
    " LEFT JOIN lakefs_commits AS at ON at.repo_id = refs.repo_id AND at.commit_id = shown.commit_id"
    " WHERE refs.repo_id = :repo AND refs.name > :first AND refs.name < :last"
    " AND (shown.id IS NULL OR at.oid IS NULL OR at.oid <> COALESCE(refs.peeled, refs.oid)) GROUP BY refs.name"
)
_GONE = (
    "SELECT shown.id, shown.ref FROM lakefs_refs AS shown LEFT JOIN refs ON refs.repo_id = shown.repo_id AND refs.name = shown.ref"
    " WHERE shown.repo_id = :repo AND shown.is_tag = 1 AND refs.name IS NULL"
)


class Tags:
    def __init__(self, database: Database, lakefs: LakeFS, contents: Contents, reconciler: Reconciler) -> None:
        self._database = database
        self._lakefs = lakefs
        self._contents = contents
        self._reconciler = reconciler

    def project(self, repo: Repo) -> None:
        """Show git's tags in LakeFS. What is not done now is done the next time. Raises Unavailable."""
        name = repository_id(repo.id)
        for row in self._database.all(_GONE, {"repo": repo.id}):
            self._lakefs.delete_tag(name, row["id"])
            self._note(repo, row["id"], bytes(row["ref"]), "")
        for row in self._database.all(_WRONG, {"repo": repo.id, "first": b"refs/tags/", "last": b"refs/tags0"}):
            ref, tag = bytes(row["name"]), row["shown"] or tag_id(bytes(row["name"]))
            if row["shown"]:
                self._lakefs.delete_tag(name, tag)
            try:
                self._lakefs.create_tag(name, tag, row["commit_id"])
            except Denied as error:
                log.warning("LakeFS does not take tag %s of %s: %s", tag, repo.name.full, error)
                continue
            self._note(repo, tag, ref, row["commit_id"])

    def take_in(self, repo: Repo, found: list[LakeRef]) -> None:
        """`found` are LakeFS's tags. Raises Unavailable."""
        known = operations.known_refs(self._database, repo.id, is_tag=True)
        for tag in found:
            if tag.id not in known and (ref := self._name(tag.id)) is not None:
                self._take(repo, tag, ref)
        there = {tag.id for tag in found}
        for gone in known.keys() - there:
            self._note(repo, gone, bytes(known[gone]["ref"]), "")

    def _take(self, repo: Repo, tag: LakeRef, ref: bytes) -> None:
        oid = self._reconciler.git_of(repo, tag.commit)
        if oid == ZERO_OID:
            return

        def work(tx: Tx) -> None:
            update = RefUpdate(ref, ZERO_OID, oid)
            if not judge_updates(tx, repo, [update])[0].reason:
                move_refs(tx, repo, [update], {}, 0, "")
            operations.note_branch(tx, repo.id, tag.id, ref, tag.commit, is_tag=True)

        self._database.write(work)

    def _name(self, tag: str) -> bytes | None:
        ref = tag_ref(tag)
        return ref if ref is not None and self._contents.is_ref_name(ref) else None

    def _note(self, repo: Repo, tag: str, ref: bytes, commit: str) -> None:
        self._database.write(lambda tx: operations.note_branch(tx, repo.id, tag, ref, commit, is_tag=True))

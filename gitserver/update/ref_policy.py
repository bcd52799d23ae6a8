"""Which ref may move where: names, targets, branch rules and locks of others. Asked for each command of a push."""

from collections.abc import Sequence

from dulwich.refs import Ref, check_ref_format

from gitserver.fetch.graph import DEEPEST_TAG, peel
from gitserver.objects.store import Kind, Objects
from gitserver.receive.ingest import Ingested
from gitserver.update.branch_rules import Arriving, BranchRule, refusal
from gitserver.update.locked_paths import LockedPaths
from gitserver.update.namespaces import NO_NAME, refusal_of
from storage.errors import ObjectNotFound, TooManyTags
from storage.limits import Limits
from storage.records import ZERO_OID, Oid, RefUpdate, Repo
from storage.versions.base import Refs

IS_DEFAULT = "deletion of the current branch prohibited"  # git's words


class RefPolicy:
    """Decide on each command of a push before anything is written; gather what annotated tags lead to."""

    def __init__(
        self,
        objects: Objects,
        ingested: Ingested | None,
        refs: Refs,
        rules: Sequence[BranchRule],
        limits: Limits,
        locked: LockedPaths | None,
    ) -> None:
        self._objects = objects
        self._locked = locked
        self._kinds = ingested.kinds if ingested else {}
        self._tags = ingested.tags if ingested else {}
        self._refs = refs
        self._rules = rules
        self._commits = Arriving(objects, ingested.commits if ingested else {})
        self._limits = limits
        self._seen: set[bytes] = set()
        self.peeled: dict[Oid, Oid] = {}

    def refusal(self, update: RefUpdate) -> str:
        """Why the ref may not move so, in git's words; empty when it may."""
        if update.ref in self._seen:
            return "multiple updates for this ref in one push"
        self._seen.add(update.ref)
        if len(update.ref) > self._limits.ref_name_bytes:
            return f"{NO_NAME}: longer than {self._limits.ref_name_bytes} bytes, choose a shorter one"
        if not check_ref_format(Ref(update.ref)):
            return NO_NAME
        if reason := refusal_of(update):
            return reason
        if update.new == ZERO_OID:
            is_head = update.ref == self._refs.head and self._refs.get(update.ref) is not None
            return IS_DEFAULT if is_head else refusal(self._rules, update, self._commits, self._refs)
        return self._target(update) or self._breach(update) or self._locks(update)

    def is_done(self, update: RefUpdate) -> bool:
        """The deletion of a ref that is not there, by a client who knows: as with C git nothing happens, and well."""
        return update.old == update.new == ZERO_OID and self._refs.get(update.ref) is None

    def _breach(self, update: RefUpdate) -> str:
        """Of a rule; an old value that is not here is refused by the version store."""
        try:
            return refusal(self._rules, update, self._commits, self._refs) if self._rules else ""
        except ObjectNotFound:
            return "missing necessary objects"

    def _locks(self, update: RefUpdate) -> str:
        """Of others, on files that the update changes."""
        target = self.peeled.get(update.new, update.new)
        if self._locked is None or self._kind(target) is not Kind.COMMIT:
            return ""
        try:
            return self._locked.refusal(update, target)
        except ObjectNotFound:
            return "missing necessary objects"

    def _target(self, update: RefUpdate) -> str:
        try:
            leads_to = self._peel(update.new)
        except TooManyTags:
            return f"the tag leads through more than {DEEPEST_TAG} tags: tag what they lead to instead"
        except ObjectNotFound:
            return "missing necessary objects"
        if update.ref.startswith(b"refs/heads/") and self._kind(update.new) is not Kind.COMMIT:
            return "a branch can only point to a commit"
        if leads_to != update.new:
            self.peeled[update.new] = leads_to
        return ""

    def _peel(self, oid: Oid) -> Oid:
        depth = 0
        while (kind := self._kinds.get(oid)) is Kind.TAG:
            oid = self._tags[oid]
            depth += 1
        tags, end, _ = peel(self._objects, oid) if kind is None else ([], oid, kind)
        if depth + len(tags) > DEEPEST_TAG:
            raise TooManyTags(f"A pushed tag leads through more than {DEEPEST_TAG} tags.")
        return end

    def _kind(self, oid: Oid) -> Kind:
        return self._kinds.get(oid) or self._objects.header(oid)[0]


def how_to_change_default(repo: Repo) -> str:
    """For those who may not delete the default branch."""
    route = f"PUT /api/{repo.name.kind.plural}/{repo.name.full}/settings"
    return f'Choose another default branch first: {route} with {{"defaultBranch": "NAME"}}. Then delete this one.'

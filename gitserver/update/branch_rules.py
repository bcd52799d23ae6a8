"""Branch protection: what may not happen to the branches of a repository, whoever pushes and through whichever door."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gitserver.fetch.graph import Commits, RevisionWalk, unreachable
from gitserver.objects.parse import CommitNode
from storage.database.base import Database, Tx
from storage.errors import Invalid
from storage.records import ZERO_OID, Oid, RefUpdate
from storage.versions.base import Refs

_HEADS = b"refs/heads/"
_MOST_RULES = 100
_MOST_CHARACTERS = 200
_PATTERN = re.compile(r"[^\x00-\x20\x7f~^:\\]+")


@dataclass(frozen=True, slots=True)
class BranchRule:
    """For the branches whose names are like `pattern`, as in a shell; `*` also stands for slashes."""

    pattern: str
    forbids_force: bool
    forbids_deletion: bool
    forbids_merges: bool

    def covers(self, branch: bytes) -> bool:
        return fnmatchcase(branch.decode("utf-8", "surrogateescape"), self.pattern)


class Arriving:
    """Commits of a push that is not stored yet, and those that are."""

    def __init__(self, stored: Commits, new: Mapping[Oid, CommitNode]) -> None:
        self._stored = stored
        self._new = new

    def commit(self, oid: Oid) -> CommitNode:
        return self._new.get(oid) or self._stored.commit(oid)


class BranchRules:
    """Rows of `branch_rules`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, repo_id: str) -> tuple[BranchRule, ...]:
        rows = self._database.all("SELECT * FROM branch_rules WHERE repo_id = :repo ORDER BY pattern", {"repo": repo_id})
        return tuple(
            BranchRule(row["pattern"], bool(row["forbids_force"]), bool(row["forbids_deletion"]), bool(row["forbids_merges"]))
            for row in rows
        )

    def set(self, repo_id: str, rules: Sequence[BranchRule]) -> None:
        """In the place of those that there are. Raises Invalid."""
        if len(rules) > _MOST_RULES:
            raise Invalid(f"{len(rules)} rules are too many: {_MOST_RULES} are allowed. Use patterns.")
        for rule in rules:
            if not _PATTERN.fullmatch(rule.pattern) or len(rule.pattern) > _MOST_CHARACTERS:
                raise Invalid(f"{rule.pattern[:100]!r} is no pattern of branch names, such as main or release/*.")
        if len({rule.pattern for rule in rules}) < len(rules):
            raise Invalid("A pattern comes twice. Send each once, with all that it forbids.")

        def work(tx: Tx) -> None:
            tx.run("DELETE FROM branch_rules WHERE repo_id = :repo", {"repo": repo_id})
            tx.many(
                "INSERT INTO branch_rules (repo_id, pattern, forbids_force, forbids_deletion, forbids_merges)"
                " VALUES (:repo, :pattern, :force, :deletion, :merges)",
                [
                    {
                        "repo": repo_id,
                        "pattern": rule.pattern,
                        "force": int(rule.forbids_force),
                        "deletion": int(rule.forbids_deletion),
                        "merges": int(rule.forbids_merges),
                    }
                    for rule in rules
                ],
            )

        self._database.write(work)


def refusal(rules: Sequence[BranchRule], update: RefUpdate, commits: Commits, refs: Refs) -> str:
    """Why the rules do not let the update be, in words for the client; empty when they do. Its commits are known to be commits; `refs` is
    what there is before it.
    """
    branch = update.ref.removeprefix(_HEADS)
    if branch == update.ref:
        return ""
    covering = [rule for rule in rules if rule.covers(branch)]
    if update.new == ZERO_OID:
        return "protected branch: it may not be deleted" if any(rule.forbids_deletion for rule in covering) else ""
    if update.old != ZERO_OID and any(rule.forbids_force for rule in covering) and unreachable(commits, {update.old}, [update.new]):
        return "protected branch: force pushes are not allowed"
    if any(rule.forbids_merges for rule in covering) and _brings_merge(update, commits, _accepted(rules, refs)):
        return "protected branch: merge commits are not allowed; rebase instead"
    return ""


def _accepted(rules: Sequence[BranchRule], refs: Refs) -> list[Oid]:
    """Where the default branch stands, and each that may have no merges: a new one may be cut from the history of these, whatever it is."""
    linear = [rule for rule in rules if rule.forbids_merges]
    heads = [(ref.name.removeprefix(_HEADS), ref) for ref in refs.refs if ref.name.startswith(_HEADS)]
    return [ref.oid for branch, ref in heads if ref.name == refs.head or any(rule.covers(branch) for rule in linear)]


def _brings_merge(update: RefUpdate, commits: Commits, accepted: Sequence[Oid]) -> bool:
    difference = RevisionWalk(commits)
    for _ in difference.run([update.new], [update.old] if update.old != ZERO_OID else accepted):
        pass
    return any(len(node.parents) > 1 for node in difference.commits)

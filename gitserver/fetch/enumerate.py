"""The objects that new commits need and their parents' trees do not have.

A tree is read once; against what the client has, only the differing subtrees are read: the cost follows the change.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from gitserver.fetch.filters import Filter
from gitserver.fetch.graph import TICK, RevisionWalk
from gitserver.fetch.trees import TreeReader, subtrees
from gitserver.objects.parse import GITLINK, TREE
from gitserver.objects.store import Objects
from storage.records import Oid

_Task: TypeAlias = tuple[Oid, tuple[Oid, ...], tuple[Oid, ...]]  # a tree, and what the client has and gets at the same path


class Enumeration:
    """`sent` grows to all objects of the pack; `known` to those, met on the way, that the client has (bases for thin packs)."""

    def __init__(self, objects: Objects, chosen: Filter) -> None:
        self._objects = objects
        self._trees = TreeReader(objects)
        self._blob_limit = chosen.blob_limit
        self._tree_depth = chosen.tree_depth
        self._depths: dict[Oid, int] = {}  # with a tree filter: at which depth a tree was walked
        self.sent: set[Oid] = set()
        self.known: set[Oid] = set()

    def commits(self, walk: RevisionWalk, edges: Sequence[Oid]) -> Iterator[int]:
        """Add the new commits of `walk` and their trees; yields the object count now and then.

        `edges` are commits that the client has; they serve where a commit has no parent to compare with.
        """
        edge_trees = tuple(self._objects.commit(oid).tree for oid in edges)
        for count, node in enumerate(walk.commits, 1):
            self.sent.add(node.oid)
            if node.tree not in self.sent:
                olds = tuple(self._objects.commit(oid).tree for oid in node.parents if walk.has(oid))
                news = tuple(self._objects.commit(oid).tree for oid in node.parents if oid in self.sent)
                self.tree(node.tree, olds if olds or news else edge_trees, news)
            if count % TICK == 0:
                yield len(self.sent)

    def tree(self, root: Oid, olds: tuple[Oid, ...] = (), news: tuple[Oid, ...] = (), *, is_wanted: bool = False) -> None:
        """Add a tree and what is below it, but not what `olds` (root trees that the client has) and `news` (that were added) hold at
        the same path.
        """
        self.known.update(olds)
        if root in self.known or (self._tree_depth == 0 and not is_wanted):
            return
        if self._tree_depth is not None:
            self._limited_tree(root, max(self._tree_depth, 1))
            return
        stack = [(root, olds, news)]
        while stack:
            tree, olds, news = stack.pop()
            if tree not in self.sent and tree not in self.known:
                stack += self._tree(tree, olds, news)

    def blob(self, oid: Oid) -> None:
        self.sent.add(oid)

    def _tree(self, tree: Oid, olds: tuple[Oid, ...], news: tuple[Oid, ...]) -> list[_Task]:
        """Add one tree and its blobs; its subtrees with their counterparts."""
        sent, known, entries = self.sent, self.known, self._trees.entries
        sent.add(tree)
        mine = new = entries(tree)
        for old in olds:
            known.update(oid for _, _, oid in entries(old))
        for other in (*olds, *news):
            new -= entries(other)
        below_olds, below_news = ([subtrees(entries(other) - mine) for other in others] for others in (olds, news))
        below: list[_Task] = []
        for mode, name, oid in new:
            if oid in sent or oid in known:
                continue
            if mode == TREE:
                below.append((oid, _at(name, below_olds), _at(name, below_news)))
            elif mode != GITLINK and self._keeps(oid):
                sent.add(oid)
        return below

    def _limited_tree(self, root: Oid, limit: int) -> None:
        """With a tree filter: what stands above depth `limit`; a tree met again nearer to the root is walked again."""
        stack = [(root, 0)]
        while stack:
            tree, depth = stack.pop()
            if depth >= limit or tree in self.known or self._depths.get(tree, limit) <= depth:
                continue
            self._depths[tree] = depth
            self.sent.add(tree)
            if depth + 1 >= limit:
                continue
            for mode, _, oid in self._trees.entries(tree):
                if mode == TREE:
                    stack.append((oid, depth + 1))
                elif mode != GITLINK and oid not in self.known and self._keeps(oid):
                    self.sent.add(oid)

    def _keeps(self, blob: Oid) -> bool:
        if self._blob_limit is None:
            return True
        return self._blob_limit > 0 and self._objects.header(blob)[1] < self._blob_limit


def _at(name: bytes, trees: Sequence[dict[bytes, Oid]]) -> tuple[Oid, ...]:
    return tuple(dict.fromkeys(tree[name] for tree in trees if name in tree))

"""All that some commits lead to, from the marks of selected commits; what is newer than those is walked."""

import heapq
from collections.abc import Generator, Iterable

from gitserver.fetch.graph import TICK
from gitserver.fetch.objectset import ObjectSet
from gitserver.fetch.trees import TreeReader, subtrees
from gitserver.objects.marks import joined, without
from gitserver.objects.parse import GITLINK, TREE, CommitNode
from gitserver.objects.reachability import Reach
from gitserver.objects.store import Objects
from storage.records import Oid


class Closure:
    """`reached` grows to what the commits lead to. Without blobs it holds none, and trees are read for their subtrees alone."""

    def __init__(self, objects: Objects, reach: Reach, *, with_blobs: bool = True) -> None:
        self._objects = objects
        self._reach = reach
        self._with_blobs = with_blobs
        self._trees = TreeReader(objects)
        self.reached = ObjectSet(reach=reach)

    def add(self, commits: Iterable[Oid]) -> Generator[int, None, None]:
        """Yields the number of steps now and then."""
        walked = yield from self._walk(commits)
        for count, node in enumerate(reversed(walked), 1):
            if node.oid not in self.reached:  # else a selected commit that was met later leads to it
                self.reached.add(node.oid)
                self._tree(node)
            if count % TICK == 0:
                yield len(walked) + count
        if not self._with_blobs:
            self.reached.marks = without(self.reached.marks, self._reach.blobs)

    def add_commits(self, commits: Iterable[Oid]) -> None:
        """Of what they lead to the commits alone are sure to be in then."""
        walk = self._walk(commits)
        while True:
            try:
                next(walk)
            except StopIteration as end:
                self.reached.update(node.oid for node in end.value)
                return

    def _walk(self, commits: Iterable[Oid]) -> Generator[int, None, list[CommitNode]]:
        """Newest first, up to selected commits, whose marks are taken. Returns the others, each before its parents if clocks are right."""
        walked: list[CommitNode] = []
        seen = set(commits)
        heap = [(-self._objects.commit(oid).time, oid) for oid in seen]
        heapq.heapify(heap)
        steps = 0
        while heap:
            _, oid = heapq.heappop(heap)
            steps += 1
            if steps % TICK == 0:
                yield steps
            if oid in self.reached or self._take(oid):
                continue
            node = self._objects.commit(oid)
            walked.append(node)
            for parent in node.parents:
                if parent not in seen:
                    seen.add(parent)
                    heapq.heappush(heap, (-self._objects.commit(parent).time, parent))
        return walked

    def _take(self, oid: Oid) -> bool:
        """Whether the commit is a selected one; all that it leads to is marked then."""
        position = self._reach.position(oid)
        rank = self._reach.rank(position) if position is not None else None
        marks = self._reach.reached(rank) if rank is not None else None
        if marks is None:
            return False
        self.reached.marks = joined(self.reached.marks, marks)
        return True

    def _tree(self, node: CommitNode) -> None:
        """The tree of a commit; of subtrees that its parent has under the same name only the differences are read."""
        old = next((self._objects.commit(oid).tree for oid in node.parents if oid in self.reached), None)
        stack: list[tuple[Oid, Oid | None]] = [(node.tree, old)]
        while stack:
            tree, old = stack.pop()
            if tree in self.reached:
                continue
            self.reached.add(tree)
            olds = self._trees.entries(old) if old is not None else frozenset()
            changed = self._trees.entries(tree) - olds
            folders = subtrees(olds) if any(mode == TREE for mode, _, _ in changed) else {}
            for mode, name, oid in changed:
                if mode == TREE:
                    stack.append((oid, folders.get(name)))
                elif mode != GITLINK and self._with_blobs:
                    self.reached.add(oid)

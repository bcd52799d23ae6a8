"""The paths that one commit changed, as `git log` decides it: from trees, folders included, renames not followed."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from gitserver.fetch.trees import Entries, TreeReader
from gitserver.history.middles import TreeMiddles
from gitserver.objects.parse import TREE, TREE_ENTRIES, CommitNode
from gitserver.objects.store import Objects
from storage.records import Oid

EMPTY_TREE = bytes.fromhex("4b825dc642cb6eb9a060e54bf8d69288fbee4904")
FileState: TypeAlias = tuple[bytes, Oid]  # mode as git compares it, and id
_NOTHING: Entries = frozenset()


class TooManyPaths(Exception):
    """The commit changed more paths than are listed; it has to be compared when somebody asks."""


class PathComparer:
    """Lists the paths that commits changed. A run of neighbouring commits reads each tree about once."""

    def __init__(self, objects: Objects, most: int) -> None:
        """`most` paths of one commit are listed."""
        self._objects = objects
        self._trees = TreeReader(objects)
        self._wide = TreeMiddles(objects)
        self._most = most

    def changed(self, commit: CommitNode) -> list[list[bytes]]:
        """The paths that differ from the first parent (from nothing, for a root commit); for each further parent those of the list
        before that differ from it, too. Raises TooManyPaths, ObjectNotFound.
        """
        parents = [self._objects.commit(parent).tree for parent in commit.parents]
        before: tuple[Oid | None, ...] = tuple(parents) or (None,)
        found: list[list[bytes]] = [[] for _ in before]
        stack: list[tuple[bytes, Oid | None, tuple[Oid | None, ...]]] = [(b"", commit.tree, before)]
        while stack:
            prefix, tree, others = stack.pop()
            states = self._differing(tree, others)
            for name in states.names:
                path = prefix + name
                for paths, other in zip(found, states.others, strict=True):
                    if other.get(name) == states.own.get(name):
                        break
                    paths.append(path)
                if states.leads_on(name):
                    stack.append((path + b"/", _subtree(states.own, name), tuple(_subtree(other, name) for other in states.others)))
            if len(found[0]) + len(stack) > self._most:
                raise TooManyPaths
        return found

    def _differing(self, tree: Oid | None, others: Sequence[Oid | None]) -> "_Differing":
        """The entries of a folder that are not as in the first of `others`."""
        here, there = self._changes(tree, others[0])
        own, first = file_states(here), file_states(there)
        names = [name for name in own.keys() | first.keys() if own.get(name) != first.get(name)]
        wanted = frozenset(names) if len(others) > 1 else frozenset()
        further = [file_states(entry for entry in self._entries(other) if entry[1] in wanted) if names else {} for other in others[1:]]
        return _Differing(names, own, [first, *further])

    def _changes(self, tree: Oid | None, other: Oid | None) -> tuple[Entries, Entries]:
        """What only the one has, and what only the other."""
        if tree is not None and other is not None:
            here, there = self._wide.middles(tree, other)
            own, first = frozenset(TREE_ENTRIES.findall(here)), frozenset(TREE_ENTRIES.findall(there))
        else:
            own, first = self._entries(tree), self._entries(other)
        return own - first, first - own

    def _entries(self, tree: Oid | None) -> Entries:
        return self._trees.entries(tree) if tree is not None else _NOTHING


class _Differing:
    __slots__ = ("names", "others", "own")

    def __init__(self, names: list[bytes], own: dict[bytes, FileState], others: list[dict[bytes, FileState]]) -> None:
        self.names = names
        self.own = own
        self.others = others

    def leads_on(self, name: bytes) -> bool:
        """Whether it is a folder here or in the first parent."""
        return _subtree(self.own, name) is not None or _subtree(self.others[0], name) is not None


def file_states(entries: Iterable[tuple[bytes, bytes, Oid]]) -> dict[bytes, FileState]:
    """By name. An empty folder counts as missing, since git compares what lies in folders."""
    return {name: (_mode(mode), oid) for mode, name, oid in entries if oid != EMPTY_TREE}


def _subtree(states: dict[bytes, FileState], name: bytes) -> Oid | None:
    state = states.get(name)
    return state[1] if state is not None and state[0] == TREE else None


def _mode(mode: bytes) -> bytes:
    """Of a file only whether it is executable counts, whatever old tools wrote."""
    if mode.startswith(b"10") and mode not in (b"100644", b"100755"):
        return b"100755" if int(mode, 8) & 0o100 else b"100644"
    return mode

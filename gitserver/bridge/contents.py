"""Git's side of the LakeFS bridge: commits as files that changed, and LakeFS's commits as commits of git."""

import hashlib
from collections.abc import Iterable, Iterator
from functools import partial

from dulwich.refs import Ref, check_ref_format

from gitserver.bridge.coverage import told_by
from gitserver.bridge.path_count import check_paths
from gitserver.bridge.synthesis import Intake
from gitserver.bridge.tree_diff import Changed, differences
from gitserver.bridge.unprojected import KEY_BYTES, fits
from gitserver.objects.parse import TreeItem
from gitserver.objects.store import Kind, Objects, ObjectStores
from lfs.objects.possession import Possession
from lfs.pointer import MOST_BYTES, Pointer, parse
from storage.errors import ObjectNotFound
from storage.records import BlobRef, Oid, Repo
from storage.versions.git_side import Changes, Foreign, GitCommit, StagedFile

_NEAR = 2000


class GitContents:
    """`most_paths` is how many may change at once."""

    def __init__(self, objects: ObjectStores, possession: Possession, intake: Intake, most_paths: int) -> None:
        self._objects = objects
        self._possession = possession
        self._intake = intake
        self._most_paths = most_paths

    def changes(self, repo: Repo, before: Oid | None, after: Oid | None) -> Changes:
        objects = self._objects.of(repo.id)
        old, new = (objects.commit(oid).tree if oid is not None else None for oid in (before, after))
        check_paths(objects, old, new, self._most_paths)
        changed = list(differences(objects, old, new, KEY_BYTES))
        changed += _unlike(objects, before, new, {one.path for one in changed})
        placed = [(path, item) for path, item in ((one.path, one.new) for one in changed) if item is not None and fits(path, item)]
        removed = [one.path.decode() for one in changed if one.new is None and one.old is not None and fits(one.path, one.old)]
        left_out = sum(one.new is not None for one in changed) - len(placed)
        removed += [one.path.decode() for one in changed if _is_now_out(one)]
        return Changes(tuple(self._placed(repo, objects, placed)), tuple(removed), left_out)

    def commit(self, repo: Repo, oid: Oid) -> GitCommit | None:
        objects = self._objects.of(repo.id)
        objects.refresh()  # what was dropped is not to be found
        try:
            node = objects.commit(oid)
            message = objects.get(oid).data.partition(b"\n\n")[2]
        except ObjectNotFound:
            return None
        return GitCommit(node.tree, message.decode("utf-8", "replace"))

    def ancestors(self, repo: Repo, oid: Oid) -> Iterator[Oid]:
        objects = self._objects.of(repo.id)
        at: Oid | None = oid
        for _ in range(_NEAR):
            if at is None:
                return
            yield at
            parents = objects.commit(at).parents
            at = parents[0] if parents else None

    def take_in(self, repo: Repo, foreign: Foreign) -> Oid:
        return self._intake.take_in(repo, foreign)

    def is_ref_name(self, ref: bytes) -> bool:
        return check_ref_format(Ref(ref))

    def _placed(self, repo: Repo, objects: Objects, files: Iterable[tuple[bytes, TreeItem]]) -> Iterator[StagedFile]:
        found = [(path, item, *_read(objects, item.oid)) for path, item in files]
        held = self._possession.held(repo.id, {pointer.oid for *_, pointer in found if pointer is not None})
        for path, item, blob, pointer in found:
            if pointer is not None and held.get(pointer.oid) == pointer.blob:
                yield StagedFile(path.decode(), pointer.blob, item.mode, item.oid, None)
            else:
                yield StagedFile(path.decode(), blob, item.mode, item.oid, partial(_data, objects, item.oid))


def _unlike(objects: Objects, before: Oid | None, tree: Oid | None, known: set[bytes]) -> Iterator[Changed]:
    """The .gitattributes that LakeFS has otherwise at `before`: with the next push it gets them as git has them."""
    for path in sorted(told_by(objects, before) - known):
        item = _find(objects, tree, path)
        if item is not None:
            yield Changed(path, None, item)


def _find(objects: Objects, tree: Oid | None, path: bytes) -> TreeItem | None:
    item = None
    for name in path.split(b"/"):
        item = next((one for one in objects.tree(tree) if one.name == name), None) if tree is not None else None
        tree = item.oid if item is not None and item.is_tree else None
    return item if item is not None and not item.is_tree else None


def _read(objects: Objects, oid: Oid) -> tuple[BlobRef, Pointer | None]:
    data = _data(objects, oid)
    return BlobRef(hashlib.sha256(data).hexdigest(), len(data)), parse(data) if len(data) <= MOST_BYTES else None


def _data(objects: Objects, oid: Oid) -> bytes:
    raw = objects.get(oid)
    assert raw.kind is Kind.BLOB
    return raw.data


def _is_now_out(one: Changed) -> bool:
    """A file that LakeFS has became what it cannot hold."""
    return one.old is not None and one.new is not None and fits(one.path, one.old) and not fits(one.path, one.new)

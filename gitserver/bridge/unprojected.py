"""What LakeFS cannot hold or must not: it is in git alone. A commit that joins a push with what came in between has it, too."""

from gitserver.bridge.tree_diff import Changed, differences
from gitserver.commit.draft import Draft
from gitserver.objects.parse import TreeItem
from gitserver.objects.store import Objects
from storage.errors import BadPath
from storage.records import Oid

KEY_BYTES = 1024  # of a path in LakeFS
_ACTIONS = b"_lakefs_actions/"  # files there are programs for LakeFS to run


def fits(path: bytes, item: TreeItem) -> bool:
    """Whether LakeFS may and can hold it."""
    if item.is_gitlink or item.is_tree or len(path) > KEY_BYTES or path.startswith(_ACTIONS):
        return False
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def carry_over(draft: Draft, objects: Objects, before: Oid | None, after: Oid) -> None:
    """What changed so between two trees, put into the draft where that has not changed otherwise."""
    for one in differences(objects, before, after, KEY_BYTES):
        if _is_outside(one) and draft.edit.find(one.path) in (one.old, None):
            _apply(draft, one)


def _is_outside(one: Changed) -> bool:
    """Of what became a file that LakeFS can hold LakeFS tells by itself."""
    if one.new is not None:
        return not fits(one.path, one.new)
    return one.old is not None and not fits(one.path, one.old)


def _apply(draft: Draft, one: Changed) -> None:
    if one.old is not None:
        draft.edit.remove(one.path)
    if one.new is None:
        return
    try:
        draft.edit.put(one.path, one.new.oid, one.new.mode)
    except BadPath:
        return  # LakeFS has a file where its folder was

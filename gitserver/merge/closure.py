"""What objects name, and whether that is stored."""

import re
from collections.abc import Iterator, Sequence

from gitserver.objects import Kind, Objects, RawObject
from gitserver.parse import parse_commit_node, parse_tag_target
from storage.errors import ObjectNotFound
from storage.packs import PackFile, PackStore
from storage.records import Oid

# Only trees that passed fsck are stored, so the matches follow each other without gaps.
ENTRIES = re.compile(rb"0*([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL)
TREE, GITLINK = b"40000", b"160000"


class GivenPacks(PackStore):
    """These packs and nothing else, for `Objects` that read from them."""

    def __init__(self, opened: list[PackFile]) -> None:
        self.opened = opened

    def open_listed(self, repo_id: str, held: list[PackFile]) -> list[PackFile]:
        return self.opened


def is_closed(pack: PackFile, stored: Sequence[PackFile]) -> bool:
    """Whether all that the objects of a self-contained pack name is in it or in `stored`."""
    inside = Objects("", GivenPacks([pack]))
    around = [pack, *stored]
    try:
        return all(is_in(around, named) for _, oid in pack.oids() for named in _named_by(inside, oid))
    except ObjectNotFound:
        return False


def is_in(packs: Sequence[PackFile], oid: Oid) -> bool:
    return any(pack.offset(oid) is not None for pack in packs)


def _named_by(objects: Objects, oid: Oid) -> Iterator[Oid]:
    return iter(()) if objects.header(oid)[0] is Kind.BLOB else _names(objects.get(oid))


def _names(raw: RawObject) -> Iterator[Oid]:
    if raw.kind is Kind.COMMIT:
        node = parse_commit_node(b"", raw.data)
        yield node.tree
        yield from node.parents
    elif raw.kind is Kind.TAG:
        yield parse_tag_target(raw.data)[0]
    else:
        yield from (oid for mode, _, oid in ENTRIES.findall(raw.data) if mode != GITLINK)

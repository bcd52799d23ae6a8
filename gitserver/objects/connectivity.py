"""What objects name, and whether that is stored."""

from collections.abc import Iterator, Sequence

from gitserver.objects.parse import CHILDREN, parse_commit_node, parse_tag_target
from gitserver.objects.store import Kind, Objects, RawObject
from storage.errors import ObjectNotFound
from storage.packs import GivenPacks, PackFile
from storage.records import Oid


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
        yield from filter(None, CHILDREN.findall(raw.data))

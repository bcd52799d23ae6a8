"""The v2 command bundle-uri (gitprotocol-v2; technical/bundle-uri): where files lie that a clone may begin with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gitserver.protocol.pktline import FLUSH, pkt
from storage.errors import Invalid


@dataclass(frozen=True, slots=True)
class BundleLink:
    """A bundle of all branches and tags; a later one has a greater `token`."""

    id: str
    url: str
    token: int


def nothing_offered() -> Sequence[BundleLink]:
    return ()


def bundle_list(offers: Sequence[BundleLink], arguments: Iterator[bytes]) -> Iterator[bytes]:
    """An empty list is an answer too: the client clones as ever. Keys are in lower case, as git compares them."""
    for line in arguments:
        raise Invalid(f"bundle-uri: unexpected argument: '{line[:80].decode(errors='replace')}'")
    if offers:
        lines = ["bundle.version=1", "bundle.mode=all", "bundle.heuristic=creationToken"]
        for offer in offers:
            lines += [f"bundle.{offer.id}.uri={offer.url}", f"bundle.{offer.id}.creationtoken={offer.token}"]
        yield b"".join(pkt(line.encode()) for line in lines)
    yield FLUSH

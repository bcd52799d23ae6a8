"""Which addresses the hub itself connects to: strangers name hosts (imports, mirrors, LFS actions), and none may lead into the operator's
network.
"""

import ipaddress
import socket
from typing import TypeAlias

from storage.errors import Forbidden, Unavailable

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_OLD_SITES = ipaddress.ip_network("fec0::/10")


def resolve(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The numeric addresses of `host`, asked for once: connect to these and to no others.

    Raises Forbidden when any of them is not public and only public ones are allowed, Unavailable when there is none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Unavailable(f"The host {host} has no address. Check its name.") from error
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not allow_private and not all(map(is_public, addresses)):
        raise Forbidden(
            f"The host {host} is not on the public internet. The operator can allow such hosts with KOHAKU_HUB_IMPORT_PRIVATE=true."
        )
    return addresses


def is_public(text: str) -> bool:
    """Whether a numeric address, with or without a zone, is one that anybody reaches; an IPv4 address inside of an IPv6 one counts."""
    address = ipaddress.ip_address(text.partition("%")[0])
    inner = _embedded(address)
    if inner is not None:
        return is_public(str(inner))
    is_special = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_link_local
    return address.is_global and not is_special and address not in _OLD_SITES


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None

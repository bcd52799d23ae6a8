"""What a git client says, byte by byte: requests that no real client makes, and answers looked at packet by packet."""

import io
from collections.abc import Iterable
from typing import Any

from gitserver.protocol.pktline import DELIM, FLUSH, Special, pkt, read_pkt

__all__ = ["DELIM", "FLUSH", "command", "lines", "packets", "pkt", "post", "v2"]


def command(name: str, *arguments: str, capabilities: Iterable[str] = ("object-format=sha1",)) -> bytes:
    """A v2 request."""
    head = [f"command={name}", *capabilities]
    body = b"".join(pkt(line.encode() + b"\n") for line in head)
    return body + (DELIM + b"".join(pkt(line.encode() + b"\n") for line in arguments) if arguments else b"") + FLUSH


def packets(data: bytes) -> list[Any]:
    """All of an answer; flush and delim as they are in `Special`."""
    file, found = io.BytesIO(data), list[Any]()
    while (packet := read_pkt(file)) is not None:
        found.append(packet)
    return found


def lines(data: bytes) -> list[bytes]:
    """The packets with data, without their line ends."""
    return [packet.rstrip(b"\n") for packet in packets(data) if not isinstance(packet, Special)]


def post(hub: Any, name: str, body: bytes, *, service: str = "git-upload-pack", version: int = 2, token: str | None = None) -> Any:
    """An Answer (tests.harness.hubs)."""
    headers = {"Content-Type": f"application/x-{service}-request"} | ({"Git-Protocol": f"version={version}"} if version else {})
    return hub.call("POST", f"/{name}.git/{service}", body, token=token, **headers)


def v2(hub: Any, name: str, body: bytes) -> list[bytes]:
    answer = post(hub, name, body)
    assert answer.status == 200, answer
    return lines(answer.body)

"""H19: clients that hold connections and say little."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from hub.serving.connections import Addresses


@pytest.fixture(scope="module")
def quick_hub(tmp_path_factory: pytest.TempPathFactory, new_launcher: Any) -> Iterator[Any]:
    """A hub that loses its patience after a second."""
    limits = {"header_seconds": 1, "idle_seconds": 2, "body_rate_bytes": 1000, "body_rate_seconds": 1}
    launcher = new_launcher(tmp_path_factory.mktemp("slow") / "data", {"KOHAKU_HUB_LIMITS": json.dumps(limits)})
    hub = launcher.start()
    yield hub
    hub.stop()
    launcher.close()


def test_h19_slow_clients_are_let_go(quick_hub: Any) -> None:
    host, port = quick_hub.url.removeprefix("http://").split(":")
    said = {
        "nothing": b"",
        "half a head": b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-",
        "a request and no more": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        "a slow body": b"POST /api/validate-yaml HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n{",
    }
    opened = {name: socket.create_connection((host, int(port)), timeout=10) for name in said}
    for name, connection in opened.items():
        connection.sendall(said[name])
    answers = {name: b"".join(iter(lambda one=connection: one.recv(65536), b"")) for name, connection in opened.items()}  # type: ignore[misc]
    for connection in opened.values():
        connection.close()

    assert {name: answer[:12] for name, answer in answers.items()} == {
        "nothing": b"",
        "half a head": b"HTTP/1.1 408",
        "a request and no more": b"HTTP/1.1 200",
        "a slow body": b"HTTP/1.1 408",
    }
    assert b"came too slowly" in answers["a slow body"]


def test_h19_one_address_has_so_many_connections() -> None:
    addresses = Addresses(2, trust_proxy=False)
    entered = [addresses.enter("192.0.2.1") for _ in range(3)]
    addresses.leave("192.0.2.1")

    assert entered == [True, True, False]
    assert addresses.enter("192.0.2.1")
    assert addresses.enter("192.0.2.2")
    assert all(addresses.enter(near) for near in ("127.0.0.1", "::1", "") for _ in range(5))
    assert all(Addresses(1, trust_proxy=True).enter("192.0.2.1") for _ in range(5))

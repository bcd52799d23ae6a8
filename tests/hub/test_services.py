"""What is made at the first start."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from multidict import CIMultiDict

from hub.public_address import Origin
from hub.services import build, load_secret
from hub.settings import Settings
from storage.errors import Unavailable


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: build(Settings(data=tmp_path / "data")), range(4)))

    assert len(list((tmp_path / "data").glob("secret.key*"))) == 1
    for services in made:
        services.close()


def test_a_damaged_key_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    first = load_secret(path)
    assert load_secret(path) == first
    path.write_bytes(b"")
    with pytest.raises(Unavailable, match="damaged"):
        load_secret(path)


class Request:
    """What Origin looks at."""

    def __init__(self, host: str, **headers: str) -> None:
        self.scheme = "http"
        self.host = host
        self.remote = "192.0.2.1"
        self.headers = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("base", "trust", "request_", "expected"),
    [
        ("", False, Request("hub:1"), "http://hub:1"),
        ("", False, Request("hub:1", X_Forwarded_Proto="https", X_Forwarded_Host="evil"), "http://hub:1"),
        ("", True, Request("hub:1", X_Forwarded_Proto="https", X_Forwarded_Host="pub"), "https://pub"),
        ("https://pub/", True, Request("hub:1", X_Forwarded_Host="evil"), "https://pub"),
        ("", False, Request('x"><script>'), "http://localhost"),
        ("", True, Request("a", X_Forwarded_Proto="javascript"), "http://a"),
    ],
)
def test_public_address(base: str, trust: bool, request_: Request, expected: str) -> None:
    assert Origin(base, trust_proxy=trust).of(request_) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("forwarded", "trust", "expected"),
    [
        ([], True, "192.0.2.1"),
        (["198.51.100.1"], False, "192.0.2.1"),
        (["198.51.100.1"], True, "198.51.100.1"),
        (["203.0.113.9, 198.51.100.1"], True, "198.51.100.1"),
        (["198.51.100.1", "203.0.113.9 , 2001:DB8::1"], True, "2001:db8::1"),
        (["203.0.113.9, [2001:db8::2]"], True, "2001:db8::2"),
        (["198.51.100.1, unknown"], True, "192.0.2.1"),
        ([""], True, "192.0.2.1"),
        (["198.51.100.1," + "x" * 100_000], True, "192.0.2.1"),
    ],
)
def test_the_address_is_what_the_trusted_proxy_added(forwarded: list[str], trust: bool, expected: str) -> None:
    request = Request("hub")
    for value in forwarded:
        request.headers.add("X-Forwarded-For", value)

    assert Origin("", trust_proxy=trust).client_address(request).address == expected  # type: ignore[arg-type]

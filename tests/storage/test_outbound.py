"""Where the hub itself connects to, and what it tells whom there."""

import base64
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from storage.encryption import SecretBox
from storage.errors import Forbidden, HubError, Invalid, NotFound, TooLarge, Unavailable
from storage.limits import Limits
from storage.outbound.address import is_public, resolve
from storage.outbound.client import Outbound, Request, check_status, deadline
from storage.outbound.url import Url, UrlCredentials, parse

LIMITS = Limits(outbound_read_seconds=2, outbound_connect_seconds=2)
LOGIN = UrlCredentials("ann", "a-word-of-hers")


@pytest.mark.parametrize("text", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"])
def test_public_addresses(text: str) -> None:
    assert is_public(text)


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1"),
        *("192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.9", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1", "2001:db8::1", "100::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "64:ff9b::7f00:1"),
        *("2002:7f00:1::1", "2002:a00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe", "::127.0.0.1"),
    ],
)
def test_addresses_that_nobody_may_send_the_hub_to(text: str) -> None:
    assert not is_public(text)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "017700000001", "::1", "0"])
def test_names_of_this_machine_are_refused(host: str) -> None:
    with pytest.raises(Forbidden, match="KOHAKU_HUB_IMPORT_PRIVATE"):
        resolve(host, 80, allow_private=False)


def test_the_operator_can_allow_them() -> None:
    assert resolve("127.0.0.1", 80, allow_private=True) == ["127.0.0.1"]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "ftp://host/x",
            "file:///etc/passwd",
            "git://host/x",
            "ext::sh",
            "ssh://host/x",
            "host/x",
            "",
            "http://",
            "http:///x",
            "https://@/",
        ),
        *(
            "http://host/a b",
            "http://host/\r\nX: y",
            "http://ho\tst/",
            "http://host:99999/",
            "http://host:x/",
            "http://[::1/",
            "http://a@b@/",
        ),
        *("http://host\\@other/", "http://ho%73t/", "http://höst/", "http://h/" + "a" * 2000),
    ],
)
def test_urls_that_are_none(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text)


def test_credentials_leave_the_url() -> None:
    url, login = parse("https://ann%40home:a%3Aword@host.example:8443/x/y.git?service=a")

    assert str(url) == "https://host.example:8443/x/y.git?service=a"
    assert url.shown == "https://host.example:8443/x/y.git"
    assert login == UrlCredentials("ann@home", "a:word")
    assert "word" not in f"{login!r}{login}"


def test_a_refusal_does_not_repeat_credentials() -> None:
    with pytest.raises(Invalid) as caught:
        parse("ftp://ann:a-word-of-hers@host/")
    assert "a-word" not in caught.value.message


class Handler(BaseHTTPRequestHandler):
    server: Any

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers.get("Authorization"), self.headers.get("Host")))
        status, headers, body = self.server.answers[self.path]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for piece in body if isinstance(body, list) else [body]:
            self.wfile.write(piece)
            if isinstance(body, list):
                self.wfile.flush()
                self.server.slowly.wait(0.2)

    do_POST = do_GET


@pytest.fixture
def new_server() -> Iterator[Callable[[], Any]]:
    """Servers on loopback with `answers` by path, which note what they saw."""
    made: list[tuple[Any, threading.Thread]] = []

    def start() -> Any:
        server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.seen, server.answers, server.slowly = [], {}, threading.Event()
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        made.append((server, thread))
        return server

    yield start
    for server, thread in made:
        server.slowly.set()
        server.shutdown()
        thread.join()
        server.server_close()


def at(server: Any, target: str, host: str = "source.example") -> Url:
    return Url("http", host, server.server_address[1], target)


def find(host: str, port: int) -> list[str]:
    """A DNS in which two public names lead to this machine; all else is judged as ever."""
    return ["127.0.0.1"] if host in ("source.example", "other.example") else resolve(host, port, allow_private=False)


def get(
    url: Url, login: UrlCredentials | None = None, most: int = 1000, method: str = "GET", check: Callable[[], None] = lambda: None
) -> bytes:
    with Outbound(LIMITS, find).send(Request(method, url, {}, login=login), most, check) as reply:
        check_status(reply, "The source")
        return reply.whole()


def test_the_host_keeps_its_name(new_server: Callable[[], Any]) -> None:
    server = new_server()
    server.answers["/x"] = (200, {"Content-Length": "2"}, b"ok")

    assert get(at(server, "/x"), LOGIN) == b"ok"
    assert server.seen == [("/x", LOGIN.header, f"source.example:{server.server_address[1]}")]
    assert base64.b64decode(LOGIN.header.split()[1]) == b"ann:a-word-of-hers"


def test_redirects_into_the_private_network_are_refused(new_server: Callable[[], Any]) -> None:
    server, inner = new_server(), new_server()
    for number, host in enumerate(("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433")):
        server.answers[f"/{number}"] = (302, {"Location": f"http://{host}:{inner.server_address[1]}/x"}, b"")
        with pytest.raises(Forbidden):
            get(at(server, f"/{number}"), LOGIN)
    server.answers["/file"] = (302, {"Location": "file:///etc/passwd"}, b"")
    with pytest.raises(Invalid):
        get(at(server, "/file"))

    assert inner.seen == []


def test_credentials_stay_with_their_origin(new_server: Callable[[], Any]) -> None:
    server, other = new_server(), new_server()
    server.answers["/here"] = (301, {"Location": "/there"}, b"")
    server.answers["/there"] = (302, {"Location": str(at(other, "/x", "other.example"))}, b"")
    other.answers["/x"] = (200, {"Content-Length": "2"}, b"ok")

    assert get(at(server, "/here"), LOGIN) == b"ok"
    assert [login for _, login, _ in server.seen] == [LOGIN.header] * 2
    assert [login for _, login, _ in other.seen] == [None]


def test_redirects_have_an_end_and_posts_have_none(new_server: Callable[[], Any]) -> None:
    server = new_server()
    server.answers["/x"] = (302, {"Location": "/x"}, b"")
    with pytest.raises(Invalid, match="too many"):
        get(at(server, "/x"))
    assert len(server.seen) == LIMITS.outbound_redirects + 1
    with pytest.raises(Invalid, match="redirects a POST"):
        get(at(server, "/x"), method="POST")


@pytest.mark.parametrize(
    ("status", "error"), [(401, Forbidden), (403, Forbidden), (404, NotFound), (429, Unavailable), (503, Unavailable), (418, Invalid)]
)
def test_what_a_status_means(new_server: Callable[[], Any], status: int, error: type[HubError]) -> None:
    server = new_server()
    server.answers["/x"] = (status, {"Content-Length": "0"}, b"")
    with pytest.raises(error) as caught:
        get(at(server, "/x"))
    assert type(caught.value) is error


def test_answers_have_limits(new_server: Callable[[], Any]) -> None:
    server = new_server()
    server.answers["/long"] = (200, {"Content-Length": "1001"}, b"x" * 1001)
    server.answers["/short"] = (200, {"Content-Length": "10"}, b"x")
    server.answers["/slow"] = (200, {"Content-Length": "1000"}, [b"x"] * 1000)
    with pytest.raises(TooLarge):
        get(at(server, "/long"))
    with pytest.raises(Unavailable, match="broke off"):
        get(at(server, "/short"))
    with pytest.raises(Unavailable, match="longer than 1 seconds"):
        get(at(server, "/slow"), check=deadline(1, lambda: None))


def test_a_host_that_is_down_is_named(new_server: Callable[[], Any]) -> None:
    with pytest.raises(Unavailable, match=r"http://source\.example:1/x cannot be reached"):
        get(Url("http", "source.example", 1, "/x?signature=secret"))


def test_what_is_sealed_opens_for_its_row_and_secret_alone() -> None:
    seal = SecretBox(b"s" * 32)
    sealed = seal.close("ann:a-word-of-hers", "row1")

    assert seal.open(sealed, "row1") == "ann:a-word-of-hers"
    assert "a-word" not in sealed
    assert sealed != seal.close("ann:a-word-of-hers", "row1")
    for other, owner in ((seal, "row2"), (SecretBox(b"t" * 32), "row1")):
        with pytest.raises(Unavailable, match="Give them again"):
            other.open(sealed, owner)
    with pytest.raises(Unavailable):
        seal.open(sealed[:-8] + "AAAAAAA=", "row1")


def test_judged_and_connected_are_one(new_server: Callable[[], Any]) -> None:
    """A name whose address changes between the look and the connection leads to what was judged: it is asked for once."""
    server = new_server()
    server.answers["/x"] = (200, {"Content-Length": "2"}, b"ok")
    asked: list[str] = []

    def once(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with Outbound(LIMITS, once).send(Request("GET", at(server, "/x", "no-such-host.invalid"), {}), 1000, lambda: None) as reply:
        assert reply.whole() == b"ok"
    assert asked == ["no-such-host.invalid"]

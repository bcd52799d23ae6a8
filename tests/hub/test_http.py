"""How HTTP is spoken on every route: HEAD, slashes, caches, bodies that are announced too large."""

import http.client
import socket
import subprocess
import time
from typing import Any

import pytest

from hub.app import make_app

GIB = 1 << 30


def open_socket(hub: Any) -> socket.socket:
    host, port = hub.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def head(method: str, path: str, token: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *([f"Authorization: Bearer {token}"] if token else []), *headers, "", ""]
    return "\r\n".join(lines).encode()


def test_h1_every_get_row_answers_head(services: Any) -> None:
    methods: dict[str, set[str]] = {}
    for route in make_app(services).router.routes():
        assert route.resource is not None
        methods.setdefault(route.resource.canonical, set()).add(route.method)

    assert [path for path, have in methods.items() if "GET" in have and not have & {"HEAD", "*"}] == []


def test_h1_head_is_get_without_a_body(hub: Any) -> None:
    """On one connection: a body that came all the same would be taken for the next answer."""
    name = hub.repo()
    paths = [
        *("/healthz", "/", "/api/version", "/api/models", f"/api/models/{name}", f"/api/models/{name}/refs", "/api/models/alice/missing"),
        *(f"/{name}.git/info/refs?service=git-upload-pack", f"/{name}.git/info/refs?service=none"),
    ]
    connection = http.client.HTTPConnection(hub.url.removeprefix("http://"), timeout=30)
    seen = []
    for path in paths:
        for method in ("HEAD", "GET"):
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            shown = {key: value for key, value in answer.getheaders() if key not in ("Date", "X-Request-Id", "Transfer-Encoding")}
            seen.append((answer.status, shown, len(body)))
    connection.close()

    assert [(status, shown) for status, shown, _ in seen[::2]] == [(status, shown) for status, shown, _ in seen[1::2]]
    assert {length for _, _, length in seen[::2]} == {0}
    assert 0 not in {length for _, _, length in seen[1::2]}


def test_h3_empty_segments_of_paths_are_dropped(hub: Any) -> None:
    name = hub.repo()
    listed = subprocess.run(
        ["git", "ls-remote", hub.git_url(name).replace(f"/{name}", f"//{name}")], capture_output=True, text=True, timeout=60, check=False
    )

    assert (listed.returncode, listed.stderr) == (0, "")
    for path in (f"//api//models/{name}", f"/api/models///{name}//refs", "//healthz"):
        assert hub.call("GET", path).status == 200


def test_h5_go_get_finds_the_root_of_a_repository(hub: Any) -> None:
    name, host = hub.repo(), hub.url.removeprefix("http://")
    pages = [hub.call("GET", f"/{path}?go-get=1", token="") for path in (name, f"{name}/sub/folder", f"datasets/{name}/sub")]

    tags = [f'<meta name="go-import" content="{host}/{root} git {hub.url}/{root}.git">' for root in (name, name, f"datasets/{name}")]
    assert [(page.status, tag in page.body.decode()) for page, tag in zip(pages, tags, strict=True)] == [(200, True)] * 3
    assert hub.call("GET", f"/{name}?go-get=0", token="").status == 404
    assert hub.call("GET", "/api/models?go-get=1", token="").body.startswith(b"[")


def test_h13_private_answers_are_kept_by_nobody(hub: Any) -> None:
    name = hub.repo(private=True)
    batch = {"operation": "download", "objects": []}
    answers = [
        *(hub.call("GET", path) for path in (f"/api/models/{name}", "/api/models", "/api/whoami-v2", "/api/models/alice/missing")),
        hub.call("POST", f"/{name}.git/info/lfs/objects/batch", batch),
        hub.call("POST", f"/{name}.git/info/lfs/objects/batch", batch, token=""),
    ]
    created = hub.call("POST", f"/api/models/{name}/branch/main", {})
    commit = b'{"key": "header", "value": {"summary": "x"}}\n{"key": "file", "value": {"path": "a.txt", "content": "YQ=="}}\n'
    assert (created.status, hub.call("POST", f"/api/models/{name}/commit/main", commit).status) in ((200, 200), (404, 200), (409, 200))
    file = hub.call("GET", f"/{name}/resolve/main/a.txt")
    again = hub.call("GET", f"/{name}/resolve/main/a.txt", If_None_Match=file.headers["ETag"])

    assert {answer.headers["Cache-Control"] for answer in answers} == {"private, no-store"}
    assert file.headers["Cache-Control"].startswith("private, no-cache")
    assert (again.status, again.headers["Cache-Control"]) == (304, file.headers["Cache-Control"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/repos/create"),
        ("PUT", "/api/models/{name}/settings"),
        ("POST", "/api/models/{name}/commit/main"),
        ("POST", "/api/models/{name}/preupload/main"),
        ("POST", "/api/models/{name}/paths-info/main"),
        ("GET", "/api/models/{name}"),
        ("POST", "/api/auth/login"),
        ("POST", "/{name}.git/git-upload-pack"),
        ("POST", "/{name}.git/git-receive-pack"),
        ("POST", "/{name}.git/info/lfs/objects/batch"),
        ("POST", "/cas/x/v1/shards"),
    ],
)
def test_h10_a_body_that_is_announced_too_large_is_refused_at_once(hub: Any, method: str, path: str) -> None:
    with open_socket(hub) as connection:
        started = time.monotonic()
        connection.sendall(head(method, path.format(name=hub.repo()), hub.token, f"Content-Length: {9 * GIB}", "Expect: 100-continue"))
        answer = connection.recv(65536)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"\r\nConnection: close\r\n" in answer
    assert time.monotonic() - started < 1.5


def test_h10_what_is_sent_all_the_same_does_not_cost_the_answer(hub: Any) -> None:
    """The client of the standard library sends everything before it looks for an answer."""
    answer = hub.call("POST", "/api/repos/move", b" " * (3 << 20))

    assert answer.status == 413
    assert "3145728 bytes" in answer.json()["error"]


def test_h10_a_client_that_waits_is_asked_for_its_body_after_it_was_let_in(hub: Any) -> None:
    body = b'{"content": "---\\nlicense: mit\\n---\\n"}'
    announced = (f"Content-Length: {len(body)}", "Content-Type: application/json", "Expect: 100-continue")
    with open_socket(hub) as connection:
        connection.sendall(head("POST", "/api/validate-yaml", hub.token, *announced))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
    with open_socket(hub) as connection:
        connection.sendall(head("POST", "/api/repos/create", "", *announced))
        assert connection.recv(1000).startswith(b"HTTP/1.1 401 ")

"""The shipped nginx configuration: raw paths, headers, and bodies that stream both ways."""

import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.deployment.stack import SHIPPED
from tests.servers.nginx import NginxServer

MIB = 1 << 20


def ask(url: str, request: str) -> tuple[str, dict[str, Any]]:
    """`request` as it is, on a connection of its own: the status line, and the JSON of the answer."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(request.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0].decode(), json.loads(body) if body.startswith(b"{") else {}


def echo(url: str, path: str = "", *headers: str) -> dict[str, Any]:
    lines = [f"GET /api/probe/echo/{path} HTTP/1.1", "Host: hub.example:1234", "Connection: close", *headers, "", ""]
    return ask(url, "\r\n".join(lines))[1]


@pytest.mark.parametrize(
    "path", ["a%2Fb", "a//b", "//", "100%25.txt", "%C3%A9", "a+b%2B", "a/./b", "%2e%2e%2fx", "x?q=%2F&r=//", "refs%2Fpr%2F1"]
)
def test_raw_paths_are_kept(hub: Any, path: str) -> None:
    assert echo(hub.url, path)["path"] == f"/api/probe/echo/{path}"


def test_h3_empty_segments_of_paths_are_dropped_behind_nginx_too(hub: Any) -> None:
    name = hub.repo()

    assert hub.call("GET", f"//{name}.git/info/refs?service=git-upload-pack").status == 200
    assert hub.call("GET", f"//api/models//{name}").status == 200


def test_a_branch_with_a_slash(hub: Any) -> None:
    name = hub.repo()
    assert hub.call("POST", f"/api/models/{name}/branch/feature%2Fx", {}).status == 200
    refs = hub.call("GET", f"/api/models/{name}/refs").json()

    assert [branch["name"] for branch in refs["branches"]] == ["feature/x", "main"]
    assert hub.call("GET", f"/api/models/{name}/revision/feature%2Fx").status == 200


def test_headers_of_the_client_and_of_nginx(hub: Any) -> None:
    forged = ("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example", "Git-Protocol: version=2")
    seen = echo(hub.url, "", *forged)

    assert seen["address"] == "127.0.0.1"
    assert seen["url"] == "http://hub.example:1234"
    assert seen["git_protocol"] == "version=2"
    assert seen["trusts_proxy"] is True
    assert "Server: nginx\r" in raw_head(hub.url)


def raw_head(url: str) -> str:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def test_a_proxy_in_front_that_is_named_is_believed_and_only_in_what_it_added(make_nginx: Callable[..., NginxServer]) -> None:
    text = SHIPPED.replace("# 172.18.0.1/32 1;", "127.0.0.1/32 1;")
    url = make_nginx(text).url
    front = ("X-Forwarded-For: 192.0.2.66, 198.51.100.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: hub.example.org")

    assert {name: echo(url, "", *front)[name] for name in ("address", "url")} == {
        "address": "198.51.100.7",
        "url": "https://hub.example.org",
    }
    assert echo(url, "", "X-Forwarded-For: nonsense, also nonsense")["address"] == "127.0.0.1"
    assert echo(url)["url"] == "http://hub.example:1234"


def test_a_hub_without_a_trusted_proxy_believes_nobody(launcher: Any) -> None:
    running = launcher.start()
    seen = echo(running.url, "", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.example")
    running.stop()

    assert (seen["address"], seen["url"]) == ("127.0.0.1", "http://hub.example:1234")


def test_guesses_are_counted_by_the_client_and_not_by_nginx(hub: Any, gunicorn_hub: Any) -> None:
    """Past nginx, as nginx itself would say it: one client is shut out, another is not."""
    limit = 100
    for number in range(limit):
        assert gunicorn_hub.call("GET", "/api/whoami-v2", token=f"hf_{number}", X_Forwarded_For="192.0.2.1, 198.51.100.1").status == 401
    guess = gunicorn_hub.call("GET", "/api/whoami-v2", token="hf_more", X_Forwarded_For="192.0.2.2, 198.51.100.1")
    other = gunicorn_hub.call("GET", "/api/whoami-v2", token="hf_more2", X_Forwarded_For="198.51.100.1, 198.51.100.2")

    assert (guess.status, other.status) == (429, 401)
    assert hub.call("GET", "/api/whoami-v2").status == 200


def test_git_and_lfs_and_hugging_face(hub: Any, machine: Any, nginx: NginxServer) -> None:
    name = hub.repo(private=True)
    work = machine.home / "work"
    machine.run("git", "clone", "-q", hub.git_url(name), str(work))
    machine.git(work, "lfs", "track", "*.bin")
    wanted = {"plain": os.urandom(8 * MIB), "git é.bin": os.urandom(20 * MIB), "sub/hf.bin": os.urandom(19 * MIB)}
    (work / "plain").write_bytes(wanted["plain"])
    (work / "git é.bin").write_bytes(wanted["git é.bin"])
    machine.git(work, "add", "-A")
    machine.git(work, "commit", "-q", "-m", "Large")
    machine.git(work, "push", "-q", "origin", "HEAD")
    source = machine.home / "hf.bin"
    source.write_bytes(wanted["sub/hf.bin"])
    machine.hf("upload", name, str(source), "sub/hf.bin")

    machine.check_sound(machine.clone(name, "clone"), wanted, {"git é.bin", "sub/hf.bin"})
    target = machine.home / "target"
    machine.hf("download", name, "--local-dir", str(target))
    assert {path: (target / path).read_bytes() for path in wanted} == wanted
    trace = machine.run("git", "-c", "protocol.version=2", "ls-remote", hub.git_url(name), may_fail=True)
    assert "refs/heads/main" in trace
    log = (nginx.folder / "log").read_text("utf-8")
    assert "info/lfs/objects/batch" in log
    assert "?" not in "".join(line for line in log.splitlines() if "HTTP" not in line and "/api/lfs/" in line)  # no signature


def test_git_speaks_protocol_v2(hub: Any, machine: Any) -> None:
    name = hub.repo()
    machine.environment["GIT_TRACE_PACKET"] = "1"

    assert "version 2" in machine.run("git", "-c", "protocol.version=2", "ls-remote", hub.git_url(name), may_fail=True)


def test_one_address_cannot_hold_every_connection(make_nginx: Callable[..., NginxServer]) -> None:
    url = make_nginx(SHIPPED.replace("limit_conn clients 256;", "limit_conn clients 1;")).url
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as busy:
        busy.sendall(b"GET /api/probe/stream HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in busy.recv(1024)
        status, _ = ask(url, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert status.split()[1] == "429"


def test_a_refused_body_does_not_cost_the_connection(hub: Any) -> None:
    """Clients send the head, then the body, and use the connection again: it must still be there."""
    host, port = hub.url.removeprefix("http://").split(":")
    head = b"POST /api/repos/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20000\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as connection, connection.makefile("rb") as answers:
        for _ in range(5):
            connection.sendall(head)
            time.sleep(0.2)
            connection.sendall(b" " * 20000)
            status = answers.readline()
            assert status.split()[1:2] == [b"401"], status
            length = 0
            while line := answers.readline().strip():
                name, _, value = line.lower().partition(b":")
                length = int(value) if name == b"content-length" else length
            answers.read(length)

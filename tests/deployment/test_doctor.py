"""The doctor on a good deployment, and on one for each thing that can be wrong."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hub.deployment.from_settings import lakefs_version
from tests.deployment.stack import SHIPPED
from tests.harness.hubs import VERB, hub_forks
from tests.servers.nginx import NginxServer
from tests.servers.postgres import free_port
from tests.servers.s3 import S3Server

Make = Callable[..., NginxServer]


def doctor(url: str, **settings: str) -> tuple[int, str]:
    """The exit status and what it printed; settings as they are in the hub's own environment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("KOHAKU_HUB_", "HF_"))}
    environment |= {name if name.startswith("HF_") else f"KOHAKU_HUB_{name}": value for name, value in settings.items()}
    arguments = ["doctor", *([url] if url else [])]
    done = hub_forks().run(VERB.forked, arguments, environment=environment, folder=Path("/"), timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def wrong(printed: str) -> list[str]:
    """What is wrong, by the names of the lines."""
    return [line.removeprefix("WRONG ").partition(":")[0] for line in printed.splitlines() if line.startswith("WRONG ")]


def test_a_good_deployment(hub: Any) -> None:
    status, printed = doctor(hub.url)

    assert (status, wrong(printed)) == (0, []), printed
    assert printed.splitlines()[-1].endswith("things are in order.")


def test_the_hub_alone_is_good_too(launcher: Any) -> None:
    running = launcher.start()
    status, printed = doctor(running.url, DATA=str(launcher.data))
    running.stop()

    assert (status, wrong(printed)) == (0, []), printed
    assert f"ok    the data directory {launcher.data} can be written" in printed


BROKEN = {
    "no Git-Protocol": ("Git-Protocol $http_git_protocol;", 'Git-Protocol "";', "git protocol v2", "proxy_set_header Git-Protocol"),
    "decoded paths": ("proxy_pass http://hub;", "proxy_pass http://hub/;", "paths arrive as they are sent", "proxy_pass without a path"),
    "a body limit": ("client_max_body_size 0;", "client_max_body_size 50m;", "bodies may be large", "client_max_body_size 0"),
    "collected uploads": ("proxy_request_buffering off;", "proxy_request_buffering on;", "uploads stream", "proxy_request_buffering off"),
    "collected answers": ("proxy_buffering off;", "proxy_buffering on;", "answers stream", "proxy_buffering off"),
    "a path that is not proxied": (
        "    location / {",
        "    location /org/ { default_type text/html; return 200 '<html></html>'; }\n    location / {",
        "the hub answers the paths of every client",
        "proxy every path",
    ),
    "nothing is proxied": (
        "    location / {",
        "    location /api/ { default_type text/html; return 200 '<html></html>'; }\n    location / {",
        "a KohakuHub answers there",
        "proxy every path",
    ),
    "no X-Forwarded-For": (
        "X-Forwarded-For $client;",
        'X-Forwarded-For "";',
        "the hub knows who asks",
        "let the proxy set X-Forwarded-For",
    ),
    "another host": (
        "X-Forwarded-Host $client_host;",
        "X-Forwarded-Host other.example;",
        "the hub knows its own address",
        "KOHAKU_HUB_BASE_URL=",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_proxy_that_is_wrong(make_nginx: Make, case: str) -> None:
    old, new, line, fix = BROKEN[case]
    assert SHIPPED.count(old) == 1
    status, printed = doctor(make_nginx(SHIPPED.replace(old, new)).url)

    assert (status, wrong(printed)) == (1, [line]), printed
    assert fix in printed.partition(f"WRONG {line}")[2].splitlines()[1]


def test_the_size_that_a_proxy_takes_is_told(make_nginx: Make) -> None:
    url = make_nginx(SHIPPED.replace("client_max_body_size 0;", "client_max_body_size 50m;")).url

    assert "refuses bodies over 100 MiB, or smaller ones already" in doctor(url)[1]


def test_a_hub_that_is_down_behind_its_proxy(make_nginx: Make) -> None:
    status, printed = doctor(make_nginx(upstream=f"http://127.0.0.1:{free_port()}").url)

    assert status == 1
    assert "502: it does not reach the hub" in printed
    assert "docker compose logs hub-api" in printed


def test_nobody_at_the_address() -> None:
    status, printed = doctor(f"http://127.0.0.1:{free_port()}", HF_ENDPOINT="http://localhost:48888")

    assert status == 1
    assert wrong(printed) == ["clients use the public port, not 48888", wrong(printed)[1]]
    assert "export HF_ENDPOINT=http://127.0.0.1:28080" in printed
    assert "nothing listens on port" in printed
    assert doctor("http://no-such-host.invalid")[1].count("there is no host") == 1
    assert "is no address of a hub" in doctor("localhost:28080")[1]


def test_a_hub_that_does_not_believe_its_proxy_or_has_another_address(
    by_gunicorn: Callable[..., Any], make_nginx: Make, launcher: Any
) -> None:
    port = free_port()
    running = by_gunicorn(launcher, TRUST_PROXY="false", PORT=str(port), BASE_URL=f"http://127.0.0.1:{port}")
    status, printed = doctor(make_nginx(upstream=running.url).url)

    assert (status, wrong(printed)) == (1, ["the hub knows its own address", "the hub knows who asks"]), printed
    assert f"sends clients to {running.url}:" in printed
    assert "KOHAKU_HUB_TRUST_PROXY=true" in printed


def test_secrets_and_engines(tmp_path: Any) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    settings = {
        "DATABASE_URL": f"postgresql://hub@{nowhere}/hub",
        "S3_ENDPOINT": f"http://{nowhere}",
        "S3_PUBLIC_ENDPOINT": f"http://{nowhere}",
        "S3_ACCESS_KEY": "somebody",
        "S3_SECRET_KEY": "0123456789abcdefghij",
        "LAKEFS_ENDPOINT": f"http://{nowhere}",
        "LAKEFS_ACCESS_KEY": "somebody",
        "LAKEFS_SECRET_KEY": "0123456789abcdefghij",
        "DATA": str(tmp_path),
    }
    printed = doctor(f"http://{nowhere}", **settings)[1]
    lines = wrong(printed)

    assert lines[1:] == [
        "PostgreSQL answers",
        "S3 keeps and returns objects",
        "the clock of S3 agrees with this one",
        "S3 answers at its public address",
        "S3 takes signed uploads at its public address",
        "LakeFS answers",
        "machines share a session secret",
    ], printed
    printed = doctor(f"http://{nowhere}", S3_ENDPOINT=f"http://{nowhere}", S3_ACCESS_KEY="minioadmin", S3_SECRET_KEY="minioadmin")[1]
    assert {"KOHAKU_HUB_S3_ACCESS_KEY", "KOHAKU_HUB_S3_SECRET_KEY"} < set(wrong(printed))


def test_a_proxy_of_s3_that_spoils_signed_uploads(hub: Any, s3_server: S3Server, tmp_path: Any) -> None:
    names = {name.removeprefix("KOHAKU_HUB_"): value for name, value in s3_server.environment(s3_server.make_bucket()).items()}

    def about_s3(public: str, **more: str) -> list[str]:
        printed = doctor(hub.url, DATA=str(tmp_path), S3_PUBLIC_ENDPOINT=public, **names | more)[1]
        return [line for line in wrong(printed) if "S3" in line]

    text = "server { listen 127.0.0.1:@PORT@; client_max_body_size 0; location / { proxy_pass SERVER; HOST } }"
    found: dict[str, tuple[list[str], list[str]]] = {}
    for line in ("proxy_set_header Host $http_host;", "proxy_set_header Host s3.internal;"):
        proxy = NginxServer(tmp_path / f"nginx{len(found)}", text, {"SERVER": s3_server.endpoint, "HOST": line}, workers=1)
        proxy.start()
        found[line] = about_s3(proxy.url), about_s3(proxy.url, S3_PROXY="true")
        proxy.stop()

    assert list(found.values()) == [([], []), (["S3 takes signed uploads at its public address"], [])]


class FakeLakeFS(BaseHTTPRequestHandler):
    """Says a version and takes one key."""

    version = ""

    def do_GET(self) -> None:
        is_open = self.path == "/_health" or self.headers["Authorization"] == "Basic a2V5OjAxMjM0NTY3ODlhYmNkZWZnaGlq"
        body = json.dumps({"version_config": {"version": self.version}}).encode()
        self.send_response(200 if is_open else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def fake_lakefs() -> Iterator[str]:
    FakeLakeFS.version = "1.87.0"
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeLakeFS)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(30)


def test_a_lakefs_that_is_too_new_or_has_other_keys(hub: Any, fake_lakefs: str) -> None:
    keys = {
        f"{engine}_{key}": value
        for engine in ("S3", "LAKEFS")
        for key, value in (("ACCESS_KEY", "key"), ("SECRET_KEY", "0123456789abcdefghij"))
    }
    settings = {"LAKEFS_ENDPOINT": fake_lakefs, "S3_ENDPOINT": f"http://127.0.0.1:{free_port()}", **keys}

    def about_lakefs(**more: str) -> list[str]:
        return [line for line in wrong(doctor(hub.url, **settings | more)[1]) if "LakeFS" in line]

    assert about_lakefs() == ["the version of LakeFS is one that is supported (1.80 to 1.86)"]
    assert about_lakefs(LAKEFS_ACCESS_KEY="other") == ["LakeFS lets the hub in"]


@pytest.mark.parametrize(
    ("version", "is_good"), [("1.84.0", True), ("v1.86.9", True), ("1.87.0", False), ("1.100.0", False), ("2.1.0", False), ("dev", False)]
)
def test_versions_of_lakefs(version: str, is_good: bool) -> None:
    assert (lakefs_version(json.dumps({"version_config": {"version": version}}).encode()).trouble == "") == is_good
    assert lakefs_version(b"<html>").trouble

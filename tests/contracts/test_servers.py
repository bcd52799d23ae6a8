"""The servers that the tests start are the real ones, and can be had again after a kill."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.servers.lakefs import LakeFS, LakeFSServer
from tests.servers.nginx import NginxServer
from tests.servers.postgres import Postgres
from tests.servers.s3 import S3Server


@pytest.fixture(params=["local", "cluster"])
def server(request: pytest.FixtureRequest, tmp_path: Path, lakefs_program: None) -> Iterator[LakeFSServer]:
    """In both shapes; not the one of the whole run, since this one is killed."""
    if request.param == "local":
        made = LakeFSServer.local(tmp_path / "lakefs")
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        s3_server: S3Server = request.getfixturevalue("s3_server")
        made = LakeFSServer.cluster(tmp_path / "lakefs", postgres.create(), s3_server)
    made.start()
    yield made
    made.stop()


def test_lakefs_keeps_what_it_was_told_over_a_kill(server: LakeFSServer, request: pytest.FixtureRequest) -> None:
    local = "local" in request.node.name
    assert server.set_up() == (409 if local else 200)
    assert server.set_up() == 409
    namespace = "local://r1" if local else f"s3://{request.getfixturevalue('s3_server').make_bucket()}/lakefs/r1"
    assert server.call("POST", "/repositories", {"name": "r1-r", "storage_namespace": namespace, "default_branch": "main"})[0] == 201
    head = server.call("GET", "/repositories/r1-r/branches/main")[1]["commit_id"]

    server.kill()
    server.start()

    assert server.call("GET", "/repositories/r1-r/branches/main")[1]["commit_id"] == head


def test_the_shared_lakefs_is_set_up_and_of_the_version_that_we_support(lakefs: LakeFS) -> None:
    status, answer = lakefs.call("GET", "/config/version")

    assert status == 200
    assert answer["version"].startswith(("1.84.", "1.85.", "1.86."))
    assert lakefs.call("GET", "/user")[1]["user"]["id"] == "hub"


def test_a_lakefs_that_does_not_start_shows_its_log(tmp_path: Path, lakefs_program: None) -> None:
    broken = LakeFSServer(tmp_path / "lakefs", {"DATABASE_TYPE": "mem"})
    with pytest.raises(AssertionError, match=r"(?s)did not start.*missing required keys"):
        broken.start()


# nginx as its own back end. Its buffers are full of such a body, so that it needs its folder.
SITE = """
client_max_body_size 0;
server {
    listen 1234;
    location /front { proxy_pass http://127.0.0.1:@PORT@/back; }
    location /back { return 200 "$content_length $request_uri"; }
}
"""


def test_nginx_runs_a_site_from_a_folder_of_its_own(tmp_path: Path, nginx_program: None) -> None:
    server = NginxServer(tmp_path / "nginx", SITE, {"listen 1234": "listen 127.0.0.1:@PORT@"})
    server.start()
    answer = requests.put(f"{server.url}/front", data=bytes(2_000_000), timeout=10)
    server.stop()
    server.start()
    again = requests.get(f"{server.url}/back", timeout=10)
    server.stop()

    assert (answer.status_code, answer.text) == (200, "2000000 /back")
    assert again.status_code == 200
    assert "buffered to a temporary file" in (tmp_path / "nginx" / "error.log").read_text()


def test_a_site_that_nginx_refuses_is_shown(tmp_path: Path, nginx_program: None) -> None:
    with pytest.raises(AssertionError, match="unknown directive"):
        NginxServer(tmp_path / "nginx", "abacus on;").start()

"""The CAS over HTTP: what its routes answer, and which token opens which of them."""

import base64
import json
import socket
import uuid
from typing import Any
from urllib.parse import urlsplit

import pytest

from hub.services import load_secret
from lfs.xet.hashes import chunk_hash, to_text
from lfs.xet.tokens import XetTokens
from storage.records import Principal, Repo, RepoKind, RepoName, Scope
from tests.lfs.cas import Cas, cas_for, events, has
from tests.lfs.xetmaker import LZ4, Made, eligible, parts, shard, told

ABSENT = "ab" * 32
REVISION = {"read": "None", "write": "main"}


def fresh(count: int = 3) -> Made:
    """A xorb that no other test has."""
    return Made(parts(uuid.uuid4().int, count), LZ4)


def bobs_repo(hub: Any) -> str:
    made = hub.call("POST", "/api/repos/create", {"type": "model", "name": "t" + uuid.uuid4().hex[:12]}, token=hub.token2)
    assert made.status == 200
    return str(made.json()["url"].removeprefix(hub.url + "/"))


@pytest.mark.parametrize("version", [1, 2])
def test_up_and_into_the_repository(hub: Any, version: int) -> None:
    name, made = hub.repo(private=True), fresh()
    cas = cas_for(hub, name)
    assert cas.xorb(made).json() == {"was_inserted": True}
    assert cas.xorb(made).json() == {"was_inserted": False}
    answer = cas.shard(shard(told(made.of(0, 3))), version)

    assert answer.status == 200
    assert events(answer)[-1] == ({"result": 1} if version == 1 else {"type": "result", "result": 1})
    assert has(hub, name, b"".join(made.parts))


def test_events_of_a_streamed_shard(hub: Any) -> None:
    cas, made = cas_for(hub, hub.repo()), fresh()
    cas.xorb(made)
    answer = cas.shard(shard(told(made.of(0, 3))), 2)

    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert {event["type"] for event in events(answer)[:-1]} <= {"validating", "committing"}


def test_a_false_sha256_stores_nothing(hub: Any, snapshot: Any) -> None:
    """What is found soon is refused by its status; test_xet_stream.py has what is found later."""
    name, made = hub.repo(), fresh()
    cas = cas_for(hub, name)
    cas.xorb(made)
    before = snapshot()
    body = shard(told(made.of(0, 3), sha256=ABSENT))
    answers = [cas.shard(body, 1), cas.shard(body, 2)]

    assert [answer.status for answer in answers] == [400, 400]
    assert all("Send the file again" in answer.headers["X-Error-Message"] for answer in answers)
    assert snapshot() == before


@pytest.mark.parametrize("version", [1, 2])
def test_a_shard_that_is_none_is_refused_before_the_stream(hub: Any, version: int) -> None:
    cas = cas_for(hub, hub.repo())
    for body in (b"", b"x" * 100, shard()[:-1], shard(version=3), shard(told(fresh().of(0, 3)))):
        answer = cas.shard(body, version)
        assert answer.status == 400
        assert len(answer.json()["error"]) > 20
        assert answer.headers["X-Error-Message"]


def test_a_chunk_query(hub: Any) -> None:
    public, private, made = hub.repo(), hub.repo(private=True), Made((eligible(uuid.uuid4().int), *fresh().parts))
    path = f"/v1/chunks/default-merkledb/{to_text(chunk_hash(made.parts[0]))}"
    bob = cas_for(hub, bobs_repo(hub), "read", hub.token2)
    ann = cas_for(hub, private)
    ann.xorb(made)
    ann.shard(shard(told(made.of(0, 4))))
    hidden, absent = bob.call("GET", path), bob.call("GET", f"/v1/chunks/default-merkledb/{ABSENT}")
    assert (hidden.status, hidden.body) == (404, absent.body)
    cas_for(hub, public).shard(shard(told(made.of(0, 4))))

    assert ann.call("GET", path).status == 200
    assert bob.call("GET", path).body[32:40] == (2).to_bytes(8, "little")
    assert bob.call("GET", "/v1/chunks/default/xyz").status == 400


def test_unknown_routes(hub: Any) -> None:
    cas = cas_for(hub, hub.repo())
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        for path in ("/v1/xorb-grants/default/" + ABSENT, "/v2/reconstructions/" + ABSENT, "/v1/files/" + ABSENT, "/v1/telemetry", "/"):
            answer = cas.call(method, path)
            assert answer.status == 404
            assert method == "HEAD" or "no such endpoint" in answer.json()["error"]
    assert cas.call("HEAD", f"/v1/xorbs/default/{ABSENT}").status == 404
    assert cas.call("POST", f"/v1/xorbs/other/{ABSENT}", b"x").status == 404
    assert hub.call("GET", "/cas").status == 404


@pytest.mark.parametrize("name", ["", "x", ABSENT.upper(), ABSENT + "0", "%00", "..%2f..%2fsecret.key", "%e2%80%8b" * 64])
def test_names_that_are_no_hash(hub: Any, snapshot: Any, name: str) -> None:
    before = snapshot()
    assert cas_for(hub, hub.repo()).call("POST", f"/v1/xorbs/default/{name}", b"x").status in (400, 404)
    assert snapshot() == before


# Tokens


def routes(cas: Cas, made: Made, token: str) -> list[int]:
    """What each route says to a token."""
    asked = cas.call("GET", f"/v1/chunks/default/{ABSENT}", token=token)
    return [
        cas.xorb(made, token=token).status,
        cas.shard(shard(), token=token).status,
        cas.shard(shard(), 2, token=token).status,
        asked.status,
    ]


def signer(hub: Any, cas: Cas, seconds: int) -> XetTokens:
    """One with the hub's own key."""
    return XetTokens(load_secret(hub.data / "secret.key"), cas.path.rpartition("/")[2].partition("-")[0], seconds)


def issue(hub: Any, cas: Cas, user: str, repo_id: str, seconds: int) -> str:
    principal = Principal(content(cas.token)[1], user, "", False, Scope.WRITE, False)
    repo = Repo(repo_id, RepoName(RepoKind.MODEL, user, "r"), False, 1, 0, 0)
    return signer(hub, cas, seconds).issue(principal, repo, may_write=True)[0]


def content(token: str) -> list[Any]:
    body = token.removeprefix("xet_").partition(".")[0]
    parsed: list[Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return parsed


def test_an_expired_token(hub: Any, snapshot: Any) -> None:
    cas, made = cas_for(hub, hub.repo()), fresh()
    repo_id, before = content(cas.token)[0], snapshot()
    assert routes(cas, made, issue(hub, cas, "alice", repo_id, -1)) == [401] * 4
    assert snapshot() == before

    assert routes(cas, made, issue(hub, cas, "alice", repo_id, 60)) == [200, 200, 200, 404]


def test_tampered_tokens(hub: Any) -> None:
    cas, made = cas_for(hub, hub.repo()), fresh()
    body, _, signature = cas.token.removeprefix("xet_").partition(".")
    longer = [*content(cas.token)[:3], content(cas.token)[3] + 9999]
    forged = base64.urlsafe_b64encode(json.dumps(longer).encode()).decode().rstrip("=")
    flipped = signature[:-2] + ("A" if signature[-2] != "A" else "B") + signature[-1]
    for token in (
        f"xet_{forged}.{signature}",
        f"xet_{body}.{flipped}",
        f"xet_{body}.",
        f"xet_{body}",
        "xet_.",
        "xet_\xff.x",
        "x",
        "xet_" + "A" * 7000,
    ):
        assert routes(cas, made, token) == [401] * 4
    nobody = hub.call("POST", f"{cas.path}/v1/shards", b"", token="", Content_Type="application/octet-stream")
    assert nobody.status == 401


def test_the_address_of_another_user(hub: Any) -> None:
    ann, bob = cas_for(hub, hub.repo()), cas_for(hub, bobs_repo(hub), token=hub.token2)
    wrong = Cas(hub, bob.path, ann.token)

    assert ann.path != bob.path
    assert routes(wrong, fresh(), ann.token) == [403] * 4
    assert "address" in wrong.shard(shard()).json()["error"]


def test_a_read_token_on_routes_that_write(hub: Any, snapshot: Any) -> None:
    name, made = hub.repo(), fresh()
    ann, bob = cas_for(hub, name, "read"), cas_for(hub, name, "read", hub.token2)
    before = snapshot()

    assert routes(ann, made, ann.token) == [403, 403, 403, 404]
    assert routes(bob, made, bob.token) == [403, 403, 403, 404]
    assert snapshot() == before


def test_who_gets_a_token(hub: Any) -> None:
    public, private = hub.repo(), hub.repo(private=True)

    def status(name: str, right: str, token: str) -> int:
        return int(hub.call("GET", f"/api/models/{name}/xet-{right}-token/{REVISION[right]}", token=token).status)

    assert [status(name, right, "") for name in (public, private) for right in ("read", "write")] == [401] * 4
    assert status(public, "write", hub.token2) == 403
    assert [status(private, right, hub.token2) for right in ("read", "write")] == [404] * 2
    assert hub.call("GET", f"/api/models/{public}/xet-write-token/nope").status == 404
    assert hub.call("GET", f"/api/models/{public}/xet-write-token/main?create_pr=1").status == 403


def test_a_repository_that_is_deleted_or_hidden_meanwhile(hub: Any, snapshot: Any) -> None:
    gone, hidden, made = hub.repo(), hub.repo(), fresh()
    ann, bob = cas_for(hub, gone), cas_for(hub, hidden, "read", hub.token2)
    before = snapshot()
    hub.call("DELETE", "/api/repos/delete", {"name": gone.split("/")[1], "type": "model"})
    hub.call("PUT", f"/api/models/{hidden}/settings", {"visibility": "private"})

    assert routes(ann, made, ann.token) == [401] * 4
    assert bob.call("GET", f"/v1/chunks/default/{ABSENT}").status == 404
    assert bob.call("GET", f"/v1/chunks/default/{ABSENT}").headers["X-Error-Code"] == "RepoNotFound"
    assert snapshot() == before


def test_a_hub_token_is_none_here_and_a_xet_token_none_there(hub: Any) -> None:
    name = hub.repo(private=True)
    cas = cas_for(hub, name)

    assert routes(cas, fresh(), hub.token) == [401] * 4
    for method, path in (("GET", "/api/whoami-v2"), ("GET", f"/api/models/{name}"), ("POST", f"/api/models/{name}/commit/main")):
        assert hub.call(method, path, token=cas.token).status == 401
    basic = base64.b64encode(f"alice:{cas.token}".encode()).decode()
    assert hub.call("GET", f"/{name}.git/info/refs?service=git-upload-pack", token="", Authorization=f"Basic {basic}").status == 401


def test_a_shard_and_a_xorb_that_never_end(launcher: Any) -> None:
    launcher.users()
    hub = launcher.start(environment={"KOHAKU_HUB_LIMITS": '{"body_seconds": 1}'})
    try:
        cas, place = cas_for(hub, hub.repo()), urlsplit(hub.url)
        for path in ("/v1/shards", "/v2/shards", f"/v1/xorbs/default/{ABSENT}"):
            head = f"POST {cas.path}{path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {cas.token}\r\nContent-Length: 1000\r\n\r\nxx"
            with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
                connection.sendall(head.encode())
                assert connection.recv(4096).startswith(b"HTTP/1.1 400")
        assert not [path for name in ("incoming", "staged") for path in (hub.data / name).rglob("*") if path.is_file()]
    finally:
        assert hub.stop() == 0

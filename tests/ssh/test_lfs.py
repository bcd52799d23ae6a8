"""Large files over SSH: by the hub's HTTP door (git-lfs-authenticate), and by SSH alone (git-lfs-transfer)."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from gitserver.protocol.pktline import DELIM, FLUSH, pkt
from gitserver.ssh.server import web_origin
from storage.records import Scope

HELLO = pkt(b"version=1\n") + pkt(b"locking\n") + FLUSH
OK = pkt(b"status 200\n") + FLUSH


@pytest.mark.parametrize(("way", "shown"), [("always", "git-lfs-transfer"), ("never", "git-lfs-authenticate")])
def test_push_and_clone(ssh_hub: Any, tmp_path: Path, way: str, shown: str) -> None:
    name = ssh_hub.hub.repo(private=True)
    work = ssh_hub.git(tmp_path / "work")
    work.settings.append(f"lfs.sshtransfer={way}")
    work.start()
    work("lfs", "install", "--local")
    work("lfs", "track", "*.bin")
    files = {f"{number}.bin": os.urandom(100_000 * (number + 1)) for number in range(12)} | {"empty.bin": b""}
    for path, data in files.items():
        (work.path / path).write_bytes(data)
    work.commit("large")
    work("remote", "add", "origin", ssh_hub.url(name))
    work("push", "-q", "origin", "main")
    work("push", "-q", "origin", "main:again")
    client = ssh_hub.git(tmp_path / "client")
    client.settings += [f"lfs.sshtransfer={way}", "filter.lfs.smudge=git-lfs smudge -- %f", "filter.lfs.process=git-lfs filter-process"]
    client("clone", "-q", ssh_hub.url(name), "clone")

    assert {path: (client.path / "clone" / path).read_bytes() for path in files} == files
    assert f"SSH alice {shown} /{name}.git upload 0" in ssh_hub.hub.log.read_text()
    assert f"SSH alice {shown} /{name}.git download 0" in ssh_hub.hub.log.read_text()


@pytest.mark.parametrize("way", ["always", "never"])
def test_g8_large_files_over_ssh_make_the_repository(ssh_hub: Any, tmp_path: Path, way: str) -> None:
    name = f"alice/large-{way}"
    work = ssh_hub.git(tmp_path / "work")
    work.settings += [f"lfs.sshtransfer={way}", "lfs.locksverify=true"]
    work.start()
    work("lfs", "install", "--local")
    work("lfs", "track", "*.bin")
    (work.path / "a.bin").write_bytes(b"weights")
    work.commit("large")
    pushed = work.run("push", ssh_hub.url(name), "main")

    assert pushed.returncode == 0, pushed.stderr
    assert "Created the private repository" in pushed.stderr
    assert ssh_hub.hub.call("GET", f"/{name}/resolve/main/a.bin").body == b"weights"


def test_what_authenticate_hands_out(ssh_hub: Any) -> None:
    name, data = ssh_hub.hub.repo(private=True), b"weights"
    made = {way: json.loads(ssh_hub.ssh(f"git-lfs-authenticate {name}.git {way}").stdout) for way in ("download", "upload")}
    batch = {"objects": [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}]}
    asked = {}
    for way, answer in made.items():
        token = answer["header"]["Authorization"].removeprefix("Bearer ")
        for operation in made:
            path = answer["href"].removeprefix(ssh_hub.hub.url) + "/objects/batch"
            kind = "application/vnd.git-lfs+json"
            body = batch | {"operation": operation}
            asked[way, operation] = ssh_hub.hub.call("POST", path, body, token=token, Content_Type=kind, Accept=kind).status

    assert made["upload"]["href"] == f"{ssh_hub.hub.url}/{name}.git/info/lfs"
    assert made["upload"]["expires_in"] == 900
    assert asked == {("download", "download"): 200, ("download", "upload"): 403, ("upload", "download"): 200, ("upload", "upload"): 200}


def test_tokens_go_with_their_key(services: Any) -> None:
    user = services.users.create("ann", "ann@example.org", "long enough")
    key = services.keys.add(user.id, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 42 + "E laptop")
    holder = services.keys.find(key.fingerprint)
    token = services.keys.passing_token(holder, Scope.READ, 900)
    found = services.tokens.find(token.text)
    services.keys.delete(user.id, key.id)

    assert found is not None
    assert found.name == "ann"
    assert services.tokens.find(token.text) is None


@pytest.mark.parametrize(
    ("base_url", "local", "origin"),
    [
        ("https://hub.example.org/", "10.0.0.1", "https://hub.example.org"),
        ("", "10.0.0.1", "http://10.0.0.1:8080"),
        ("", "::ffff:10.0.0.1", "http://10.0.0.1:8080"),
        ("", "fe80::1%eth0", "http://[fe80::1]:8080"),
        ("", "/run/socket", ""),
    ],
)
def test_where_git_lfs_is_sent(base_url: str, local: str, origin: str) -> None:
    """The operator's address, else the one by which the client came."""
    assert web_origin(base_url, 8080)(local) == origin


def spoken(ssh_hub: Any, name: str, operation: str, said: bytes, user: str = "alice") -> bytes:
    """What the hub answers to a whole session, without its greeting."""
    out: bytes = ssh_hub.ssh(f"git-lfs-transfer {name} {operation}", user=user, data=pkt(b"version 1\n") + FLUSH + said).stdout
    assert out.startswith(HELLO + OK), out[:200]
    return out.removeprefix(HELLO + OK)


def put(data: bytes, oid: str = "", size: int | None = None) -> bytes:
    oid = oid or hashlib.sha256(data).hexdigest()
    size = len(data) if size is None else size
    body = b"".join(pkt(data[start : start + 60_000]) for start in range(0, len(data), 60_000))
    return pkt(f"put-object {oid}\n".encode()) + pkt(f"size={size}\n".encode()) + DELIM + body + FLUSH


def ask(verb: str, data: bytes, size: int | None = None) -> bytes:
    return (
        pkt(f"{verb} {hashlib.sha256(data).hexdigest()}\n".encode()) + pkt(f"size={len(data) if size is None else size}\n".encode()) + FLUSH
    )


QUIT = pkt(b"quit\n") + FLUSH


def test_a_session_word_for_word(ssh_hub: Any) -> None:
    name, data = ssh_hub.hub.repo(), os.urandom(150_000)
    oid = hashlib.sha256(data).hexdigest().encode()
    line = pkt(oid + b" 150000\n")
    batch = pkt(b"batch\n") + pkt(b"transfer=ssh\n") + pkt(b"hash-algo=sha256\n") + pkt(b"refname=refs/heads/main\n") + DELIM + line + FLUSH
    head = pkt(b"status 200\n") + pkt(b"hash-algo=sha256\n") + DELIM
    up = spoken(ssh_hub, name, "upload", batch + put(data) + ask("verify-object", data) + batch + QUIT)
    down = spoken(ssh_hub, name, "download", batch + ask("get-object", data) + QUIT)
    chunks = b"".join(pkt(data[start : start + 65516]) for start in range(0, len(data), 65516))

    assert up == head + pkt(oid + b" 150000 upload\n") + FLUSH + OK + OK + head + pkt(oid + b" 150000 noop\n") + FLUSH + OK
    got = pkt(b"status 200\n") + pkt(b"size=150000\n") + DELIM + chunks + FLUSH
    assert down == head + pkt(oid + b" 150000 download\n") + FLUSH + got + OK


@pytest.mark.parametrize(
    ("operation", "said", "status"),
    [
        ("download", put(b"weights"), 403),
        ("upload", put(b"weights", "0" * 64), 400),
        ("upload", put(b"weights", size=8), 400),
        ("upload", put(b"weights", "../../etc/passwd"), 422),
        ("upload", put(b"weights", "A" * 64), 422),
        ("upload", put(b"weights", size=-1), 400),
        ("upload", put(b"weights", size=(1 << 44) + 1), 422),
        ("upload", pkt(b"put-object\n") + FLUSH, 400),
        ("upload", ask("verify-object", b"never sent"), 404),
        ("download", ask("get-object", b"never sent"), 404),
        ("download", pkt(b"get-object ..\n") + FLUSH, 422),
        ("upload", pkt(b"lock\n") + pkt(b"path=../x\n") + FLUSH, 400),
        ("upload", pkt(b"unlock 17\n") + FLUSH, 404),
        ("lock", pkt(b"list-lock\n") + pkt(b"cursor=x\n") + FLUSH, 400),
        ("upload", pkt(b"nonsense\n") + DELIM + pkt(b"x" * 100) + FLUSH, 404),
        ("upload", pkt(b"batch\n") + pkt(b"hash-algo=md5\n") + DELIM + FLUSH, 422),
        ("upload", pkt(b"batch\n") + DELIM + pkt(b"0" * 64 + b" x\n") + FLUSH, 400),
        ("upload", pkt(b"batch\n") + DELIM + pkt(b"0" * 64 + b" 1\n") * 21 + FLUSH, 413),
        ("upload", pkt(b"version 2\n") + FLUSH, 400),
    ],
)
def test_what_is_refused_and_the_session_goes_on(ssh_hub: Any, operation: str, said: bytes, status: int) -> None:
    name = ssh_hub.hub.repo()
    out = spoken(ssh_hub, name, operation, said + QUIT)

    assert out.startswith(pkt(b"status %d\n" % status) + DELIM), out
    assert out.endswith(FLUSH + OK), out
    assert ssh_hub.hub.call("GET", f"/api/models/{name}").status == 200


@pytest.mark.parametrize(
    "said",
    [
        put(b"weights" * 1000, size=7),
        b"zzzz",
        DELIM,
        b"".join(pkt(b"a%d=1\n" % number) for number in range(100)) + FLUSH,
        pkt(b"batch\n") + DELIM + pkt(b"0" * 64 + b" 1\n") * 300,
        pkt(b"x" * 5000) + FLUSH,
        put(b"weights")[:-20],
    ],
)
def test_what_ends_the_session(ssh_hub: Any, said: bytes) -> None:
    name = ssh_hub.hub.repo()
    done = ssh_hub.ssh(f"git-lfs-transfer {name} upload", data=pkt(b"version 1\n") + FLUSH + said + QUIT)

    assert done.returncode == 1
    assert done.stderr.startswith(b"ERROR: ")
    assert list((ssh_hub.hub.data / "incoming").glob("*/*")) == []


def test_an_object_of_another_repository_is_not_had(ssh_hub: Any) -> None:
    """Knowing its id grants nothing (I7)."""
    secret, own, data = ssh_hub.hub.repo(private=True), ssh_hub.hub.repo(), b"only in the secret one"
    oid = hashlib.sha256(data).hexdigest().encode()
    assert spoken(ssh_hub, secret, "upload", put(data) + QUIT) == OK + OK
    batch = pkt(b"batch\n") + DELIM + pkt(oid + b" %d\n" % len(data)) + FLUSH

    assert b" download\n" not in spoken(ssh_hub, own, "download", batch + QUIT, user="bob")
    assert b"status 404" in spoken(ssh_hub, own, "download", ask("get-object", data) + QUIT, user="bob")
    assert b"status 404" in spoken(ssh_hub, own, "upload", ask("verify-object", data) + QUIT)

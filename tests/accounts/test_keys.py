"""SSH keys of an account: what is one, and the routes."""

import base64
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from accounts.keys.public_key import PublicKey
from hub.settings import Settings
from storage.errors import AlreadyExists, Invalid
from storage.records import Scope
from tests.two_users import quick_build

GOOD = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "B" * 42 + "E"


def made(kind: str, *fields: bytes, named: str = "") -> str:
    blob = b"".join(struct.pack(">I", len(field)) + field for field in (kind.encode(), *fields))
    return f"{named or kind} {base64.b64encode(blob).decode()}"


def rsa(bits: int, exponent: bytes = b"\1\0\1") -> str:
    return made("ssh-rsa", exponent, b"\0" + ((1 << (bits - 1)) | 1).to_bytes((bits + 7) // 8, "big"))


@pytest.mark.parametrize("arguments", [("ed25519",), ("ecdsa",), ("ecdsa", "-b", "521"), ("rsa", "-b", "2048"), ("rsa",)])
def test_what_ssh_keygen_makes(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", "ann's laptop", "-f", path, "-t", *arguments], check=True, timeout=60)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", path], check=True, capture_output=True, text=True, timeout=60).stdout
    key = PublicKey.parse(path.with_suffix(".pub").read_text())

    assert key.fingerprint == shown.split()[1]
    assert key.comment == "ann's laptop"
    assert path.with_suffix(".pub").read_text().startswith(key.text + " ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "hello",
        "ssh-ed25519",
        "ssh-ed25519 !!!!",
        "ssh-rsa " + GOOD.split()[1],
        'command="id" ' + GOOD,
        "no-pty," + GOOD,
        GOOD + "\n" + GOOD + "\n",
        GOOD[:-4],
        made("ssh-ed25519", b"x" * 31),
        made("ssh-ed25519", b"x" * 32, b"more"),
        made("ssh-dss", b"x" * 128, b"y" * 20, b"z" * 128, b"w" * 128),
        made("ssh-ed25519-cert-v01@openssh.com", b"x" * 32, b"y" * 32),
        made("ecdsa-sha2-nistp256", b"nistp256", b"\2" + b"x" * 32),
        made("ecdsa-sha2-nistp256", b"nistp384", b"\4" + b"x" * 64),
        rsa(1024),
        rsa(2047),
        rsa(16385),
        rsa(2048, b"\1"),
        rsa(2048, b"\0\1\0\1"),
        rsa(2048, b"\xff"),
        made("ssh-rsa", b"\1\0\1", b"\xff" * 256),
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        "ssh-ed25519 " + "A" * 100_000,
    ],
)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(Invalid, match=r"[.]|-t ed25519"):
        PublicKey.parse(text)


def test_rsa_from_2048_bits_on() -> None:
    assert PublicKey.parse(rsa(2048)).kind == PublicKey.parse(rsa(16384)).kind == "ssh-rsa"


def test_a_private_key_is_told_to_be_one() -> None:
    with pytest.raises(Invalid, match="Keep it to yourself"):
        PublicKey.parse("-----BEGIN RSA PRIVATE KEY-----")


def admin_token(hub: Any, user: str) -> str:
    return str(hub.admin("create-token", user, "--name", "keys", "--scope", "admin").stdout.strip())


def test_add_list_show_and_delete(hub: Any) -> None:
    alice, bob = admin_token(hub, "alice"), admin_token(hub, "bob")
    text = made("ssh-ed25519", b"add and delete, 32 bytes of key!")
    added = hub.call("POST", "/api/user/keys", {"title": "laptop", "key": text + " c"}, token=alice)
    again = [hub.call("POST", "/api/user/keys", {"title": "x", "key": text}, token=token).status for token in (alice, bob)]
    path = f"/api/user/keys/{added.json()['id']}"
    shown = [hub.call("GET", path, token=token).status for token in (alice, bob)]
    listed = [len([key for key in hub.call("GET", "/api/user/keys", token=token).json() if key == added.json()]) for token in (alice, bob)]
    deleted = [hub.call("DELETE", path, token=token).status for token in (bob, hub.token, alice, alice)]

    assert added.status == 200
    assert added.json() == {
        "id": added.json()["id"],
        "title": "laptop",
        "key_type": "ssh-ed25519",
        "fingerprint": PublicKey.parse(text).fingerprint,
        "created_at": added.json()["created_at"],
        "last_used": None,
    }
    assert again == [409, 409]
    assert shown == [200, 404]
    assert listed == [1, 0]
    assert deleted == [404, 403, 200, 404]


def test_who_may_not(hub: Any) -> None:
    body = {"title": "x", "key": made("ssh-ed25519", b"z" * 32)}

    assert hub.call("GET", "/api/user/keys", token="").status == 401
    assert hub.call("POST", "/api/user/keys", body, token="").status == 401
    assert hub.call("POST", "/api/user/keys", body).status == 403  # a token that may write is not enough
    assert hub.call("POST", "/api/user/keys", {"key": "hello"}, token=admin_token(hub, "alice")).status == 400
    assert hub.call("GET", "/api/user/keys/x").status == 400


def test_an_account_has_so_many_keys(services: Any) -> None:
    user = services.users.create("ann", "ann@example.org", "long enough")
    for number in range(services.limits.ssh_keys):
        services.keys.add(user.id, made("ssh-ed25519", b"%032d" % number))

    with pytest.raises(Invalid, match="which is the most"):
        services.keys.add(user.id, made("ssh-ed25519", b"x" * 32))
    assert len(services.keys.list(user.id)) == services.limits.ssh_keys


def test_on_postgresql(postgres: Any, tmp_path: Path) -> None:
    services = quick_build(Settings(data=tmp_path / "data", database_url=postgres.create()))
    try:
        user = services.users.create("ann", "ann@example.org", "long enough")
        key = services.keys.add(user.id, GOOD)
        holder = services.keys.find(key.fingerprint)
        assert holder is not None
        services.keys.note_use(holder.key_id)
        token = services.keys.passing_token(holder, Scope.READ, 900)
        found = services.tokens.find(token.text)
        with pytest.raises(AlreadyExists):
            services.keys.add(user.id, GOOD)

        assert found is not None
        assert holder.principal.name == found.name == "ann"
        assert [listed.last_used is not None for listed in services.keys.list(user.id)] == [True]
        services.keys.delete(user.id, key.id)
        assert (services.keys.find(key.fingerprint), services.tokens.find(token.text)) == (None, None)
    finally:
        services.close()


def test_the_verb(hub: Any) -> None:
    text = made("ssh-ed25519", b"of the verb, 32 bytes of a key!!") + " ann@laptop"
    added = hub.launcher.admin("add-ssh-key", "alice", "--key-stdin", stdin=text + "\n")
    unknown = hub.launcher.admin("add-ssh-key", "zoe", "--key-stdin", stdin=text + "\n")
    again = hub.launcher.admin("add-ssh-key", "bob", "--key-stdin", "--title", "mine", stdin=text + "\n")

    assert added.stdout == f"alice has the key {PublicKey.parse(text).fingerprint} (ann@laptop) now.\n"
    assert (unknown.returncode, again.returncode) == (1, 1)
    assert "no user zoe" in unknown.stderr
    assert "in use already" in again.stderr

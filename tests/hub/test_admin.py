"""The operator's verbs, while the server runs."""

from typing import Any

import pytest


def test_users_and_tokens(launcher: Any) -> None:
    launcher.users()
    running = launcher.start()
    made = launcher.admin("create-user", "carol", "--email", "c@example.org", "--password-stdin", "--admin", stdin="long enough\n")
    token = launcher.admin("create-token", "carol", "--name", "n", "--scope", "read")
    answer = running.call("GET", "/api/whoami-v2", token=token.stdout.strip())

    assert made.returncode == 0
    assert token.stdout.count("\n") == 1
    assert answer.json()["name"] == "carol"
    assert running.stop() == 0


def test_refusals_say_why(launcher: Any) -> None:
    launcher.users()
    taken = launcher.admin("create-user", "Alice", "--email", "x@example.org", "--password-stdin", stdin="long enough\n")
    short = launcher.admin("create-user", "dave", "--email", "d@example.org", "--password-stdin", stdin="short\n")
    nobody = launcher.admin("create-token", "nobody", "--name", "n")

    assert (taken.returncode, short.returncode, nobody.returncode) == (1, 1, 1)
    assert "already exists" in taken.stderr
    assert "8 to 256" in short.stderr
    assert "no user nobody" in nobody.stderr


def test_wrong_settings_are_named(launcher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOHAKU_HUB_LIMITS", '{"no_such_limit": 1}')
    wrong = launcher.admin("check")

    assert wrong.returncode == 2
    assert "no_such_limit" in wrong.stderr


def test_check_of_a_new_hub(launcher: Any) -> None:
    launcher.users()
    done = launcher.admin("check")

    assert done.returncode == 0
    assert done.stdout == ""
    assert "in order" in done.stderr


def test_check_finds_a_lost_object(launcher: Any) -> None:
    launcher.users()
    running = launcher.start()
    name = running.repo()
    data = b"large bytes" * 100
    put_object(running, name, data)
    assert launcher.admin("check").returncode == 0
    next((launcher.data / "pool").rglob("*/*/*/*")).write_bytes(b"other bytes")
    done = launcher.admin("check")
    running.stop()

    assert done.returncode == 1
    assert "large object" in done.stdout


def put_object(hub: Any, name: str, data: bytes) -> None:
    import hashlib
    import urllib.request

    oid = hashlib.sha256(data).hexdigest()
    batch = {"operation": "upload", "objects": [{"oid": oid, "size": len(data)}]}
    answer = hub.call("POST", f"/{name}.git/info/lfs/objects/batch", batch, Content_Type="application/vnd.git-lfs+json")
    href = answer.json()["objects"][0]["actions"]["upload"]["href"]
    with urllib.request.urlopen(urllib.request.Request(href, data, method="PUT"), timeout=30) as response:
        assert response.status == 200

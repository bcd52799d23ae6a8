"""Imports lead nowhere that is private, tell credentials to nobody, and are the owner's alone."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.mirror.source import Elsewhere
from tests.mirror.test_import import NAME, PATH, wait, wait_for

WORD = "a-word-for-the-source-9182736455"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:10.0.0.1]", "169.254.169.254", "2130706433", "192.168.0.1"])
def test_private_sources_are_refused(hub: Any, host: str) -> None:
    refused = hub.call("POST", PATH, {"url": f"http://{host}/source.git"})

    assert refused.status == 403
    assert "KOHAKU_HUB_IMPORT_PRIVATE" in refused.json()["error"]
    assert hub.call("GET", f"/api/models/{NAME}").status == 404


def test_the_job_itself_refuses_them(start_follower: Callable[..., Any], launcher: Any, elsewhere: Elsewhere) -> None:
    """What was allowed once is not when the operator thinks better of it."""
    hub = start_follower()
    hub.call("POST", PATH, {"url": elsewhere.repository, "mirror": True, "interval_seconds": 2})
    wait_for(lambda: hub.call("GET", PATH).json()["ended_at"] is not None, "the first look")
    assert hub.stop() == 0
    asked = dict(elsewhere.asked)
    launcher.environment = {"KOHAKU_HUB_LIMITS": '{"mirror_seconds": 1}'}
    strict = launcher.start()
    wait_for(lambda: "not on the public internet" in strict.call("GET", PATH).json()["message"], "the refusal")

    assert dict(elsewhere.asked) == asked
    assert strict.stop() == 0


def test_credentials_are_told_to_nobody(start_follower: Callable[..., Any], elsewhere: Elsewhere) -> None:
    elsewhere.login = f"reader:{WORD}"
    hub = start_follower()
    wrong = hub.call("POST", PATH, {"url": elsewhere.repository.replace("://", f"://reader:{WORD}x@")})
    failed = wait(hub, "failed")
    right = hub.call("POST", PATH, {"url": elsewhere.repository.replace("://", f"://reader:{WORD}@"), "mirror": True})
    wait_for(lambda: hub.call("GET", PATH).json()["message"] == "" and hub.call("GET", PATH).json()["state"] == "waiting", "the look")
    bad = hub.call("POST", "/api/models/alice/bad/import", {"url": f"ftp://reader:{WORD}@host/x", "password": WORD})

    assert (wrong.status, right.status, bad.status) == (202, 202, 400)
    assert "401" in failed["message"]
    shown = hub.call("GET", PATH)
    assert shown.json()["url"] == elsewhere.repository
    everything = [answer.body for answer in (wrong, right, bad, shown)] + [hub.log.read_bytes(), *files(hub.data)]
    assert not [text for text in everything if WORD.encode() in text]


def test_credentials_of_an_import_go_when_it_is_done(start_follower: Callable[..., Any], elsewhere: Elsewhere, launcher: Any) -> None:
    elsewhere.login = f"reader:{WORD}"
    hub = start_follower()
    hub.call("POST", PATH, {"url": elsewhere.repository, "username": "reader", "password": WORD})
    assert wait(hub, "done", "failed")["state"] == "done"
    assert hub.stop() == 0

    import sqlite3

    rows = sqlite3.connect(hub.data / "hub.sqlite3")
    assert rows.execute("SELECT secret FROM mirrors").fetchall() == [("",)]
    rows.close()


def files(folder: Path) -> list[bytes]:
    return [Path(entry.path).read_bytes() for place, _, _ in os.walk(folder) for entry in os.scandir(place) if entry.is_file()]


def test_only_the_owner_imports(hub: Any) -> None:
    body = {"url": "https://host.invalid/x.git"}
    private = hub.repo(private=True)
    answers = [hub.call("POST", f"/api/models/{name}/import", body, token=hub.token2) for name in (private, "alice/missing")]

    assert [answer.status for answer in answers] == [403, 403]
    assert answers[0].body == answers[1].body
    assert hub.call("POST", PATH, body, token="").status == 401
    for method in ("GET", "DELETE"):
        seen = [hub.call(method, f"/api/models/{name}/import", token=hub.token2) for name in (private, "alice/missing")]
        assert [answer.status for answer in seen] == [404, 404]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"url": 3},
        {"url": "git://host/x"},
        {"url": "https://host/x?y"},
        {"url": "https://host.invalid/x", "mirror": "yes"},
        {"url": "https://host.invalid/x", "interval_seconds": 600},
        {"url": "https://host.invalid/x", "mirror": True, "interval_seconds": 1},
        {"url": "https://host.invalid/x", "mirror": True, "interval_seconds": True},
        {"url": "https://host.invalid/x", "password": "a\nb"},
        {"url": "https://host.invalid/x", "username": {}},
        {"url": "https://host.invalid/x", "username": "a:b", "password": "c"},
    ],
)
def test_requests_that_make_no_sense(hub: Any, body: object) -> None:
    assert hub.call("POST", PATH, body).status == 400


def test_history_is_not_replaced(start_follower: Callable[..., Any], elsewhere: Elsewhere) -> None:
    hub = start_follower()
    name = hub.repo()
    git_made = hub.call("POST", "/api/repos/create", {"type": "model", "name": "begun", "init": True})
    assert git_made.status == 200
    refused = hub.call("POST", "/api/models/alice/begun/import", {"url": elsewhere.repository, "mirror": True})
    empty = hub.call("POST", f"/api/models/{name}/import", {"url": elsewhere.repository})

    assert refused.status == 409
    assert empty.status == 202
    assert wait(hub, "done", "failed", path=f"/api/models/{name}/import")["state"] == "done"


def test_a_source_that_leads_elsewhere_is_followed_without_credentials(start_follower: Callable[..., Any], elsewhere: Elsewhere) -> None:
    """From `localhost` to `127.0.0.1`: another origin, which would want the credentials."""
    elsewhere.login = f"reader:{WORD}"
    elsewhere.redirect = elsewhere.url
    hub = start_follower()
    by_name = elsewhere.repository.replace("127.0.0.1", "localhost")
    hub.call("POST", PATH, {"url": by_name, "username": "reader", "password": WORD})
    failed = wait(hub, "done", "failed")

    assert failed["state"] == "failed"

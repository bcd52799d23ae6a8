"""Which cases of the suites run on which hub, and which of them may skip themselves."""

import json
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.conformance.suites import LATER
from tests.harness.hubs import Launcher, run_guarded
from tests.servers.s3 import S3Server

# What S3 answers by itself: that it refuses other bytes of the right length before they are verified, and If-Range.
_OF_THE_HUB = ("test_upload_url_writes_only_its_own_object", "test_if_range")
# The cases that a hub was started for; those of _SPECIAL run on no other one.
_ONLY = {
    "parts_hub": ("TestHfMultipart",),
    "pair_hub": ("test_two_writers", "test_lock_of_another"),
    "brief_hub": ("::test_expired",),
}
_SPECIAL = ("test_multipart_round_trip", "::test_expired")
_ACTION_SECONDS = 2
_EXPECTED_SKIPS = {"": ("not sendable",), "direct_hub": ("not sendable", "objects are on another host")}


def pytest_configure(config: pytest.Config) -> None:
    for marker in ("must", "should", "client", "info", "big"):
        config.addinivalue_line("markers", f"{marker}: of the LFS suite, see lfs/conftest.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left = [item for item in items if item.nodeid.startswith("tests/conformance/") and _is_left(item)]
    config.hook.pytest_deselected(items=left)
    away = set(left)
    items[:] = [item for item in items if item not in away]


def _is_left(item: pytest.Item) -> bool:
    hub = _hub(item)
    if hub in _ONLY:
        return not any(name in item.nodeid for name in _ONLY[hub])
    return any(name in item.nodeid for name in (*LATER, *_SPECIAL, *(_OF_THE_HUB if hub == "direct_hub" else ())))


def _hub(item: pytest.Item) -> str:
    return str(getattr(item, "callspec").params["aimed_hub"])  # noqa: B009  not in the type of an item


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> Generator[None, Any, Any]:
    """A case that says the server lacks something is skipped, as in the suite's own conftest; a skip that is not expected is a failure."""
    report = yield
    if call.excinfo is not None and type(call.excinfo.value).__name__ in ("Unsupported", "Skipped"):
        reason = str(call.excinfo.value)
        is_expected = any(words in reason for words in _EXPECTED_SKIPS.get(_hub(item), _EXPECTED_SKIPS[""]))
        report.outcome = "skipped" if is_expected else "failed"
        report.longrepr = (str(item.path), item.location[1] or 0, f"Skipped: {reason}") if is_expected else f"an unexpected skip: {reason}"
    return report


@pytest.fixture(scope="session")
def pair_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Its second user is an administrator: both may write to the repositories of the first one."""
    launcher = Launcher(tmp_path_factory.mktemp("pair") / "data")
    launcher.users()
    with closing(sqlite3.connect(launcher.data / "hub.sqlite3")) as database, database:
        database.execute("UPDATE users SET is_admin = 1 WHERE name = 'bob'")
    yield from run_guarded(launcher, {})


@pytest.fixture(scope="session")
def brief_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Its action URLs are good for a moment; the suite is told for how long."""
    launcher = Launcher(tmp_path_factory.mktemp("brief") / "data", {"KOHAKU_HUB_LIMITS": json.dumps({"action_seconds": _ACTION_SECONDS})})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HUB_ACTION_TTL", str(_ACTION_SECONDS))
        patch.setenv("HUB_ACTION_LEEWAY", "0.5")
        yield from run_guarded(launcher, {})


@pytest.fixture(scope="session")
def direct_hub(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> Iterator[Any]:
    """Every object of more than one byte goes to S3 by itself."""
    limits = {"lfs_direct_bytes": 1, "lfs_multipart_bytes": 2 << 20, "lfs_part_bytes": 5 << 20}
    environment = s3_server.environment(s3_server.make_bucket(), PUBLIC_ENDPOINT=s3_server.endpoint)
    launcher = Launcher(tmp_path_factory.mktemp("direct") / "data", environment | {"KOHAKU_HUB_LIMITS": json.dumps(limits)})
    yield from run_guarded(launcher, {})

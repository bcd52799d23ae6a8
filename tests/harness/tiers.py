"""A pytest plugin: the tiers of the tests, the run that all workers share, and what a test waits for before it starts.

`--tier fast` has the tests that start no server, hub or client; `short`, the usual one, has all that are not marked `long`; `long` has all.
"""

import os
import signal
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.clients import programs
from tests.harness import run
from tests.servers import lakefs, nginx, versitygw
from tests.servers.shared import CLIENTS, SCRIPTS, STARTS

_LATE = "KOHAKU_TEST_LATE"  # the scripts that had something to do when the run began, in the environment of its workers
_PATIENCE = 5.0  # seconds for scripts that find what they are to get in the cache
# What a test with one of these fixtures, or with a parameter of this name, needs.
_NEEDS = {
    "versitygw": ["set-up versitygw"],
    "lakefs_program": ["set-up lakefs"],
    "nginx_program": ["set-up nginx"],
    "cluster_hub": ["set-up lakefs", "set-up nginx"],
    "newest_client": ["set-up newest"],
    "pygit2_client": ["set-up pygit2"],
    "node_clients": ["set-up node"],
    "gogit_client": ["set-up gogit"],
    "machine": ["set-up newest", "set-up 1.29", "set-up 0.36"],
    "make_machine": ["set-up newest", "set-up 1.29", "set-up 0.36"],
}
# Folders, modules and fixtures of tests that are not in the fast tier.
_SLOW_PLACES = (
    *(
        f"tests/{name}/"
        for name in ("acceptance", "clients", "conformance", "deployment", "differential", "faults", "lakefs", "mirror", "ssh")
    ),
    *(f"tests/gitserver/{name}.py::" for name in ("test_repack", "test_reach", "test_merge_git", "test_commit_cost")),
)
_SLOW = {
    "launcher",
    "new_launcher",
    "hub",
    "postgres",
    "s3_server",
    "versitygw",
    "lakefs_program",
    "nginx_program",
    "machine",
    "make_machine",
}
_SLOW |= {"embedded_hub", "parts_hub", "postgres_hub", "cluster_hub", "s3_hub", "s3_link_hub", "two_hubs", "real_git"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tiers")
    group.addoption("--tier", choices=("fast", "short", "long"), default="short", help="which tests to run (tests/README.md)")
    group.addoption("--set-up", action="store_true", help="get what is missing for the tests in the background, from the start on")


def _is_missing(script: str) -> bool:
    name = script.removeprefix("set-up ")
    servers = {"versitygw": versitygw.missing, "lakefs": lakefs.missing, "nginx": nginx.missing}
    servers |= programs.MISSING
    return bool(servers[name]()) if name in servers else not (CLIENTS / name).exists()


_run = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    signal.signal(signal.SIGTERM, _interrupt)
    config.stash[_run] = ExitStack()
    made = config.stash[_run].enter_context(run.opened(STARTS))
    missing = [name for name in SCRIPTS if _is_missing(name)]
    late = made.prepare(missing, _PATIENCE) if config.option.set_up else missing
    os.environ[_LATE] = ",".join(late)


def _interrupt(number: int, frame: object) -> None:
    """SIGTERM ends a run as Ctrl-C does, so that its servers end too; a second one does not disturb that."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def pytest_unconfigure(config: pytest.Config) -> None:
    if _run in config.stash:
        config.stash[_run].close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tier = config.option.tier
    left = [item for item in items if (tier == "short" and item.get_closest_marker("long")) or (tier == "fast" and _is_slow(item))]
    config.hook.pytest_deselected(items=left)
    away = set(left)
    late = set(filter(None, os.environ[_LATE].split(",")))
    items[:] = sorted((item for item in items if item not in away), key=lambda item: not late.isdisjoint(_needs(item)))


def _is_slow(item: pytest.Item) -> bool:
    if item.get_closest_marker("long") or item.nodeid.startswith(_SLOW_PLACES):
        return True
    return not _SLOW.isdisjoint(_names(item))


def _names(item: pytest.Item) -> Iterator[str]:
    """Fixtures, and parameters, which often name one."""
    yield from getattr(item, "fixturenames", ())
    parameters = getattr(item, "callspec", None)
    for value in parameters.params.values() if parameters is not None else ():
        yield from (part for part in (value if isinstance(value, tuple) else (value,)) if isinstance(part, str))


def _needs(item: pytest.Item) -> set[str]:
    return {need for name in _names(item) for need in _NEEDS.get(name, ())}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Wait for what the test needs before its time is counted."""
    for need in _needs(item):
        run.shared(need)
    return (yield)

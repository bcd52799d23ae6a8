"""What a test waits for before it uses a program or server, and what happens to it when that is not here."""

import os
from collections.abc import Callable
from typing import TypeVar

import pytest

from tests.harness.run import shared
from tests.servers.shared import SCRIPTS

_Server = TypeVar("_Server")


def need(missing: str) -> None:
    """Skips visibly, or fails in CI, which must have all servers. `missing` says what there is to do; nothing happens when it is empty."""
    if missing and os.environ.get("CI"):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


def need_program(name: str, missing: Callable[[], str]) -> None:
    """As `need`, once the script that gets the program has ended, so that no test asks for it while it is still being built."""
    if f"set-up {name}" in SCRIPTS:
        shared(f"set-up {name}")
    need(missing())


def running(kind: type[_Server], name: str, missing: Callable[[], str]) -> _Server:
    """That server of the run."""
    need_program(name, missing)
    server = shared(name)
    assert isinstance(server, kind)
    return server

"""The black-box suites of the folders beside this module, unchanged, as modules whose cases become ours.

What they read from the environment when they are imported is set for each hub instead.
"""

import importlib
import os
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import pytest

HERE = Path(__file__).parent
# Cases that wait for a later issue.
LATER = [line for line in (HERE / "deselected.txt").read_text().splitlines() if line and not line.startswith("#")]
_MULTIPART_MB = "12"


def load(folder: str, name: str) -> ModuleType:
    """The module of a suite, with assertions that say what they compared."""
    pytest.register_assert_rewrite(name)
    sys.path.insert(0, str(HERE / folder))
    with mock.patch.dict(os.environ, {"HUB_MULTIPART_MB": _MULTIPART_MB}):
        return importlib.import_module(name)


def cases(suite: ModuleType) -> dict[str, Any]:
    """What pytest is to find in the module that runs them: cases and the suite's own fixtures."""
    found = {name: value for name, value in vars(suite).items() if name.startswith(("test_", "Test"))}
    return found | {name: value for name, value in vars(suite).items() if type(value).__name__ == "FixtureFunctionDefinition"}


def aim_git(suite: ModuleType, hub: Any, patch: pytest.MonkeyPatch) -> None:
    for name, value in {"URL": hub.url, "USER": hub.user, "TOKEN": hub.token, "U": urlsplit(hub.url)}.items():
        patch.setattr(suite, name, value)
    settings = [f"{name}={value}" for name, value in hub.launcher.environment.items()]
    program = str(Path(sys.executable).parent / "kohakuhub")
    words = ["env", *settings, program, "admin", "protect", "{user}/{name}", "main", "--data", str(hub.data)]
    patch.setenv("HUB_PROTECT_CMD", " ".join(word if "{user}" in word else shlex.quote(word) for word in words))


def aim_lfs(harness: ModuleType, hub: Any, patch: pytest.MonkeyPatch) -> None:
    for name, value in {"HUB_URL": hub.url, "TOKEN": hub.token, "TOKEN2": hub.token2}.items():
        patch.setattr(harness, name, value)
    for who, token in ((harness.ALICE, hub.token), (harness.BOB, hub.token2)):
        object.__setattr__(who, "token", token)  # frozen, and known to every case as it is
    patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

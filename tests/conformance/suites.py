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
# Megabytes: of the largest file, and of what is sent in parts.
_SIZES = {"HUB_BIG_MB": os.environ.get("HUB_BIG_MB", "64"), "HUB_MULTIPART_MB": "12"}


def load(folder: str, name: str) -> ModuleType:
    """The module of a suite, with assertions that say what they compared."""
    pytest.register_assert_rewrite(name)
    sys.path.insert(0, str(HERE / folder))
    with mock.patch.dict(os.environ, _SIZES):
        return importlib.import_module(name)


def cases(suite: ModuleType) -> dict[str, Any]:
    """What pytest is to find in the module that runs them: cases and the suite's own fixtures."""
    found = {name: value for name, value in vars(suite).items() if name.startswith(("test_", "Test"))}
    return found | {name: value for name, value in vars(suite).items() if type(value).__name__ == "FixtureFunctionDefinition"}


def aim_git(suite: ModuleType, hub: Any, patch: pytest.MonkeyPatch) -> None:
    for name, value in {"URL": hub.url, "USER": hub.user, "TOKEN": hub.token, "U": urlsplit(hub.url)}.items():
        patch.setattr(suite, name, value)
    patch.setattr(suite.basic, "__defaults__", (hub.user, hub.token))
    settings = [f"{name}={value}" for name, value in hub.launcher.environment.items()]
    program = shlex.join(["env", *settings, str(Path(sys.executable).parent / "kohakuhub")])
    options = shlex.join(["--data", str(hub.data)])
    program, options = (text.replace("{", "{{").replace("}", "}}") for text in (program, options))  # the suite formats it
    patch.setenv("HUB_PROTECT_CMD", f"{program} admin protect {{user}}/{{name}} main {options}")


def aim_lfs(harness: ModuleType, hub: Any, patch: pytest.MonkeyPatch) -> None:
    for name, value in {"HUB_URL": hub.url, "TOKEN": hub.token, "TOKEN2": hub.token2}.items():
        patch.setattr(harness, name, value)
    for who, token in ((harness.ALICE, hub.token), (harness.BOB, hub.token2)):
        object.__setattr__(who, "token", token)  # frozen, and known to every case as it is
    patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

"""A computer with one Hugging Face client that writes to one hub, in one of the ways in which clients send large files."""

import json
import random
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SOME, MANY = 300, 2000  # files of a folder


def way(client: str, way: str, hub: str, many: int = SOME, *, is_long: bool = False) -> Any:
    """A client, how it sends large files (`xet` or `lfs`), and where to."""
    name = f"{client}-{way}-{hub.partition('_')[0]}{'-many' if many > SOME else ''}"
    return pytest.param((client, way == "xet", hub, many), id=name, marks=[pytest.mark.long] if is_long else [])


@dataclass(frozen=True)
class World:
    """A computer of its own with one client."""

    machine: Any
    client: str
    is_xet: bool
    dice: random.Random
    many: int  # files of a folder

    def call(self, script: str, *arguments: str) -> Any:
        """What the script prints. It has `api`, and `name` from the first argument."""
        return json.loads(self.machine.python(self.client, PRELUDE + script, *arguments))

    def name(self) -> str:
        return f"{self.machine.hub.user}/w{uuid.uuid4().hex[:12]}"

    def write(self, folder: str, sizes: dict[str, int]) -> Path:
        """Random files of those sizes."""
        for path, size in sizes.items():
            target = self.machine.home / folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.dice.randbytes(size))
        return Path(self.machine.home / folder)


def new_world(machine: Any, param: tuple[str, bool, str, int]) -> World:
    client, is_xet, _, many = param
    if not is_xet:
        machine.environment["HF_HUB_DISABLE_XET"] = "1"
    return World(machine, client, is_xet, random.Random(repr(param)), many)


def lived(request: pytest.FixtureRequest, make_machine: Callable[[Any], Any]) -> Iterator[World]:
    world = new_world(make_machine(request.getfixturevalue(request.param[2])), request.param)
    yield world
    shutil.rmtree(world.machine.home)


PRELUDE = """
import io, json, pathlib, sys
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, HfFileSystem
from huggingface_hub.errors import HfHubHTTPError
api, name = HfApi(), sys.argv[1]
def heads():
    return {branch.name: branch.target_commit for branch in api.list_repo_refs(name).branches}
"""


PRELUDE = """
import io, json, pathlib, sys
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, HfFileSystem
from huggingface_hub.errors import HfHubHTTPError
api, name = HfApi(), sys.argv[1]
def heads():
    return {branch.name: branch.target_commit for branch in api.list_repo_refs(name).branches}
"""

"""A file of many megabytes by the Hugging Face clients, in the two ways in which they send it: stored once, whole, and served in ranges."""

import hashlib
import shutil
import sqlite3
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.acceptance.worlds import World, new_world, way

# 0.36 uses Xet only where the LFS batch offers it, which this hub does not.
SPEAKS_XET = {"newest", "1.29"}
DATABASE = "hub.sqlite3"
TWO_GIB = (2 << 30) + 12_345  # more than a signed number of 32 bits holds


@pytest.fixture(params=[way("newest", "xet", "own_hub"), way("0.36", "lfs", "own_hub")])
def wide_world(request: pytest.FixtureRequest, launcher: Any, make_machine: Callable[[Any], Any]) -> Iterator[World]:
    """A computer and a hub that are thrown away with all their bytes, for the two ways in which clients send a large file."""
    launcher.users()
    hub = launcher.start()
    world = new_world(make_machine(hub), request.param)
    yield world
    stopped = hub.stop()
    shutil.rmtree(launcher.data)
    shutil.rmtree(world.machine.home)
    assert stopped == 0


BIG = """
api.create_repo(name)
api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo="two.bin", repo_id=name)
print(json.dumps(heads()))
"""


@pytest.mark.parametrize("size", [64 << 20, pytest.param(TWO_GIB, marks=pytest.mark.long)])
def test_a_large_file(wide_world: World, size: int) -> None:
    name, machine = wide_world.name(), wide_world.machine
    file, digest, tail = machine.home / "two.bin", hashlib.sha256(), b""
    with file.open("wb") as out:
        for start in range(0, size, 8 << 20):
            tail = wide_world.dice.randbytes(min(8 << 20, size - start))
            digest.update(tail)
            out.write(tail)
    wide_world.call(BIG, name, str(file))
    file.unlink()

    machine.environment["GIT_LFS_SKIP_SMUDGE"] = "1"
    clone = machine.clone(name, "clone")
    version = "version https://git-lfs.github.com/spec/v1"
    assert (clone / "two.bin").read_text() == f"{version}\noid sha256:{digest.hexdigest()}\nsize {size}\n"
    received = hashlib.sha256()
    with urllib.request.urlopen(f"{machine.hub.url}/{name}/resolve/main/two.bin", timeout=60) as response:
        while piece := response.read(1 << 20):
            received.update(piece)
    assert received.hexdigest() == digest.hexdigest()
    end = urllib.request.Request(f"{machine.hub.url}/{name}/resolve/main/two.bin", headers={"Range": f"bytes={size - 5}-"})
    with urllib.request.urlopen(end, timeout=60) as response:
        assert response.read() == tail[-5:]
    stored = sum(path.stat().st_size for path in machine.hub.data.rglob("*") if path.is_file())
    assert size <= stored < size + (50 << 20)
    with closing(sqlite3.connect(machine.hub.data / DATABASE)) as database:
        came_by_xet = database.execute("SELECT count(*) FROM xet_files").fetchone()[0] == 1
    assert came_by_xet is (wide_world.is_xet and wide_world.client in SPEAKS_XET)

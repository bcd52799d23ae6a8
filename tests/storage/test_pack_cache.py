"""The cache of packs: bounded, the longest unused go first, nobody who reads is harmed."""

import os
import shutil
import time
from pathlib import Path

import pytest

from storage.filecache import FileCache


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def put(cache: FileCache, tmp_path: Path, name: str, size: int, used: int | None = None) -> None:
    """`used` seconds ago; now, if it is not given."""
    source = tmp_path / "aside"
    source.write_bytes(b"x" * size)
    cache.keep(source, name)
    if used is not None:
        os.utime(tmp_path / "cache" / name, (0, time.time() - used))


def kept(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.glob("*/*")}


def test_the_longest_unused_go_first(root: Path, tmp_path: Path) -> None:
    cache = FileCache(root, 300)
    for number, name in enumerate(("r/a", "s/b", "r/c")):
        put(cache, tmp_path, name, 100, used=1000 - number)
    assert kept(root) == {"r/a", "s/b", "r/c"}
    file = cache.open("r/a")
    assert file is not None
    cache.touch("s/b")
    cache.touch("s/none")
    put(cache, tmp_path, "t/d", 100)

    assert kept(root) == {"r/a", "s/b", "t/d"}
    put(cache, tmp_path, "t/e", 300)
    assert kept(root) == {"t/e"}
    with file:
        assert file.read() == b"x" * 100


def test_what_is_larger_than_the_cache_is_not_kept(root: Path, tmp_path: Path) -> None:
    for limit in (0, 99):
        cache = FileCache(root, limit)
        put(cache, tmp_path, "r/a", 100)
        assert kept(root) == set()
        assert cache.open("r/a") is None


def test_what_other_processes_added_counts(root: Path, tmp_path: Path) -> None:
    one, two = FileCache(root, 25_600), FileCache(root, 25_600)
    for number in range(300):
        put(one if number % 2 else two, tmp_path, f"r/{number}", 99)
        assert sum(path.stat().st_size for path in root.glob("*/*")) <= 25_600 + 2 * 200


def test_small_files_are_not_counted_one_by_one(root: Path, tmp_path: Path) -> None:
    cache = FileCache(root, 1 << 20)
    put(cache, tmp_path, "r/first", 1)
    (root / "r" / "foreign").write_bytes(bytes(2 << 20))
    os.utime(root / "r" / "foreign", (0, 0))
    put(cache, tmp_path, "r/a", 100)
    assert kept(root) == {"r/first", "r/foreign", "r/a"}
    put(cache, tmp_path, "r/b", 4096)
    assert kept(root) == {"r/first", "r/a", "r/b"}


def test_a_removed_folder_is_made_again(root: Path, tmp_path: Path) -> None:
    cache = FileCache(root, 1000)
    put(cache, tmp_path, "r/a", 10)
    cache.remove_folder("r")
    cache.remove_folder("r")
    cache.remove("r/a")
    assert cache.open("r/a") is None
    put(cache, tmp_path, "r/a", 10)
    assert kept(root) == {"r/a"}
    shutil.rmtree(root)  # by the operator, while the hub runs
    put(cache, tmp_path, "r/b", 10)
    assert kept(root) == {"r/b"}

"""What is special to packs in a bucket: the cache before them, and downloads that go wrong."""

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from storage.blobs.bucket import Body, Bucket
from storage.errors import Unavailable
from storage.filecache import FileCache
from storage.packs.base import ENDINGS
from storage.packs.s3 import S3PackFiles
from storage.packs.store import PackStore
from storage.records import PackInfo
from tests.contracts.packmaker import Made, make_pack
from tests.storage.packreader import task

REPO = "0" * 32
ROOT = Path(__file__).parent.parent.parent


class WatchedBucket(Bucket):
    """Counts what is read, and does what a test says before each write and to what is read."""

    def __init__(self, bucket: Bucket) -> None:
        super().__init__(bucket.config)
        self.reads: list[str] = []
        self.spoil: Callable[[bytes], bytes] = lambda data: data
        self.before_put: Callable[[str], None] = lambda key: None

    def get(self, key: str, start: int, end: int) -> Any:
        self.reads.append(key)
        body: Body = super().get(key, start, end)
        data = b"".join(iter(lambda: body.read(1 << 20), b""))
        body.close()
        return io.BytesIO(self.spoil(data))

    def put(self, key: str, file: BinaryIO, size: int) -> None:
        self.before_put(key)
        super().put(key, file, size)


@pytest.fixture
def watched(bucket: Bucket) -> Any:
    made = WatchedBucket(bucket)
    yield made
    made.close()


@pytest.fixture
def make_files(watched: WatchedBucket, tmp_path: Path) -> Callable[[int], S3PackFiles]:
    def make(limit: int) -> S3PackFiles:
        for name in ("cache", "incoming", "made"):
            (tmp_path / name).mkdir(exist_ok=True)
        return S3PackFiles(watched, FileCache(tmp_path / "cache", limit), tmp_path / "incoming")

    return make


@pytest.fixture
def files(make_files: Callable[[int], S3PackFiles]) -> S3PackFiles:
    return make_files(1 << 30)


@pytest.fixture
def made(files: S3PackFiles, tmp_path: Path) -> Made:
    """A pack in the bucket, and in no cache."""
    pack = make_pack(tmp_path / "made", os.urandom(100_000), b"x")
    files.add(REPO, pack.info, pack.pack, pack.index)
    clear(tmp_path)
    return pack


def clear(tmp_path: Path) -> None:
    for path in cached(tmp_path):
        path.unlink()


def cached(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache").glob("*/*"))


def read(files: S3PackFiles, info: PackInfo) -> bytes:
    with files.open(REPO, info, "pack") as file:
        return file.read()


def test_a_second_look_asks_nobody(files: S3PackFiles, made: Made, watched: WatchedBucket) -> None:
    assert [read(files, made.info) for _ in range(3)] == [made.data] * 3
    for _ in range(2):
        files.open(REPO, made.info, "idx").close()
    assert watched.reads == [f"git/{REPO}/pack-{made.info.id}.{ending}" for ending in ("pack", "idx")]


def test_who_pushes_need_not_fetch(files: S3PackFiles, watched: WatchedBucket, tmp_path: Path) -> None:
    pack = make_pack(tmp_path / "made", b"pushed")
    files.add(REPO, pack.info, pack.pack, pack.index)
    assert read(files, pack.info) == pack.data
    assert watched.reads == []


@pytest.mark.parametrize("failing", ENDINGS)
def test_nothing_is_cached_before_all_is_stored(files: S3PackFiles, watched: WatchedBucket, tmp_path: Path, failing: str) -> None:
    """Both are written at the same time; one that fails leaves nothing in the cache, and both are written again."""
    pack = make_pack(tmp_path / "made", b"pushed")
    keys = []

    def fail_once(key: str) -> None:
        keys.append(key.rpartition(".")[2])
        assert cached(tmp_path) == []
        if keys.count(failing) == 1 and key.endswith(failing):
            raise Unavailable("no")

    watched.before_put = fail_once
    with pytest.raises(Unavailable):
        files.add(REPO, pack.info, pack.pack, pack.index)
    assert cached(tmp_path) == []
    files.add(REPO, pack.info, pack.pack, pack.index)

    assert sorted(keys) == ["idx", "idx", "pack", "pack"]
    assert len(cached(tmp_path)) == 2
    assert [pack.pack.exists(), pack.index.exists()] == [False, False]


def flipped(data: bytes) -> bytes:
    return data[:50] + bytes([data[50] ^ 1]) + data[51:]


@pytest.mark.parametrize("ending", ["pack", "idx"])
def test_a_damaged_file_is_fetched_once_more(files: S3PackFiles, made: Made, watched: WatchedBucket, tmp_path: Path, ending: Any) -> None:
    watched.spoil = flipped
    with pytest.raises(Unavailable, match=f"{made.info.id} came damaged from bucket b.*restore it"):
        files.open(REPO, made.info, ending)
    assert len(watched.reads) == 2
    assert cached(tmp_path) == []
    watched.spoil = lambda data: flipped(data) if len(watched.reads) == 3 else data
    with files.open(REPO, made.info, ending) as file:
        assert file.read() == (made.data if ending == "pack" else (tmp_path / "cache" / REPO / f"pack-{made.info.id}.idx").read_bytes())
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_sound_file_of_another_pack_is_refused(files: S3PackFiles, made: Made, watched: WatchedBucket, tmp_path: Path) -> None:
    other = make_pack(tmp_path / "made", os.urandom(100_000), b"y")
    for path, ending in ((other.pack, "pack"), (other.index, "idx")):
        with path.open("rb") as file:
            watched.put(f"git/{REPO}/pack-{made.info.id}.{ending}", file, path.stat().st_size)
    for ending in ENDINGS:
        with pytest.raises(Unavailable, match=r"damaged|sent less"):
            files.open(REPO, made.info, ending)


def test_a_cached_file_that_was_cut_is_fetched(files: S3PackFiles, made: Made, tmp_path: Path) -> None:
    assert read(files, made.info) == made.data
    (path,) = cached(tmp_path)
    path.write_bytes(made.data[:-1])
    assert read(files, made.info) == made.data
    assert path.read_bytes() == made.data


def test_a_missing_pack_is_a_missing_file(files: S3PackFiles) -> None:
    for info in (PackInfo("a" * 40, 1, 100), PackInfo("a" * 40, 1, 1 << 31)):
        for ending in ENDINGS:
            with pytest.raises(FileNotFoundError):
                files.open(REPO, info, ending)


def test_many_who_miss_a_pack_fetch_it_once(files: S3PackFiles, made: Made, watched: WatchedBucket, services: Any, tmp_path: Path) -> None:
    store = PackStore(files, tmp_path / "incoming", services.database)
    start = threading.Barrier(16)

    def open_pack(_: int) -> Any:
        start.wait(30)
        return store.open(REPO, made.info)

    with ThreadPoolExecutor(16) as pool:
        packs = set(pool.map(open_pack, range(16)))
    assert len(packs) == 1
    assert len(watched.reads) == 2


def test_a_cache_that_holds_nothing_serves(make_files: Callable[[int], S3PackFiles], made: Made, tmp_path: Path) -> None:
    files = make_files(0)
    assert [read(files, made.info) for _ in range(2)] == [made.data] * 2
    assert cached(tmp_path) == []


def test_readers_while_everything_is_dropped(make_files: Callable[[int], S3PackFiles], tmp_path: Path) -> None:
    """Two stores share a folder that holds two of eight packs: each opening finds the file, or fetches it, and reads all of it."""
    stores = [make_files(250_000) for _ in range(2)]
    packs = [make_pack(tmp_path / "made", os.urandom(100_000)) for _ in range(8)]
    for pack in packs:
        stores[0].add(REPO, pack.info, pack.pack, pack.index)

    def look(number: int) -> bool:
        pack = packs[number * 5 % 8]
        return read(stores[number % 2], pack.info) == pack.data

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(look, range(200)))
    assert sum(path.stat().st_size for path in cached(tmp_path)) <= 250_000
    assert list((tmp_path / "incoming").iterdir()) == []


def test_processes_read_while_others_drop(make_files: Callable[[int], S3PackFiles], watched: WatchedBucket, tmp_path: Path) -> None:
    files, limit = make_files(250_000), 250_000
    packs = [make_pack(tmp_path / "made", os.urandom(100_000)) for _ in range(6)]
    for pack in packs:
        files.add(REPO, pack.info, pack.pack, pack.index)
    infos = [pack.info for pack in packs]

    def run(seed: int) -> str:
        wanted = task(watched.config, tmp_path, limit, REPO, infos, seed)
        command = [sys.executable, "-m", "tests.storage.packreader"]
        done = subprocess.run(command, input=wanted, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT)
        return done.stdout + done.stderr

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run, range(3))) == ["done\n"] * 3
    assert sum(path.stat().st_size for path in cached(tmp_path)) <= limit + 3 * limit // 256
    assert list((tmp_path / "incoming").iterdir()) == []


def test_packs_in_use_are_not_the_first_to_go(files: S3PackFiles, made: Made, tmp_path: Path) -> None:
    read(files, made.info)
    (path,) = cached(tmp_path)
    os.utime(path, (0, 0))
    files.touch(REPO, [made.info])
    assert path.stat().st_mtime > 1e9
    os.utime(path, (0, 0))
    files.touch(REPO, [made.info])  # a minute has not passed
    assert path.stat().st_mtime == 0

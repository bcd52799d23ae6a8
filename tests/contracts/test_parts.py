"""The PartStore contract."""

import hashlib
import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

from storage.blobs.disk import DiskBlobStore
from storage.errors import Invalid, Unavailable
from storage.limits import MIB
from storage.multipart.base import Parted
from storage.multipart.disk import DiskPart, DiskPartStore
from storage.packs import sweep_incoming
from storage.records import BlobRef

DATA = os.urandom(2500)
PARTED = Parted("r1", BlobRef(hashlib.sha256(DATA).hexdigest(), len(DATA)), 1000)
DAY = 86400


@pytest.fixture
def blobs(tmp_path: Path) -> DiskBlobStore:
    (tmp_path / "incoming").mkdir()
    return DiskBlobStore(tmp_path / "pool", tmp_path / "incoming")


@pytest.fixture
def store(blobs: DiskBlobStore, tmp_path: Path) -> DiskPartStore:
    return DiskPartStore(tmp_path / "incoming", blobs)


def part(number: int) -> bytes:
    return DATA[(number - 1) * 1000 : number * 1000]


def begun(store: DiskPartStore, number: int, data: bytes) -> DiskPart:
    upload = store.begin(PARTED, number)
    upload.write(data[:10])
    upload.write(data[10:])
    return upload


def send(store: DiskPartStore, number: int, data: bytes | None = None) -> str:
    upload = begun(store, number, part(number) if data is None else data)
    upload.keep()
    upload.abort()
    return upload.etag


def join(store: DiskPartStore, etags: list[str]) -> None:
    for _ in store.join(PARTED, etags):
        pass


def test_sizes() -> None:
    assert (PARTED.count, [PARTED.size_of(number) for number in (1, 2, 3)]) == (3, [1000, 1000, 500])
    assert (Parted("r", BlobRef("a", 2000), 1000).count, Parted("r", BlobRef("a", 2000), 1000).size_of(2)) == (2, 1000)
    assert Parted("r", BlobRef("a", 0), 1000).count == 0


def test_parts_in_any_order_become_the_object(store: DiskPartStore, blobs: DiskBlobStore, tmp_path: Path) -> None:
    etags = {number: send(store, number) for number in (3, 1, 2)}
    assert not blobs.exists(PARTED.blob)
    join(store, [etags[number] for number in (1, 2, 3)])
    store.drop(PARTED)

    with blobs.open(PARTED.blob.sha256) as file:
        assert file.read() == DATA
    assert list((tmp_path / "incoming").iterdir()) == []


@pytest.mark.parametrize("data", [b"x" * 999, b"x" * 1001, b""])
def test_a_part_of_another_size_is_refused(store: DiskPartStore, tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Invalid, match="not 1000"):
        send(store, 1, data)

    assert [file for file in (tmp_path / "incoming").rglob("*") if file.is_file()] == []


def test_a_missing_or_another_part_is_named_and_nothing_is_stored(store: DiskPartStore, blobs: DiskBlobStore, tmp_path: Path) -> None:
    etags = [send(store, 1), hashlib.sha256(part(2)).hexdigest(), send(store, 3)]
    with pytest.raises(Invalid, match="Part 2 did not come"):
        join(store, etags)
    send(store, 2, b"x" * 1000)
    with pytest.raises(Invalid, match="Part 2 is here with another etag"):
        join(store, etags)
    assert not blobs.exists(PARTED.blob)
    assert list((tmp_path / "incoming").glob("upload-*")) == []

    send(store, 2)  # replaces the wrong one
    join(store, etags)
    assert blobs.exists(PARTED.blob)


def test_a_part_that_a_crash_cut_short_is_another_part(store: DiskPartStore, tmp_path: Path) -> None:
    etags = [send(store, number) for number in (1, 2, 3)]
    (file,) = (tmp_path / "incoming").glob("parts-*/00002")
    file.write_bytes(file.read_bytes()[:-1])

    with pytest.raises(Invalid, match="Part 2"):
        join(store, etags)


def test_a_whole_that_is_not_the_object(store: DiskPartStore, blobs: DiskBlobStore, tmp_path: Path) -> None:
    etags = [send(store, 1), send(store, 2, b"x" * 1000), send(store, 3)]
    with pytest.raises(Invalid, match="Send the file again"):
        join(store, etags)

    assert not blobs.exists(PARTED.blob)
    assert list((tmp_path / "incoming").glob("upload-*")) == []


def test_joining_that_is_given_up_leaves_nothing(store: DiskPartStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("storage.multipart.base.STEP_BYTES", 1000)
    steps = store.join(PARTED, [send(store, number) for number in (1, 2, 3)])
    next(steps)
    assert len(list((tmp_path / "incoming").glob("upload-*"))) == 1
    del steps

    assert list((tmp_path / "incoming").glob("upload-*")) == []


def test_one_caller_at_a_time(store: DiskPartStore) -> None:
    other = Parted("r2", PARTED.blob, PARTED.part_bytes)
    with store.claim(PARTED) as first, store.claim(PARTED) as second, store.claim(other) as elsewhere:
        assert (first, second, elsewhere) == (True, False, True)
    with store.claim(PARTED) as again:
        assert again


def test_a_late_part_is_told_so_and_changes_nothing(store: DiskPartStore, blobs: DiskBlobStore, tmp_path: Path) -> None:
    late = begun(store, 2, b"x" * 1000)
    join(store, [send(store, number) for number in (1, 2, 3)])
    store.drop(PARTED)
    late.write(b"")
    with pytest.raises(Unavailable, match="Send this part again"):
        late.keep()
    late.abort()

    with blobs.open(PARTED.blob.sha256) as file:
        assert file.read() == DATA
    assert list((tmp_path / "incoming").iterdir()) == []


def age(folder: Path, seconds: float) -> None:
    for path in [*folder.rglob("*"), folder]:
        stat = path.stat()
        os.utime(path, (stat.st_atime - seconds, stat.st_mtime - seconds))


def test_leftover_parts_are_swept_after_a_day(store: DiskPartStore, tmp_path: Path) -> None:
    send(store, 1)
    (folder,) = (tmp_path / "incoming").iterdir()
    age(folder, DAY - 60)
    assert sweep_incoming(tmp_path / "incoming", DAY) == 0
    age(folder, 120)

    assert sweep_incoming(tmp_path / "incoming", DAY) == 1
    assert list((tmp_path / "incoming").iterdir()) == []


def test_what_is_in_use_is_not_swept(store: DiskPartStore, tmp_path: Path) -> None:
    upload = begun(store, 1, part(1)[:500])
    (folder,) = (tmp_path / "incoming").iterdir()
    age(folder, 2 * DAY)
    upload._file.write(part(1)[500:])
    upload._file.flush()  # the next bytes of a slow client: they touch the file, not its folder
    assert sweep_incoming(tmp_path / "incoming", DAY) == 0

    age(folder, 2 * DAY)
    with store.claim(PARTED):
        assert sweep_incoming(tmp_path / "incoming", DAY) == 0
    age(folder, 2 * DAY)
    send(store, 2)
    assert sweep_incoming(tmp_path / "incoming", DAY) == 0
    upload.abort()


def test_sweeping_beside_a_part_that_is_kept_this_moment(store: DiskPartStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = begun(store, 1, part(1))
    (folder,) = (tmp_path / "incoming").iterdir()
    age(folder, 2 * DAY)
    scandir = os.scandir

    def scan(path: str) -> "object":
        """As the folder was before the part was kept."""
        if Path(path) != folder:
            return scandir(path)
        monkeypatch.undo()
        entries = list(scandir(path))
        upload.keep()
        return nullcontext(entries)

    monkeypatch.setattr(os, "scandir", scan)
    assert sweep_incoming(tmp_path / "incoming", DAY) == 0
    assert (folder / "00001").exists()


def test_parts_completions_and_drops_in_any_order(store: DiskPartStore) -> None:
    """Whoever comes while a folder goes is told to send again, or that somebody else joins; nothing else."""
    told: list[str] = []

    def sends() -> None:
        try:
            send(store, 3)
        except Unavailable as error:
            told.append(error.message)

    def claims() -> None:
        with store.claim(PARTED):
            pass

    works = [sends, claims, lambda: store.drop(PARTED)] * 1500
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda work: work(), works))

    assert all("Send this part again" in message for message in told)


def test_a_large_part_is_joined_in_steps_and_little_memory(store: DiskPartStore, blobs: DiskBlobStore) -> None:
    piece, count = bytes(MIB), 80
    digest = hashlib.sha256()
    for _ in range(count):
        digest.update(piece)
    parted = Parted("r1", BlobRef(digest.hexdigest(), count * MIB), count * MIB)
    part = store.begin(parted, 1)
    for _ in range(count):
        part.write(piece)
    part.keep()
    tracemalloc.start()
    steps = sum(1 for _ in store.join(parted, [part.etag]))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert blobs.exists(parted.blob)
    assert steps == 2  # a thread is let go every 32 MiB
    assert peak < 8 * MIB

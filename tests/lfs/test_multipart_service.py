"""Multipart without HTTP: the size of parts, and who waits for whom."""

import dataclasses
from typing import Any

import pytest

from lfs.transfers.multipart import Multipart, choose_part_bytes
from lfs.transfers.wire import Completion
from storage.errors import Unavailable
from storage.limits import GIB, MIB, Limits
from storage.multipart.base import Parted
from storage.multipart.disk import DiskPartStore
from storage.records import BlobRef


def test_the_size_of_parts() -> None:
    def chosen(*sizes: int, **limits: int) -> int:
        return choose_part_bytes([BlobRef("a", size) for size in sizes], dataclasses.replace(Limits(), **limits))

    assert (chosen(), chosen(GIB), chosen(GIB + 1)) == (0, 0, 256 * MIB)
    for sizes in ((1 << 44,), (1 << 42,) * 100, (5 * GIB, 1)):
        part_bytes = chosen(*sizes)
        counts = [Parted("r", BlobRef("a", size), part_bytes).count for size in sizes]
        assert part_bytes % MIB == 0
        assert max(counts) <= 10_000
        assert sum(counts) <= 10_000 + len(sizes)
    assert Parted("r", BlobRef("a", 1 << 44), chosen(1 << 44, lfs_parts=10**9)).count <= 99_999  # keys have five digits


@pytest.fixture
def multipart(services: Any) -> tuple[Multipart, DiskPartStore]:
    parts = DiskPartStore(services.settings.data / "incoming", services.blobs)
    return Multipart(parts, None, services.possession, 0), parts


def test_who_waits_for_another_completion_does_not_wait_for_ever(multipart: tuple[Multipart, DiskPartStore]) -> None:
    service, parts = multipart
    parted = Parted("r1", BlobRef("ab" * 32, 1000), 1000)
    steps = service.complete(parted, Completion("ab" * 32, ("cd" * 32,)))
    with parts.claim(parted), pytest.raises(Unavailable, match="still joining"):
        list(steps)


def test_a_part_that_lost_its_folder_is_asked_for_again(multipart: tuple[Multipart, DiskPartStore]) -> None:
    service, parts = multipart
    parted = Parted("r1", BlobRef("ab" * 32, 4), 4)
    part = service.begin(parted, 1)
    part.write(b"data")
    parts.drop(parted)
    with pytest.raises(Unavailable, match="again"):
        service.keep(parted, part)

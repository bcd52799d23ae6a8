"""What a power failure may take: never bytes that have a name already, and never a name that was given (I4)."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hub.services import Services
from tests.contracts.packmaker import make_pack


@dataclass
class Disk:
    """What the disk was told, in order: ("sync", inode, size), ("name", folder's inode, path), ("folder", parent's inode, path)."""

    told: list[tuple[str, int, object]] = field(default_factory=list)

    def sync(self, fd: int) -> None:
        found = os.fstat(fd)
        self.told.append(("sync", found.st_ino, found.st_size))

    def name(self, source: Any, target: Any) -> None:
        found = os.stat(source)
        assert ("sync", found.st_ino, found.st_size) in self.told, f"{target} has a name before its bytes are safe"
        self.told.append(("name", os.stat(Path(target).parent).st_ino, str(target)))

    def lost(self) -> list[str]:
        """Names that a power failure could take now, since their folder was not synced after them."""
        return [
            str(path)
            for number, (what, folder, path) in enumerate(self.told)
            if what != "sync" and not any(one[:2] == ("sync", folder) for one in self.told[number + 1 :])
        ]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    sync, replace, mkdir = os.fsync, os.replace, os.mkdir

    def watched_mkdir(path: Any, *arguments: Any, **named: Any) -> None:
        mkdir(path, *arguments, **named)
        disk.told.append(("folder", os.stat(Path(path).parent).st_ino, str(path)))

    def watched_sync(fd: int) -> None:
        disk.sync(fd)
        sync(fd)

    def watched_replace(source: Any, target: Any) -> None:
        disk.name(source, target)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(os, "replace", watched_replace)
    monkeypatch.setattr(os, "mkdir", watched_mkdir)
    yield disk
    monkeypatch.undo()


def test_a_large_object_is_safe_before_it_has_its_name(services: Services, disk: Disk) -> None:
    blob = services.blobs.keep(b"bytes")

    assert [what for what, _, path in disk.told if blob.sha256 in str(path)] == ["name"]
    assert disk.lost() == []


def test_a_pack_is_safe_before_it_has_its_name(services: Services, disk: Disk, tmp_path: Path) -> None:
    made = make_pack(tmp_path, b"one", b"two")
    services.packs.add("r", made.info, made.pack, made.index)

    assert len([path for what, _, path in disk.told if what == "name" and made.info.id in str(path)]) == 2
    assert disk.lost() == []


def test_rows_are_safe_when_a_write_returns(services: Services) -> None:
    row = services.database.read(lambda tx: tx.one("PRAGMA synchronous"))

    assert row is not None
    assert list(row.values()) == [2]  # FULL: each commit is synced

"""Indexes as dulwich writes them, read as columns."""

from pathlib import Path

import pytest
from dulwich.pack import write_pack_index_v2

from storage.packs.packfile import StoredEntry, read_entries

ROWS = [(bytes([n]) * 20, offset, 7 * n) for n, offset in enumerate((12, (1 << 31) - 1, 1 << 31, (1 << 40) + 5, 99))]


def write(path: Path, rows: list[tuple[bytes, int, int]]) -> Path:
    with path.open("wb") as out:
        write_pack_index_v2(out, sorted(rows), b"\1" * 20)
    return path


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS])
def test_every_offset_comes_back(tmp_path: Path, rows: list[tuple[bytes, int, int]]) -> None:
    found = read_entries(write(tmp_path / "p.idx", rows).open("rb"))

    assert found == sorted(StoredEntry(offset, oid, crc) for oid, offset, crc in rows)

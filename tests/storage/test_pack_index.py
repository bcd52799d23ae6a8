"""Indexes as dulwich writes them, read as columns."""

import random
from pathlib import Path

import pytest
from dulwich.pack import write_pack_index_v2

from storage.packs.packfile import StoredEntry, _Ids, read_entries

ROWS = [(bytes([n]) * 20, offset, 7 * n) for n, offset in enumerate((12, (1 << 31) - 1, 1 << 31, (1 << 40) + 5, 99))]


def write(path: Path, rows: list[tuple[bytes, int, int]]) -> Path:
    with path.open("wb") as out:
        write_pack_index_v2(out, sorted(rows), b"\1" * 20)
    return path


@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS])
def test_every_offset_comes_back(tmp_path: Path, rows: list[tuple[bytes, int, int]]) -> None:
    found = read_entries(write(tmp_path / "p.idx", rows).open("rb"))

    assert found == sorted(StoredEntry(offset, oid, crc) for oid, offset, crc in rows)


@pytest.mark.parametrize("is_even", [True, False])
def test_s3_ids_are_found_where_they_should_be_and_elsewhere(tmp_path: Path, is_even: bool) -> None:
    """Ids that strangers chose need not be spread evenly."""
    dice = random.Random(3)
    head = b"" if is_even else b"\x80\0\0"
    rows = [(head + dice.randbytes(20 - len(head)), (1 << 31) - 1000 + 4 * n, 0) for n in range(2000)]
    with write(tmp_path / "p.idx", [*rows, ROWS[0]]).open("rb") as file, write(tmp_path / "none.idx", []).open("rb") as empty:
        ids, none = _Ids(file), _Ids(empty)

    assert [ids.offset(oid) for oid, _, _ in rows] == [offset for _, offset, _ in rows]
    assert [ids.offset(head + dice.randbytes(20 - len(head))) for _ in range(500)] == [None] * 500
    assert none.offset(b"\1" * 20) is None

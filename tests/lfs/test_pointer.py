"""Pointer files as git-lfs writes them, and what only looks like one."""

import pytest

from lfs.pointer import Pointer, parse, serialize

OID = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
CANONICAL = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 12345\n".encode()


def test_round_trip() -> None:
    assert parse(CANONICAL) == Pointer(OID, 12345)
    assert serialize(Pointer(OID, 12345)) == CANONICAL


def test_extensions_and_old_versions() -> None:
    extended = CANONICAL.replace(b"oid sha", b"ext-0-foo sha256:" + b"a" * 64 + b"\noid sha")

    assert parse(extended) == Pointer(OID, 12345)
    assert parse(CANONICAL.replace(b"git-lfs.github.com", b"hawser.github.com")) == Pointer(OID, 12345)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        CANONICAL.replace(b"version ", b"Version "),
        CANONICAL.replace(b"spec/v1", b"spec/v9"),
        CANONICAL.replace(b"sha256", b"sha1"),
        CANONICAL.replace(OID.encode(), OID.upper().encode()),
        CANONICAL.replace(b"12345", b"-1"),
        CANONICAL.replace(b"12345", b"1" * 19),
        CANONICAL + b"oid sha256:" + b"0" * 64 + b"\n",
        CANONICAL + b"x" * 1024,
        CANONICAL.replace(b"size 12345\n", b""),
    ],
)
def test_what_is_no_pointer(data: bytes) -> None:
    assert parse(data) is None

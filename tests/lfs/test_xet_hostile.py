"""Hostile xorbs and shards over HTTP: refused in words, nothing stored, and the process does not grow."""

import http.client
import os
import random
import re
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import lz4.frame
import pytest

from storage.limits import Limits
from tests.lfs.cas import Cas, cas_for
from tests.lfs.xetmaker import BOOKEND, BOTH, LZ4, RAW, TAG, Made, header, parts, shard, told

LIMITS = Limits()
ABSENT = "ab" * 32
MIB = 1 << 20


def fresh(count: int = 3) -> Made:
    return Made(parts(uuid.uuid4().int, count), LZ4)


def zeros_frame(size: int) -> bytes:
    """An LZ4 frame that inflates to that many zeros."""
    return bytes(lz4.frame.compress(bytes(size), block_size=lz4.frame.BLOCKSIZE_MAX4MB, store_size=False))


def bad_xorbs() -> dict[str, bytes]:
    good, bomb = Made(parts(1, 2)), zeros_frame(100_000)
    return {
        "empty": b"",
        "only a trailer": b"XETBLOB" + bytes(500),
        "truncated": good.body[:-1],
        "cut in a header": good.body + header(10, RAW, 10)[:5],
        "under another name": good.body,
        "another version": header(10, RAW, 10, version=9) + bytes(10),
        "another scheme": header(10, 7, 10) + bytes(10),
        "claims less than it holds": header(len(bomb), LZ4, 1000) + bomb,
        "claims more than it holds": header(len(bomb), LZ4, 131_072) + bomb,
        "raw that claims more": header(10, RAW, 11) + bytes(10),
        "a chunk over the limit": header(131_073, RAW, 131_073) + bytes(131_073),
        "no frame at all": header(100, LZ4, 100) + bytes(100),
        "text": b"<html>" * 1000,
        "too many chunks": (header(1, RAW, 1) + b"x") * (LIMITS.xet_xorb_chunks + 1),
    }


@pytest.mark.parametrize("fault", bad_xorbs())
def test_a_bad_xorb(hub: Any, snapshot: Any, fault: str) -> None:
    cas, before = cas_for(hub, hub.repo()), snapshot()
    answer = cas.bytes_as(ABSENT, bad_xorbs()[fault])

    assert answer.status == 400
    assert len(answer.json()["error"]) > 20
    assert answer.headers["X-Error-Message"]
    assert snapshot() == before


def test_gzip_and_other_encodings(hub: Any, snapshot: Any) -> None:
    cas, before = cas_for(hub, hub.repo()), snapshot()

    def status(encoding: str, body: bytes) -> int:
        path = f"{cas.path}/v1/xorbs/default/{ABSENT}"
        return int(hub.call("POST", path, body, token=cas.token, Content_Encoding=encoding).status)

    assert [status("gzip", b"nonsense"), status("br", b"x"), status("zstd", b"x")] == [400, 415, 415]
    assert snapshot() == before


# Shards


def bad_shards(made: Made) -> dict[str, bytes]:
    good, head = told(made.of(0, 2)), TAG + struct.pack("<QQ", 2, 0)
    return {
        "empty": b"",
        "a footer's worth of nothing": bytes(200),
        "no bookend": shard(good)[:-96],
        "no list of xorbs": shard(good)[:-48],
        "no proofs": shard(told(made.of(0, 2), flags=1 << 30)),
        "no SHA-256": shard(told(made.of(0, 2), flags=1 << 31)),
        "terms that are not there": head + bytes(32) + struct.pack("<II8x", BOTH, 1000) + bytes(480),
        "chunks that are not there": shard()[:-48] + bytes(32) + struct.pack("<IIII", 0, 1 << 31, 0, 0) + BOOKEND,
        "a proof of nothing": shard(told(made.of(0, 2), proofs=(bytes(32),))),
        "a xorb of nobody": shard(told(fresh().of(0, 2))),
        "chunks behind the end": shard(told(made.of(0, 2), terms=((made.hash, len(made.of(0, 2).data), 2, 4),))),
        "a wrong length": shard(told(made.of(0, 2), terms=((made.hash, 1, 0, 2),))),
        "another file hash": shard(told(made.of(0, 2), hash=bytes(32))),
        "another SHA-256": shard(told(made.of(0, 2), sha256=ABSENT)),
        "one good file and a liar": shard(told(made.of(0, 1)), told(made.of(0, 2), hash=bytes(32))),
    }


@pytest.mark.parametrize("fault", bad_shards(fresh()))
def test_a_bad_shard(hub: Any, snapshot: Any, fault: str) -> None:
    cas, made = cas_for(hub, hub.repo()), fresh()
    assert cas.xorb(made).status == 200
    before = snapshot()
    answer = cas.shard(bad_shards(made)[fault])

    assert answer.status == 400
    assert len(answer.json()["error"]) > 20
    assert snapshot() == before


def test_more_than_the_limits_of_a_shard(hub: Any) -> None:
    cas = cas_for(hub, hub.repo())
    many = TAG + struct.pack("<QQ", 2, 0) + bytes(32) + struct.pack("<II8x", BOTH, LIMITS.xet_shard_terms + 1)

    assert cas.shard(many).status == cas.shard(many, 2).status == 413
    assert "Send fewer" in cas.shard(many).json()["error"]


def test_more_chunks_than_a_shard_may_name(hub: Any) -> None:
    """A few kilobytes over one xorb of 8192 chunks of one byte."""
    cas, made = cas_for(hub, hub.repo()), Made(tuple(bytes([at & 255]) for at in range(LIMITS.xet_xorb_chunks)))
    assert cas.xorb(made).status == 200
    run = made.of(0, LIMITS.xet_xorb_chunks)
    body = shard(told(run))
    terms = LIMITS.xet_shard_chunks // LIMITS.xet_xorb_chunks + 1
    at = 48 + 48
    huge = body[:48] + body[48:80] + struct.pack("<II8x", BOTH, terms) + body[at : at + 48] * terms + body[at + 48 : at + 96] * terms
    answer = cas.shard(huge + body[at + 96 :])

    assert answer.status == 413
    assert "chunks. Send fewer files" in answer.json()["error"]


# Memory


def high_water(pid: int) -> int:
    """The most memory that the process ever had, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"))
    assert found is not None
    return int(found[1]) * 1024


def stream(cas: Cas, path: str, pieces: Iterator[bytes]) -> int:
    """The status of an upload of unknown length; the hub may answer and hang up in the midst of it."""
    connection = http.client.HTTPConnection(urlsplit(cas.hub.url).netloc, timeout=60)
    headers = {"Authorization": f"Bearer {cas.token}", "Transfer-Encoding": "chunked"}
    try:
        connection.request("POST", cas.path + path, pieces, encode_chunked=True, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def hostile_xorbs(cas: Cas) -> None:
    bomb, piece = zeros_frame(100 * MIB)[:131_072], os.urandom(131_072)
    chunk = header(len(piece), RAW, len(piece)) + piece
    whole = zeros_frame(16 * MIB)[:131_072]
    assert cas.bytes_as(ABSENT, header(len(bomb), LZ4, 131_072) + bomb).status == 400
    assert cas.bytes_as(ABSENT, (header(len(whole), LZ4, 131_072) + whole) * 20).status == 400
    assert stream(cas, f"/v1/xorbs/default/{ABSENT}", iter([chunk] * 480)) == 400  # 60 MiB under a false name
    assert stream(cas, f"/v1/xorbs/default/{ABSENT}", iter([chunk] * 560)) == 413
    assert stream(cas, f"/v1/xorbs/default/{ABSENT}", iter([b"XETBLOB"] + [piece] * 560)) == 413
    assert cas.bytes_as(ABSENT, (header(1, RAW, 1) + b"x") * 1_000_000).status == 400


def hostile_shards(cas: Cas) -> None:
    made = Made(tuple(bytes([at & 255]) for at in range(LIMITS.xet_xorb_chunks)))
    assert cas.xorb(made).status == 200
    runs = [made.of(0, LIMITS.xet_xorb_chunks)] * 50
    assert cas.shard(shard(told(*runs, hash=bytes(32)))).status == 400
    assert cas.shard(shard() + bytes(4 * MIB)).status == 200
    assert cas.shard(random.Random(1).randbytes(4 * MIB)).status == 400


def test_memory_stays_where_it_was(launcher: Any) -> None:
    launcher.users()
    hub = launcher.start()
    try:
        cas, made = cas_for(hub, hub.repo()), fresh()
        cas.xorb(made)
        cas.shard(shard(told(made.of(0, 3))))
        before = high_water(hub.process.pid)
        hostile_xorbs(cas)
        hostile_shards(cas)

        assert high_water(hub.process.pid) - before < 60 * MIB
        hub.wait_until_tidy()
    finally:
        assert hub.stop() == 0

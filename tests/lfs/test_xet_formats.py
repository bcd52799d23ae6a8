"""Xet hashes, xorbs and shards as bytes: against figures of xet-core's tests, and against liars."""

import json
import random
import struct
from array import array
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
from blake3 import blake3

from lfs.xet.hashes import Chunks, chunk_hash, file_hash, from_text, range_hash, to_text, xorb_hash
from lfs.xet.shard import parse_shard, write_dedup_shard
from lfs.xet.xorb import XorbDecoder
from storage.errors import Invalid, TooLarge
from storage.limits import Limits
from tests.lfs.xetmaker import BOOKEND, BOTH, GROUPED, LZ4, RAW, TAG, Made, chunk_record, header, parts, shard, told

# Lists of chunks with the hash of their xorb and file: figures from the test `test_correctness` of xet-core's aggregated_hashes.rs.
REFERENCE = json.loads((Path(__file__).parent / "xet_reference.json").read_text("utf-8"))
LIMITS = Limits()
CHUNK_KEY = "102 151 245 119 91 149 80 222 49 53 203 172 165 151 24 28 157 228 33 16 155 235 43 88 180 208 176 75 147 173 242 41"
RANGE_KEY = "127 24 87 214 206 86 237 102 18 127 249 19 231 165 195 243 164 205 38 213 181 219 73 230 65 36 152 127 40 251 148 195"


def decode(*pieces: bytes, limits: Limits = LIMITS) -> tuple[bytes, Chunks, bytes]:
    """The hash, the chunks and the raw bytes."""
    raw: list[bytes] = []
    decoder = XorbDecoder(lambda data: raw.append(bytes(data)), limits)
    for piece in pieces:
        decoder.feed(piece)
    value, chunks = decoder.finish()
    return value, chunks, b"".join(raw)


def refusal(*pieces: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(Invalid) as caught:
        decode(*pieces, limits=limits)
    return caught.value.message


@pytest.mark.parametrize("case", REFERENCE, ids=lambda case: f"{len(case['chunks'])}-{case['xorb'][:6]}")
def test_trees_of_the_reference(case: Any) -> None:
    values = [from_text(text) for text, _ in case["chunks"]]
    nodes = Chunks(b"".join(values), array("Q", [size for _, size in case["chunks"]]))

    assert to_text(xorb_hash(nodes)) == case["xorb"]
    assert to_text(file_hash([nodes])) == case["file"]
    assert to_text(file_hash([nodes[:1], nodes[1:2], nodes[2:]])) == case["file"]


def test_keys_are_those_of_the_specification() -> None:
    keys = [bytes(int(number) for number in key.split()) for key in (CHUNK_KEY, RANGE_KEY)]
    run = Made(parts(1)).chunks

    assert chunk_hash(b"some data") == blake3(b"some data", key=keys[0]).digest()
    assert range_hash(run) == blake3(run.hashes, key=keys[1]).digest()


def test_text_of_a_hash_turns_each_eight_bytes_round() -> None:
    value = bytes(range(32))

    assert to_text(value) == "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918"
    assert from_text(to_text(value)) == value


@pytest.mark.parametrize(
    "text", ["", "ab", "A" * 64, "g" * 64, "0" * 63 + "\n", "0x" + "0" * 62, "\u0660" * 64, "0" * 65, "-" + "0" * 63, "_" * 64]
)
def test_what_is_no_hash(text: str) -> None:
    with pytest.raises(Invalid, match="64 lower-case hex digits"):
        from_text(text)


@pytest.mark.parametrize("scheme", [RAW, LZ4, GROUPED])
@pytest.mark.parametrize("step", [1, 7, 1001, 1 << 20])
def test_decoding_in_pieces(scheme: int, step: int) -> None:
    made = Made(parts(5, 4, 700), scheme)
    value, chunks, raw = decode(*[made.body[start : start + step] for start in range(0, len(made.body), step)])

    assert (value, raw) == (made.hash, b"".join(made.parts))
    assert chunks == made.chunks


@pytest.mark.parametrize("size", range(1, 10))
@pytest.mark.parametrize("scheme", [LZ4, GROUPED])
def test_every_length(size: int, scheme: int) -> None:
    made = Made((bytes(range(size)),), scheme)

    assert decode(made.body)[2] == made.parts[0]


def test_schemes_may_change_within_a_xorb() -> None:
    data = parts(7, 3)
    body = b"".join(chunk_record(part, scheme) for part, scheme in zip(data, (GROUPED, RAW, LZ4), strict=True))

    assert decode(body)[0] == Made(data).hash


@pytest.mark.parametrize("step", [1, 5, 1 << 20])
def test_an_old_trailer_is_passed_over(step: int) -> None:
    made = Made(parts(9))
    body = made.body + b"XETBLOB" + bytes([1]) + random.Random(1).randbytes(5000)

    assert decode(*[body[start : start + step] for start in range(0, len(body), step)])[0] == made.hash


def test_a_trailer_that_is_cut_off_in_its_name() -> None:
    assert "ends inside chunk 3" in refusal(Made(parts(9)).body + b"XETBL")


@pytest.mark.parametrize("body", [b"", b"XETBLOB" + bytes(100)])
def test_no_chunk(body: bytes) -> None:
    assert "holds no chunk" in refusal(body)


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 500, 1007])
def test_truncated(cut: int) -> None:
    assert "ends inside chunk 0" in refusal(Made(parts(2)).body[:cut])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (header(10, RAW, 10, version=1) + bytes(10), "unknown version 1"),
        (header(10, 3, 10) + bytes(10), "scheme 3"),
        (header(10, 255, 10) + bytes(10), "scheme 255"),
        (header(0, RAW, 0), "claims 0 bytes in 0"),
        (header(10, RAW, 0) + bytes(10), "claims 0 bytes in 10"),
        (header(0, LZ4, 10), "claims 10 bytes in 0"),
        (header(9, RAW, 10) + bytes(10), "does not hold the 10 bytes"),
        (header(11, RAW, 10) + bytes(11), "does not hold the 10 bytes"),
        (header(131073, RAW, 131073) + bytes(131073), "1 to 131072 are allowed"),
        (header((1 << 24) - 1, RAW, 10), "1 to 131072 are allowed"),
        (header(10, LZ4, (1 << 24) - 1), "1 to 131072 are allowed"),
        (header(20, LZ4, 20) + bytes(20), "does not hold the 20 bytes"),
    ],
)
def test_lying_headers(body: bytes, words: str) -> None:
    assert words in refusal(body)


@pytest.mark.parametrize("claimed", [1, 99, 101, 131072])
def test_frames_that_hold_more_or_less_than_the_header_says(claimed: int) -> None:
    frame = lz4.frame.compress(bytes(100))

    assert f"does not hold the {claimed} bytes" in refusal(header(len(frame), LZ4, claimed) + frame)


def test_two_frames_or_a_tail_in_one_chunk() -> None:
    frame = lz4.frame.compress(bytes(100))

    assert "does not hold" in refusal(header(2 * len(frame), LZ4, 200) + frame + frame)
    assert "does not hold" in refusal(header(len(frame) + 1, LZ4, 100) + frame + b"x")
    assert "does not hold" in refusal(header(len(frame) - 1, LZ4, 100) + frame[:-1])


def test_a_frame_that_inflates_to_100_mb_is_not_inflated() -> None:
    bomb = lz4.frame.compress(bytes(16 << 20), block_linked=True)[:131072]
    whole = lz4.frame.compress(bytes(1 << 24), store_size=True)

    assert "does not hold the 131072 bytes" in refusal(header(len(bomb), LZ4, 131072) + bomb)
    assert "does not hold the 1000 bytes" in refusal(header(len(whole), LZ4, 1000) + whole)


def test_more_chunks_than_allowed() -> None:
    limits = Limits(xet_xorb_chunks=3)

    assert len(decode(Made(parts(1, 3, 1)).body, limits=limits)[1]) == 3
    assert "more than 3 chunks" in refusal(Made(parts(1, 4, 1)).body, limits=limits)


def test_damaged_frames_are_refused_in_words() -> None:
    """Any flipped bits: another xorb, or a refusal; never another exception."""
    source, good = random.Random(3), Made(parts(3, 2, 300), GROUPED)
    refusals = []
    for _ in range(2000):
        body = bytearray(good.body)
        for _ in range(source.randrange(1, 4)):
            body[source.randrange(len(body))] = source.randrange(256)
        try:
            decode(bytes(body))
        except Invalid as error:
            refusals.append(error.message)

    assert len(refusals) > 100
    assert all("chunk" in message.lower() for message in refusals)


def test_a_shard() -> None:
    one, two = Made(parts(1)), Made(parts(2))
    files = [told(one.of(0, 3), two.of(1, 2)), told(two.of(0, 1))]
    info = b"".join((b"\x01" * 32, struct.pack("<IIII", 0, 2, 5, 5), bytes(96)))
    parsed = parse_shard(shard(*files, xorbs=info, tail=b"a footer of any kind"), LIMITS)

    assert [(file.hash, file.sha256) for file in parsed] == [(file.hash, file.sha256) for file in files]
    assert [(term.xorb, term.size, term.first, term.end) for term in parsed[0].terms] == list(files[0].terms)
    assert [term.range_hash for term in parsed[0].terms] == list(files[0].proofs)
    assert parsed[0].size == sum(len(run.data) for run in (one.of(0, 3), two.of(1, 2)))


def test_a_shard_without_files() -> None:
    assert parse_shard(shard(), LIMITS) == []


def test_a_shard_cut_off_anywhere() -> None:
    body = shard(told(Made(parts(1)).of(0, 3)))
    for end in range(0, len(body), 7):
        with pytest.raises(Invalid, match="cut off"):
            parse_shard(body[:end], LIMITS)


@pytest.mark.parametrize("lie", [{"version": 1}, {"version": 3}, {"version": 1 << 63}])
def test_versions_of_shards(lie: Any) -> None:
    with pytest.raises(Invalid, match="no shard of version 2"):
        parse_shard(shard(**lie), LIMITS)
    with pytest.raises(Invalid, match="no shard of version 2"):
        parse_shard(b"X" + shard()[1:], LIMITS)


@pytest.mark.parametrize("flags", [0, 1 << 30, 1 << 31])
def test_files_without_proofs(flags: int) -> None:
    with pytest.raises(Invalid, match="git repositories need both"):
        parse_shard(shard(told(Made(parts(1)).of(0, 3), flags=flags)), LIMITS)


@pytest.mark.parametrize("count", [5, LIMITS.xet_shard_terms])
def test_counts_that_lie_upwards(count: int) -> None:
    body = TAG + struct.pack("<QQ", 2, 0) + bytes(32) + struct.pack("<II8x", BOTH, count) + bytes(48 * 4)
    with pytest.raises(Invalid, match="cut off"):
        parse_shard(body, LIMITS)


def test_counts_over_the_limits() -> None:
    huge = TAG + struct.pack("<QQ", 2, 0) + bytes(32) + struct.pack("<II8x", BOTH, (1 << 32) - 1)
    with pytest.raises(TooLarge, match="Send fewer"):
        parse_shard(huge, LIMITS)
    with pytest.raises(TooLarge, match="Send fewer"):
        parse_shard(shard(*[told() for _ in range(3)]), Limits(xet_shard_files=2))


def test_xorb_records_that_lie_about_their_length() -> None:
    with pytest.raises(Invalid, match="cut off"):
        parse_shard(shard()[:-48] + bytes(32) + struct.pack("<IIII", 0, (1 << 32) - 1, 0, 0) + BOOKEND, LIMITS)


def test_a_dedup_shard_reads_back() -> None:
    made = Made(parts(4, 5))
    body = write_dedup_shard([(made.hash, made.chunks)], 1_900_000_000)
    footer = body[-200:]
    (version, files_at, xorbs_at), (start,) = struct.unpack("<3Q", footer[:24]), struct.unpack("<Q", footer[-8:])
    value, _, count, size, _ = struct.unpack("<32sIIII", body[xorbs_at : xorbs_at + 48])
    rows = [struct.unpack("<32sII8x", body[at : at + 48]) for at in range(xorbs_at + 48, start - 48, 48)]

    assert (version, files_at, start, struct.unpack("<Q", footer[112:120])[0]) == (1, 48, len(body) - 200, 1_900_000_000)
    assert (body[:32], body[files_at:xorbs_at], body[start - 48 : start]) == (TAG, BOOKEND, BOOKEND)
    assert footer[72:104] == bytes(32)
    assert (value, count, size) == (made.hash, 5, made.chunks.size)
    assert [(row[0], row[2]) for row in rows] == [(made.chunks.hash_at(at), made.chunks.sizes[at]) for at in range(5)]
    assert [row[1] for row in rows] == [sum(made.chunks.sizes[:at]) for at in range(5)]
    assert parse_shard(body, LIMITS) == []

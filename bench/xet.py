"""Xet ingest of a running hub: xorbs of 64 MiB and one shard, as hf_xet sends them but made beforehand, so that the client costs little.

    xet.py URL REPOSITORY TOKEN --pid PID [--xorbs 16] [--compressed]

Prints wall and server CPU seconds, and GB a second of server CPU: of raw bytes received, hashed, rebuilt, hashed again and stored.
"""

import argparse
import asyncio
import hashlib
import os
import random
import struct
import time

import aiohttp
import lz4.frame

from lfs.xet.hashes import Chunks, chunk_hash, file_hash, range_hash, to_text, xorb_hash

CHUNK, CHUNKS = 65536, 1023
TAG = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
BOOKEND = b"\xff" * 32 + bytes(16)


def make_xorb(dice: random.Random, compressed: bool) -> tuple[bytes, bytes, Chunks]:
    """(serialized, raw, chunks)."""
    from array import array

    raw = dice.randbytes(CHUNK * CHUNKS // 4) * 4 if compressed else dice.randbytes(CHUNK * CHUNKS)
    if compressed:
        raw = b"".join(bytes(dice.randbytes(CHUNK // 4)) * 4 for _ in range(CHUNKS))
    packed, hashes = [], []
    for start in range(0, len(raw), CHUNK):
        chunk = raw[start : start + CHUNK]
        hashes.append(chunk_hash(chunk))
        data = lz4.frame.compress(chunk) if compressed else chunk
        packed.append(bytes(1) + len(data).to_bytes(3, "little") + bytes([int(compressed)]) + CHUNK.to_bytes(3, "little") + data)
    return b"".join(packed), raw, Chunks(b"".join(hashes), array("I", [CHUNK] * CHUNKS))


def make_shard(xorbs: list[Chunks], sha256: str) -> bytes:
    terms = [struct.pack("<32sIIII", xorb_hash(x), 0, x.size, 0, len(x)) for x in xorbs]
    proofs = [range_hash(x) + bytes(16) for x in xorbs]
    digest = struct.pack("<4Q", *(int(sha256[at : at + 16], 16) for at in range(0, 64, 16)))
    head = struct.pack("<32sII8x", file_hash(xorbs), 3 << 30, len(xorbs))
    return TAG + struct.pack("<QQ", 2, 0) + head + b"".join(terms + proofs) + digest + bytes(16) + BOOKEND + BOOKEND


def cpu(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("repository")
    parser.add_argument("token")
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--xorbs", type=int, default=16)
    parser.add_argument("--compressed", action="store_true")
    options = parser.parse_args()
    dice, digest = random.Random(), hashlib.sha256()
    made = [make_xorb(dice, options.compressed) for _ in range(options.xorbs)]
    for _, raw, _ in made:
        digest.update(raw)
    shard = make_shard([chunks for _, _, chunks in made], digest.hexdigest())
    size = sum(len(raw) for _, raw, _ in made)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(600)) as session:
        hub = {"Authorization": f"Bearer {options.token}"}
        async with session.get(f"{options.url}/api/models/{options.repository}/xet-write-token/main", headers=hub) as answer:
            token = await answer.json()
        cas = {"Authorization": f"Bearer {token['accessToken']}"}

        async def send(path: str, body: bytes) -> None:
            async with session.post(f"{token['casUrl']}/v1/{path}", data=body, headers=cas) as answer:
                assert answer.status == 200, await answer.text()

        marks = [(time.perf_counter(), cpu(options.pid))]
        await asyncio.gather(*(send(f"xorbs/default/{to_text(xorb_hash(chunks))}", body) for body, _, chunks in made))
        marks.append((time.perf_counter(), cpu(options.pid)))
        await send("shards", shard)
        marks.append((time.perf_counter(), cpu(options.pid)))
    print("| step | wall s | server CPU s | GB/s of CPU |\n|---|---|---|---|")
    for name, (before, after) in {"xorbs": marks[:2], "shard": marks[1:], "both": [marks[0], marks[2]]}.items():
        spent = after[1] - before[1]
        print(f"| {name} | {after[0] - before[0]:.2f} | {spent:.2f} | {size / 1e9 / max(spent, 0.01):.2f} |")


asyncio.run(main())

"""A process that opens packs of a shared cache in turn and reads each whole. Its task comes as JSON on standard input."""

import dataclasses
import hashlib
import json
import random
import sys
from pathlib import Path

from storage.blobs.bucket import Bucket, S3Config
from storage.filecache import FileCache
from storage.packs.packfile import PackFile
from storage.packs.s3 import S3PackFiles
from storage.records import PackInfo


def task(config: S3Config, folder: Path, limit: int, repo_id: str, infos: list[PackInfo], seed: int) -> str:
    packs = [dataclasses.astuple(info) for info in infos]
    return json.dumps([dataclasses.asdict(config), str(folder), limit, repo_id, packs, seed])


def main() -> None:
    config, folder, limit, repo_id, packs, seed = json.load(sys.stdin)
    bucket = Bucket(S3Config(**config))
    files = S3PackFiles(bucket, FileCache(Path(folder) / "cache", limit), Path(folder) / "incoming")
    dice, held = random.Random(seed), list[PackFile]()
    for _ in range(150):
        held = [*held[-3:], open_pack(files, repo_id, PackInfo(*dice.choice(packs)))]
        assert all(is_whole(pack) for pack in held)
    bucket.close()
    print("done")  # noqa: T201


def open_pack(files: S3PackFiles, repo_id: str, info: PackInfo) -> PackFile:
    return PackFile(info, files.open(repo_id, info, "pack"), files.open(repo_id, info, "idx"))


def is_whole(pack: PackFile) -> bool:
    data = bytes(pack.data)
    return hashlib.sha1(data[:-20], usedforsecurity=False).hexdigest() == pack.info.id and len(pack.oids()) == pack.info.objects


if __name__ == "__main__":
    main()

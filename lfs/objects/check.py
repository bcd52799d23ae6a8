"""Integrity of the pool, for `kohakuhub admin check`: every row's object is there, with its size and its bytes."""

import hashlib
from collections.abc import Iterator
from functools import partial

from storage.blobs.base import BlobStore
from storage.database.base import Database, Tx
from storage.errors import ObjectNotFound
from storage.limits import MIB
from storage.records import BlobRef

_PAGE = 500


def check_pool(database: Database, blobs: BlobStore) -> Iterator[str]:
    """One line a finding."""
    last = ""
    while page := database.read(partial(_page, last=last)):
        for blob in page:
            finding = _check(blobs, blob)
            if finding:
                yield f"large object {blob.sha256}: {finding}"
        last = page[-1].sha256


def _page(tx: Tx, last: str) -> list[BlobRef]:
    rows = tx.all("SELECT sha256, size FROM blobs WHERE sha256 > :last ORDER BY sha256 LIMIT :limit", {"last": last, "limit": _PAGE})
    return [BlobRef(row["sha256"], row["size"]) for row in rows]


def _check(blobs: BlobStore, blob: BlobRef) -> str:
    digest, size = hashlib.sha256(), 0
    try:
        with blobs.open(blob.sha256) as file:
            while data := file.read(MIB):
                digest.update(data)
                size += len(data)
    except ObjectNotFound:
        return "its bytes are missing"
    if size != blob.size:
        return f"it has {size} bytes instead of {blob.size}"
    return "" if digest.hexdigest() == blob.sha256 else f"its bytes hash to {digest.hexdigest()}"

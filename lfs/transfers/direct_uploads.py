"""Uploads that clients send to S3 without the hub: which objects, where to, and the URLs.

An object that came so is in quarantine, and no repository has it, until the client verifies it here or completes its parts: then the hub
reads it all. git-lfs and huggingface_hub always do; a push or commit of an object that nobody verified is refused as if it had not come.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from lfs.transfers.actions import Actions
from storage.limits import Limits
from storage.multipart.base import Parted, Quarantine
from storage.records import BlobRef

_AT_ONCE = 8  # questions to S3 for one batch


class DirectUploads:
    def __init__(self, quarantine: Quarantine | None, actions: Actions, limits: Limits) -> None:
        self._quarantine = quarantine
        self._actions = actions
        self._limits = limits

    def begin(self, wanted: Sequence[Parted], origin: str) -> dict[BlobRef, Parted]:
        """Those of `wanted` that go to S3, each with its place there. `part_bytes` of 0 means the basic transfer: that is one part.

        Small objects go through the hub: their way by S3 takes more requests than bytes. `origin` is the hub's own.
        """
        quarantine = self._quarantine
        if quarantine is None or quarantine.origin in ("", origin):
            return {}
        large = {parted.blob: parted for parted in wanted if parted.blob.size > self._limits.lfs_direct_bytes}
        sized = [parted if parted.part_bytes else replace(parted, part_bytes=parted.blob.size) for parted in large.values()]
        taken = [parted for parted in sized if quarantine.takes(parted)]
        if not taken:
            return {}
        with ThreadPoolExecutor(min(_AT_ONCE, len(taken))) as threads:
            begun = threads.map(lambda parted: replace(parted, direct=quarantine.begin()), taken)
            return {parted.blob: parted for parted in begun}

    def part_url(self, parted: Parted, number: int) -> str:
        assert self._quarantine is not None
        return self._quarantine.part_url(parted, number, self._limits.multipart_seconds)

    def actions(self, parted: Parted, origin: str) -> dict[str, Any]:
        """Of the basic transfer. The object may be verified for longer than its upload may begin: it may take long on its way."""
        assert self._quarantine is not None
        seconds = self._limits.multipart_seconds
        href = self._quarantine.part_url(parted, 1, self._actions.seconds)
        return {
            "upload": {"href": href, "expires_in": self._actions.seconds},
            "verify": {"href": self._actions.admit_url(origin, parted, seconds), "expires_in": seconds},
        }

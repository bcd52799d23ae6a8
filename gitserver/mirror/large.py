"""LFS objects of the source, streamed into the pool, several at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from gitserver.mirror.batch import PAGE, Item, LfsServer, action_of, fault_of
from gitserver.mirror.source import MirrorSource
from lfs.objects.possession import Possession
from storage.blobs.base import BlobStore
from storage.errors import HubError, Invalid, TooLarge, Unavailable
from storage.limits import MIB, Limits
from storage.outbound.client import Outbound, OutboundReply, check_status
from storage.records import BlobRef

_MOST_SHOWN = 20

Tell = Callable[[str, int, int], None]


class LargeSource:
    """`check` stops the work by raising; `tell` is told how many of how many are here."""

    def __init__(
        self, outbound: Outbound, source: MirrorSource, blobs: BlobStore, possession: Possession, limits: Limits, check: Callable[[], None]
    ) -> None:
        self._outbound = outbound
        self._server = LfsServer(outbound, source.base, source.login_for, check)
        self._blobs = blobs
        self._possession = possession
        self._limits = limits
        self._check = check

    def bring(self, repo_id: str, blobs: Sequence[BlobRef], tell: Tell) -> None:
        """All of them, each noted as the repository's once its bytes are durable. Raises Invalid with the list of those that the source
        does not have, after the others came.
        """
        total = sum(blob.size for blob in blobs)
        if total > self._limits.import_lfs_bytes:
            raise TooLarge(f"The LFS objects of the source come to {total} bytes; {self._limits.import_lfs_bytes} are taken at once.")
        lacking: list[str] = []
        for start in range(0, len(blobs), PAGE):
            page = blobs[start : start + PAGE]
            tell("Fetching large files", start, len(blobs))
            actions = self._server.ask("download", page, len(blobs))
            with ThreadPoolExecutor(self._limits.import_lfs_at_once, "import-lfs") as pool:
                jobs = [pool.submit(self._one, repo_id, blob, actions.get(blob.sha256, {})) for blob in page]
                try:
                    for count, job in enumerate(jobs, 1):
                        if reason := job.result():
                            lacking.append(reason)
                        tell("Fetching large files", start + count, len(blobs))
                finally:
                    pool.shutdown(cancel_futures=True)
        if lacking:
            shown = "; ".join(lacking[:_MOST_SHOWN])
            more = f"; and {len(lacking) - _MOST_SHOWN} more" if len(lacking) > _MOST_SHOWN else ""
            raise Invalid(f"{len(lacking)} LFS objects cannot be had from the source, so its refs are not taken: {shown}{more}.")

    def _one(self, repo_id: str, blob: BlobRef, item: Item) -> str:
        """Why it cannot be had; empty when it is here."""
        self._check()
        action = action_of(item, "download")
        if action is None:
            return f"{blob.sha256} ({fault_of(item) or 'it offers no download'})"
        try:
            with self._outbound.send(self._server.request("GET", action, item), blob.size + 1, self._check) as reply:
                check_status(reply, f"LFS object {blob.sha256}")
                self._keep(blob, reply)
        except Unavailable:
            raise  # another try may help
        except HubError as failed:
            return f"{blob.sha256} ({failed.message})"
        self._possession.link(repo_id, blob)
        return ""

    def _keep(self, blob: BlobRef, reply: OutboundReply) -> None:
        upload = self._blobs.upload(blob)
        try:
            while data := reply.read(MIB):
                upload.write(data)
            upload.commit()
        finally:
            upload.abort()

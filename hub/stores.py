"""Where bytes lie: on the local disk, or on S3 when `KOHAKU_HUB_S3_ENDPOINT` is set."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hub.settings import Settings
from storage.blobs.base import BlobStore, StagingStore
from storage.blobs.disk import DiskBlobStore
from storage.blobs.staging import DiskStaging
from storage.disk_space import DiskSpace
from storage.errors import HubError, Unavailable
from storage.filecache import FileCache
from storage.files import make_durable_dir
from storage.limits import Limits
from storage.multipart.base import PartStore, Quarantine
from storage.multipart.disk import DiskPartStore
from storage.packs.base import PackFiles
from storage.packs.disk import DiskPackFiles

if TYPE_CHECKING:
    from storage.blobs.bucket import Bucket
    from storage.multipart.quarantine import S3Quarantine
    from storage.multipart.s3 import S3PartStore

_LEFTOVER_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class Remote:
    """What stands on S3."""

    bucket: "Bucket"
    parts: "S3PartStore"
    quarantine: "S3Quarantine"

    def check(self) -> None:
        """See that the server does what is asked of it. Raises HubError with the fix."""
        self.bucket.check()
        if not self.quarantine.origin:
            return
        try:
            self.quarantine.check()
        except HubError as error:
            raise Unavailable(f"{error.message} Uploads without the hub need this; set KOHAKU_HUB_S3_PROXY=true to do without.") from error

    def sweep(self, multipart_seconds: int) -> None:
        """What crashes and clients left behind, once no URL can reach it any more."""
        lives = 2 * multipart_seconds
        for prefix in ("quarantine/", ""):  # clients leave many of the first kind
            self.bucket.abort_older(prefix, max(_LEFTOVER_SECONDS, lives))
        self.parts.sweep(time.time() - lives)
        self.quarantine.sweep(time.time() - lives)


@dataclass(frozen=True, slots=True)
class Stores:
    """`space` is that of the data directory, where rows, and all that is on its way in, lie in any case."""

    space: DiskSpace
    blobs: BlobStore
    staging: StagingStore
    parts: PartStore
    packs: PackFiles
    remote: Remote | None

    @property
    def quarantine(self) -> Quarantine | None:
        """None where there is no S3."""
        return self.remote.quarantine if self.remote is not None else None

    def drop(self, prefix: str) -> None:
        """Remove all keys of the bucket that begin so."""
        if self.remote is not None:
            for found in self.remote.bucket.list(prefix):
                self.remote.bucket.remove(found.key)

    def close(self) -> None:
        if self.remote is not None:
            self.remote.bucket.close()


def open_stores(settings: Settings, data: Path, limits: Limits) -> Stores:
    space = DiskSpace(data, limits.disk_reserve_bytes)
    if settings.s3_endpoint:
        return _open_s3(settings, data, limits, space)
    blobs = DiskBlobStore(data / "pool", data / "incoming", space)
    staging = DiskStaging(data / "staged", data / "incoming")
    return Stores(space, blobs, staging, DiskPartStore(data / "incoming", blobs), DiskPackFiles(data / "git"), None)


def _open_s3(settings: Settings, data: Path, limits: Limits, space: DiskSpace) -> Stores:
    try:  # boto3 comes with the extra `cluster`, which a hub on the local disk does not need
        from storage.blobs.bucket import Bucket, S3Config
        from storage.blobs.presign import Signer
        from storage.blobs.s3 import S3BlobStore
        from storage.blobs.s3_staging import S3Staging
        from storage.multipart.quarantine import S3Quarantine
        from storage.multipart.s3 import S3PartStore
        from storage.packs.s3 import S3PackFiles
    except ModuleNotFoundError as error:
        raise Unavailable(f"S3 needs the Python package {error.name}. Install it with: pip install 'kohakuhub[cluster]'") from error
    config = S3Config(
        endpoint=settings.s3_endpoint.rstrip("/"),
        access_key=settings.s3_access_key,
        secret_key=settings.s3_secret_key.get_secret_value(),
        bucket=settings.s3_bucket,
        region=settings.s3_region,
        connections=settings.threads,
        connect_seconds=limits.s3_connect_seconds,
        read_seconds=limits.s3_read_seconds,
    )
    is_direct = settings.s3_public_endpoint and not settings.s3_proxy
    signer = Signer(config, settings.s3_public_endpoint, limits.action_seconds) if is_direct else None
    bucket = Bucket(config)
    blobs = S3BlobStore(bucket, data / "incoming", signer)
    parts = S3PartStore(bucket, data / "incoming", blobs)
    cached = data / "pack-cache"  # not `git`: what a hub without S3 put there is no copy, and must not be dropped
    make_durable_dir(cached)
    packs = S3PackFiles(bucket, FileCache(cached, settings.pack_cache_bytes), data / "incoming")
    remote = Remote(bucket, parts, S3Quarantine(bucket, data / "incoming", signer))
    return Stores(space, blobs, S3Staging(bucket, data / "incoming"), parts, packs, remote)

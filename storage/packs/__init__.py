"""Git packs: `git/<repo id>/pack-<id>.{pack,idx}`, immutable, on the local disk or in a bucket (`storage.packs.s3` needs boto3)."""

from storage.packs.fixed import GivenPacks
from storage.packs.incoming import sweep_incoming
from storage.packs.packfile import PackFile, StoredEntry, open_pack
from storage.packs.store import Packs, PackStore

__all__ = ["GivenPacks", "PackFile", "PackStore", "Packs", "StoredEntry", "open_pack", "sweep_incoming"]

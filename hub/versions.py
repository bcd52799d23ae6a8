"""Where versions are kept: in the refs table alone, or in LakeFS when `KOHAKU_HUB_LAKEFS_ENDPOINT` is set."""

import logging
import secrets
from dataclasses import dataclass

from accounts.repositories import Repositories
from gitserver.bridge.contents import GitContents
from gitserver.bridge.synthesis import Intake
from gitserver.objects.store import ObjectStores
from hub.settings import Settings
from hub.stores import Stores
from lfs.objects.possession import Possession
from storage.database.base import Database, Tx
from storage.errors import Unavailable
from storage.limits import Limits
from storage.packs import PackStore
from storage.versions.base import VersionStore
from storage.versions.table import TableVersionStore

log = logging.getLogger(__name__)
_LAKEFS_CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Around:
    """What a version store shows commits with."""

    database: Database
    stores: Stores
    packs: PackStore
    objects: ObjectStores
    possession: Possession
    repos: Repositories


def open_versions(settings: Settings, limits: Limits, around: Around) -> VersionStore:
    table = TableVersionStore(around.database)
    return _open_lakefs(settings, limits, around, table) if settings.lakefs_endpoint else table


def _open_lakefs(settings: Settings, limits: Limits, around: Around, table: TableVersionStore) -> VersionStore:
    try:  # lakefs-sdk comes with the extra `cluster`
        from storage.versions.lakefs.client import LakeFS, LakeFSConfig
        from storage.versions.lakefs.store import Parts, open_store
    except ModuleNotFoundError as error:
        raise Unavailable(f"LakeFS needs the Python package {error.name}. Install it with: pip install 'kohakuhub[cluster]'") from error
    access_key, secret_key = _keys(settings, around.database)
    config = LakeFSConfig(
        endpoint=settings.lakefs_endpoint,
        access_key=access_key,
        secret_key=secret_key,
        connections=_LAKEFS_CONNECTIONS,
        connect_seconds=limits.lakefs_connect_seconds,
        read_seconds=limits.lakefs_read_seconds,
        commit_seconds=limits.lakefs_commit_seconds,
    )
    blobs = around.stores.blobs
    intake = Intake(around.database, around.objects, around.packs, blobs, around.possession, limits)
    contents = GitContents(around.objects, around.possession, intake, limits.changed_paths)
    place = f"s3://{settings.s3_bucket}"
    parts = Parts(around.database, table, LakeFS(config), contents, blobs, around.repos.get, place, around.stores.drop, limits)
    return open_store(parts)


def _keys(settings: Settings, database: Database) -> tuple[str, str]:
    """From the settings; else made once and kept with the rows, so that every process has the same."""
    if settings.lakefs_access_key:
        return settings.lakefs_access_key, settings.lakefs_secret_key.get_secret_value()
    made = {"lakefs_access_key": "AKIA" + secrets.token_hex(8).upper(), "lakefs_secret_key": secrets.token_urlsafe(32)}

    def work(tx: Tx) -> tuple[str, str]:
        sql = "INSERT INTO instance (name, value) VALUES (:name, :value) ON CONFLICT DO NOTHING"
        tx.many(sql, [{"name": name, "value": value} for name, value in made.items()])
        rows = tx.all("SELECT name, value FROM instance WHERE name IN ('lakefs_access_key', 'lakefs_secret_key')")
        kept = {row["name"]: str(row["value"]) for row in rows}
        return kept["lakefs_access_key"], kept["lakefs_secret_key"]

    return database.write(work)

"""The services of one process, built once from the settings and handed to views and commands."""

import errno
import hmac
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from accounts.access_control import AccessControl
from accounts.identity.authenticator import Authenticator
from accounts.identity.passwords import Passwords
from accounts.identity.revocations import Revocations
from accounts.identity.sessions import Sessions
from accounts.identity.throttle import Throttle
from accounts.identity.tokens import Tokens
from accounts.identity.users import Users
from accounts.keys.ssh_keys import SshKeys
from accounts.repositories import Repositories
from gitserver.bundles.bundles import Bundles
from gitserver.bundles.links import BundleLinks
from gitserver.commit.committer import Committer
from gitserver.history.browser import Browser
from gitserver.history.index import PathIndex
from gitserver.history.paths import PathHistory
from gitserver.maintenance.background import BackgroundRepack
from gitserver.maintenance.repack import Repacker
from gitserver.mirror.mirrors import Mirrors
from gitserver.objects.store import Objects, ObjectStores
from gitserver.pack_cache.cache import PackCache
from gitserver.update.branch_rules import BranchRules
from gitserver.update.creation import PushCreation
from gitserver.update.pusher import Pusher
from gitserver.update.ref_updater import RefUpdater
from gitserver.update.ref_writer import RefWriter
from gitserver.workers.process_pool import ProcessPool
from gitserver.workers.receive_runner import ReceiveRunner
from hub.settings import Settings
from hub.stores import Stores, open_stores
from hub.versions import Around, open_versions
from lfs.locks.locks import FileLocks
from lfs.objects.large_files import LargeFiles
from lfs.objects.possession import Possession
from lfs.transfers.actions import Actions
from lfs.transfers.multipart import Multipart
from lfs.xet.index import XetIndex
from lfs.xet.ingest import XetIngest
from lfs.xet.tokens import XetTokens
from storage.blobs.base import BlobStore
from storage.database.base import Database
from storage.database.sqlite import SQLiteDatabase
from storage.disk_space import DiskSpace, is_full
from storage.encryption import SecretBox
from storage.errors import HubError, Unavailable
from storage.filecache import FileCache
from storage.files import make_durable_dir, sync_dir, sync_file
from storage.jobs.queue import Jobs
from storage.limits import Limits
from storage.packs import PackStore
from storage.records import Oid
from storage.versions.base import VersionStore

_SECRET_BYTES = 32
DATABASE = "hub.sqlite3"
_FOLDERS = ("git", "pool", "staged", "incoming", "prepared")
_LOOK = "Look after that disk, or choose another folder with --data or KOHAKU_HUB_DATA."


@dataclass(frozen=True, slots=True)
class PackWork:
    """Who makes, checks and merges packs, and indexes them."""

    pack_cache: PackCache
    paths: PathIndex
    history: PathHistory
    receive_runner: ReceiveRunner
    background_repack: BackgroundRepack

    def close(self) -> None:
        self.background_repack.close()
        self.paths.close()
        self.pack_cache.close()


@dataclass(frozen=True, slots=True)
class Accounts:
    """Who may come in."""

    users: Users
    tokens: Tokens
    sessions: Sessions
    keys: SshKeys
    authenticator: Authenticator
    access: AccessControl


@dataclass(frozen=True, slots=True)
class RefWork:
    """Who moves refs, and what stands in the way. `creation` is None where pushes make no repositories."""

    rules: BranchRules
    locks: FileLocks
    pusher: Pusher
    writer: RefWriter
    creation: PushCreation | None


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    limits: Limits
    database: Database
    stores: Stores
    packs: PackStore
    versions: VersionStore
    accounts: Accounts
    repos: Repositories
    objects: ObjectStores
    packing: PackWork
    bundles: Bundles
    refs: RefWork
    possession: Possession
    actions: Actions
    multipart: Multipart
    browser: Browser
    committer: Committer
    xet: XetIngest
    xet_tokens: XetTokens
    mirrors: Mirrors
    jobs: Jobs

    @property
    def blobs(self) -> BlobStore:
        return self.stores.blobs

    @property
    def rules(self) -> BranchRules:
        return self.refs.rules

    @property
    def locks(self) -> FileLocks:
        return self.refs.locks

    @property
    def pusher(self) -> Pusher:
        return self.refs.pusher

    @property
    def ref_writer(self) -> RefWriter:
        return self.refs.writer

    @property
    def creation(self) -> PushCreation | None:
        return self.refs.creation

    @property
    def users(self) -> Users:
        return self.accounts.users

    @property
    def tokens(self) -> Tokens:
        return self.accounts.tokens

    @property
    def keys(self) -> SshKeys:
        return self.accounts.keys

    @property
    def authenticator(self) -> Authenticator:
        return self.accounts.authenticator

    @property
    def access(self) -> AccessControl:
        return self.accounts.access

    @property
    def pack_cache(self) -> PackCache:
        return self.packing.pack_cache

    @property
    def receive_runner(self) -> ReceiveRunner:
        return self.packing.receive_runner

    @property
    def history(self) -> PathHistory:
        return self.packing.history

    @property
    def background_repack(self) -> BackgroundRepack:
        return self.packing.background_repack

    def close(self) -> None:
        self.packing.close()
        self.bundles.close()
        self.versions.close()
        self.database.close()
        self.stores.close()


def build(settings: Settings) -> Services:
    """Make the data directory if need be, bring the schema up to date, and construct everything."""
    data, limits = prepare_data(settings.data), settings.make_limits()
    database, stores = open_database(settings, data), open_stores(settings, data, limits)
    packs, prepared = open_packs(settings, stores, data, database)
    objects, possession = ObjectStores(packs, prepared), Possession(database, stores.blobs)
    repos, secret = Repositories(database), signing_key(settings, data)
    around = Around(database, stores, packs, objects, possession, repos)
    versions = open_versions(settings, limits, around)
    packing, mirrors = open_packing(settings, packs, objects, versions, prepared), Mirrors(database, SecretBox(secret))
    refs = open_ref_work(settings, around, versions, packing, mirrors)
    browser, large = Browser(objects, versions, possession), LargeFiles(database, stores.blobs, possession)
    xet = XetIngest(XetIndex(database), stores.staging, stores.blobs, limits)
    return Services(
        settings=settings,
        limits=limits,
        database=database,
        stores=stores,
        packs=packs,
        versions=versions,
        accounts=open_accounts(database, limits, repos),
        repos=repos,
        objects=objects,
        packing=packing,
        bundles=Bundles(objects, versions, packs, BundleLinks(secret, limits.action_seconds), limits, packing.pack_cache),
        refs=refs,
        possession=possession,
        actions=Actions(secret, limits.action_seconds),
        multipart=Multipart(stores.parts, stores.quarantine, possession, limits.body_seconds),
        browser=browser,
        committer=Committer(objects, browser, refs.writer, versions, large, limits),
        xet=xet,
        xet_tokens=XetTokens(secret, xet.index.epoch(), limits.action_seconds),
        mirrors=mirrors,
        jobs=Jobs(database, limits),
    )


def open_packs(settings: Settings, stores: Stores, data: Path, database: Database) -> tuple[PackStore, FileCache]:
    """The packs of all repositories, and what is made ahead from them."""
    packs = PackStore(stores.packs, data / "incoming", database, space=stores.space)
    return packs, FileCache(data / "prepared", settings.prepared_bytes)


def open_accounts(database: Database, limits: Limits, repos: Repositories) -> Accounts:
    revocations, sessions = Revocations(database), Sessions(database, limits.session_seconds)
    users, tokens = Users(database, Passwords(), revocations), Tokens(database, revocations)
    keys = SshKeys(database, tokens, limits.ssh_keys, revocations)
    authenticator = Authenticator(users, tokens, sessions, Throttle(database, limits), revocations)
    return Accounts(users, tokens, sessions, keys, authenticator, AccessControl(authenticator, repos))


def open_ref_work(settings: Settings, around: Around, versions: VersionStore, packing: PackWork, mirrors: Mirrors) -> RefWork:
    limits, rules = settings.make_limits(), BranchRules(around.database)
    locks = FileLocks(around.database, limits)
    work = (around.objects, around.packs, packing.background_repack, versions, rules, packing.receive_runner, limits)
    updater = RefUpdater(*work, forbids=mirrors.forbids, locks=locks)
    pusher, writer = Pusher(updater, around.possession, settings.strictness), RefWriter(updater, settings.strictness)
    return RefWork(rules, locks, pusher, writer, PushCreation(around.repos, versions) if settings.create_on_push else None)


def open_packing(settings: Settings, packs: PackStore, objects: ObjectStores, versions: VersionStore, prepared: FileCache) -> PackWork:
    limits, process_pool = settings.make_limits(), ProcessPool(settings.workshop_processes)
    pack_cache = PackCache(prepared, packs.incoming, process_pool, limits)
    paths = PathIndex(prepared, packs.incoming, process_pool, lambda repo_id: _commits(versions, repo_id), limits)
    receive_runner = ReceiveRunner(process_pool, limits, settings.workshop_processes)

    def prepare(objects: Objects) -> None:
        pack_cache.enqueue(objects)
        paths.enqueue(objects)

    repacker = Repacker(packs, objects, versions, limits, prepare)
    return PackWork(
        pack_cache, paths, PathHistory(paths, limits), receive_runner, BackgroundRepack(packs, objects, repacker, limits, prepare)
    )


def _commits(versions: VersionStore, repo_id: str) -> list[Oid]:
    """Where refs stand, HEAD first."""
    refs = versions.refs(repo_id, fresh=False)
    return [ref.peeled or ref.oid for ref in sorted(refs.refs, key=lambda ref: ref.name != refs.head)]


def open_database(settings: Settings, data: Path) -> Database:
    """The rows, with an up-to-date schema: PostgreSQL where the settings name one, else SQLite in the data directory."""
    database = connect_database(settings) if settings.database_url.get_secret_value() else SQLiteDatabase(data / DATABASE)
    try:
        database.migrate()
    except HubError:
        database.close()
        raise
    return database


def connect_database(settings: Settings) -> Database:
    """PostgreSQL, whatever its schema. Raises Unavailable where it cannot be reached, at the first statement."""
    try:
        from storage.database.postgres import PostgresDatabase
    except ImportError as error:
        raise Unavailable(f"PostgreSQL needs psycopg ({error}). Install it with: pip install 'kohakuhub[cluster]'") from error
    limits = settings.make_limits()
    url = settings.database_url.get_secret_value()
    return PostgresDatabase(url, settings.threads, limits.database_seconds, limits.database_connect_seconds)


def prepare_data(data: Path) -> Path:
    """The data directory with its folders, readable by nobody else."""
    data = data.absolute()
    try:
        make_durable_dir(data)
        data.chmod(0o700)
        for name in _FOLDERS:
            make_durable_dir(data / name)
    except OSError as error:
        raise _unusable(data, error) from error
    if not os.access(data, os.W_OK | os.X_OK):
        raise _unusable(data, PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(data)))
    return data


def _unusable(data: Path, error: OSError) -> HubError:
    if is_full(error):
        there = next(folder for folder in (data, *data.parents) if folder.is_dir())
        return DiskSpace(there).full()
    place = error.filename or data
    fixes = {
        errno.EACCES: "Give it to the user that runs the hub, or choose another one with --data or KOHAKU_HUB_DATA.",
        errno.EPERM: "It belongs to another user. Give it to the one that runs the hub, or choose another one with --data.",
        errno.EROFS: "That disk is mounted read-only. Choose another folder with --data or KOHAKU_HUB_DATA.",
    }
    is_file = isinstance(error, FileExistsError | NotADirectoryError)
    fix = "There is a file of that name. Choose a folder with --data or KOHAKU_HUB_DATA." if is_file else ""
    reason = error.strerror or str(error)
    return Unavailable(f"The data directory {data} cannot be used ({place}: {reason}). {fix or fixes.get(error.errno or 0, _LOOK)}")


def is_hub(settings: Settings) -> bool:
    """Whether a hub was started in the data directory before."""
    return all((settings.data / name).is_dir() for name in ("git", "pool", "incoming"))


def signing_key(settings: Settings, data: Path) -> bytes:
    """The key that signs action URLs and Xet tokens: from the session secret, which all machines share, else this machine's own file."""
    shared = settings.session_secret.get_secret_value()
    if not shared:
        return load_secret(data / "secret.key")
    key = hmac.digest(b"kohakuhub", shared.encode(), "sha256")  # HKDF (RFC 5869): extract, then expand to one block
    return hmac.digest(key, b"signing key 1\x01", "sha256")


def load_secret(path: Path) -> bytes:
    """The key that signs action URLs, made at the first start; two processes that start at once agree on one.

    Raises Unavailable when the file was damaged: a short key would sign what anybody can forge.
    """
    if not path.exists():
        fd, name = tempfile.mkstemp(prefix="secret.new-", dir=path.parent)
        os.close(fd)
        aside = Path(name)
        aside.write_bytes(secrets.token_bytes(_SECRET_BYTES))
        sync_file(aside)
        try:
            os.link(aside, path)
            sync_dir(path.parent)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    secret = path.read_bytes()
    if len(secret) != _SECRET_BYTES:
        raise Unavailable(f"{path} is damaged. Remove it and start again; a new key is made then, and running transfers start anew.")
    return secret

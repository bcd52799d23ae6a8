"""A server of GitViews alone, filled from repositories that git made: fetch is tested without the receiving side."""

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from accounts.access import require
from gitserver.fetch.graph import peel
from gitserver.http.upload_pack import GitViews
from gitserver.maintenance.background import BackgroundRepack
from gitserver.maintenance.check import check_repository
from gitserver.maintenance.repack import Repacker
from gitserver.objects.pack_writer import PackWriter
from gitserver.objects.store import Kind, Objects, ObjectStores, RawObject, object_id
from httpapi.endpoint import STOPPING, add_endpoints
from storage.database.base import Tx
from storage.database.sqlite import SQLiteDatabase
from storage.limits import Limits
from storage.packs import PackStore
from storage.packs.disk import DiskPackFiles
from storage.records import ANONYMOUS, ZERO_OID, Access, PackInfo, Principal, RefUpdate, Repo, RepoKind, RepoName, Scope
from storage.versions.table import TableVersionStore

_ENV = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "LC_ALL": "C",
}
PERSON = b"A <a@example.org> 1700000000 +0000"


class Git:
    """git in one folder, with nobody's configuration."""

    def __init__(self, path: Path, version: int = 2) -> None:
        self.path = path
        self.version = version
        self.time = 1_600_000_000

    def __call__(self, *args: str, data: bytes | None = None, config: tuple[str, ...] = ()) -> str:
        done = self.run(*args, data=data, config=config)
        assert done.returncode == 0, (args, done.stderr.decode())
        return done.stdout.decode().strip()

    def run(self, *args: str, data: bytes | None = None, config: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[bytes]":
        self.path.mkdir(parents=True, exist_ok=True)
        when = f"@{self.time} +0000"  # with @ for numbers that are short, too
        env = {**os.environ, **_ENV, "HOME": str(self.path), "GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
        settings = (f"protocol.version={self.version}", "gc.auto=0", "init.defaultBranch=main", *config)
        flags = [word for setting in settings for word in ("-c", setting)]
        return subprocess.run(["git", *flags, *args], cwd=self.path, env=env, input=data, capture_output=True, check=False, timeout=120)

    def commit(self, message: str, files: dict[str, str | bytes]) -> str:
        for name, content in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        self("add", "-A")
        self.time += 60
        self("commit", "-q", "--allow-empty", "-m", message)
        return self("rev-parse", "HEAD")

    def objects(self) -> set[str]:
        return {line.split()[0] for line in self("rev-list", "--objects", "--all").splitlines()}


class FetchHub:
    """One public repository, `ns/name`, on a real port."""

    def __init__(self, folder: Path) -> None:
        (folder / "incoming").mkdir(parents=True)
        self.database = SQLiteDatabase(folder / "hub.sqlite")
        self.database.migrate()
        self.packs = PackStore(DiskPackFiles(folder / "git"), folder / "incoming", self.database)
        self.stores = ObjectStores(self.packs)
        self.versions = TableVersionStore(self.database)
        now = time.time_ns() // 1000
        self.repo = Repo("0" * 32, RepoName(RepoKind.MODEL, "ns", "name"), False, 1, now, now)
        self.database.write(self._rows)
        self.url = ""
        self.bodies: list[tuple[str, int]] = []  # encoding and length of each POST

    @property
    def objects(self) -> Objects:
        return self.stores.of(self.repo.id)

    def authorize(self, principal: Principal, name: RepoName | None, needs: Access, *, creates: bool = False) -> Repo | None:
        is_here = name is not None and name.key == self.repo.name.key and name.kind is self.repo.name.kind
        return require(principal, self.repo if is_here else None, name, needs) if name is not None else None

    def admit(self, headers: object, cookies: object, address: str) -> Principal:
        return ANONYMOUS

    def load(self, git: Git, *revisions: str, thin: bool = False) -> None:
        """Store the objects of `revisions` (all without) as one more pack, completed like a push's, then set every ref."""
        folder = self.packs.quarantine()
        wanted = ("\n".join(revisions) or "\n".join(git("for-each-ref", "--format=%(objectname)").split())) + "\n"
        flags = ["--thin"] if thin else []
        made = git.run("pack-objects", "--revs", "--stdout", "-q", "--delta-base-offset", *flags, data=wanted.encode()).stdout
        target = folder / "p.pack"
        git("index-pack", "--stdin", "--fix-thin", str(target), data=made)
        data = target.read_bytes()
        info = PackInfo(data[-20:].hex(), int.from_bytes(data[8:12], "big"), len(data))
        self.packs.add(self.repo.id, info, target, folder / "p.idx")
        self.database.write(lambda tx: self.packs.record(tx, self.repo.id, info))
        self.set_refs(git)

    def set_refs(self, git: Git) -> None:
        rows = [line.split() for line in git("for-each-ref", "--format=%(objectname) %(refname)").splitlines()]
        self.objects.refresh()

        def work(tx: Tx) -> None:
            tx.run("DELETE FROM refs WHERE repo_id = :repo", {"repo": self.repo.id})
            for oid, name in rows:
                tags, target, _ = peel(self.objects, bytes.fromhex(oid))
                row = {"repo": self.repo.id, "name": name.encode(), "oid": bytes.fromhex(oid), "peeled": target if tags else None}
                tx.run("INSERT INTO refs (repo_id, name, oid, peeled) VALUES (:repo, :name, :oid, :peeled)", row)

        self.database.write(work)

    def _rows(self, tx: Tx) -> None:
        columns = {row["name"]: row for row in tx.all("SELECT name, type, \"notnull\" AS needed FROM pragma_table_info('users')")}
        values = {name: 1 if row["type"] == "BIGINT" else "x" for name, row in columns.items() if row["needed"] or name == "id"}
        tx.run(f"INSERT INTO users ({', '.join(values)}) VALUES ({', '.join(':' + name for name in values)})", values)
        tx.run(
            "INSERT INTO repos (id, kind, namespace, name, name_key, namespace_key, is_private, creator_id, head, created_at, updated_at)"
            " VALUES (:id, 'model', 'ns', 'name', 'ns/name', 'ns', 0, 1, :head, 1, 1)",
            {"id": self.repo.id, "head": b"refs/heads/main"},
        )


@pytest.fixture
def fetch_hub(tmp_path: Path) -> Iterator[FetchHub]:
    hub = FetchHub(tmp_path / "hub")
    loop = asyncio.new_event_loop()
    runner = loop.run_until_complete(_start(hub))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield hub
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    hub.database.close()


async def _start(hub: FetchHub) -> web.AppRunner:
    @web.middleware
    async def note(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
        if request.method == "POST":
            hub.bodies.append((request.headers.get("Content-Encoding", ""), request.content_length or 0))
        return await handler(request)

    app = web.Application(client_max_size=0, middlewares=[note])
    app[STOPPING] = asyncio.Event()
    add_endpoints(app, GitViews(hub.stores, hub.versions, Limits()).endpoints(), hub)
    runner = web.AppRunner(app, auto_decompress=False, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}/ns/name.git"
    return runner


@pytest.fixture
def work(tmp_path: Path) -> Git:
    git = Git(tmp_path / "work")
    git("init", "-q")
    return git


@pytest.fixture(params=[0, 1, 2])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Git:
    """A folder for a clone, in each protocol version."""
    return Git(tmp_path / "client", request.param)


class Shelf:
    """A repository of the hub, filled commit by commit, each of them one pack."""

    def __init__(self, services: Any) -> None:
        self.services = services
        self.actor: Principal = services.users.create("ann", "ann@example.org", "long enough").principal(Scope.WRITE, from_session=False)
        self.repo: Repo = services.repos.create(self.actor, RepoName(RepoKind.MODEL, "ann", "r"), is_private=False)
        self.folder: Path = services.settings.data / "git" / self.repo.id
        self.made: dict[bytes, RawObject] = {}
        self.files: dict[bytes, bytes] = {}
        self.commits: list[bytes] = []

    def commit(self, content: bytes) -> None:
        """One commit of one file, as one pack."""
        blob = RawObject(Kind.BLOB, content)
        self.files[b"f%d" % (len(self.commits) % 5)] = object_id(blob.kind, blob.data)
        tree = RawObject(Kind.TREE, b"".join(b"100644 %s\0%s" % file for file in sorted(self.files.items())))
        parent = b"parent " + self.commits[-1].hex().encode() + b"\n" if self.commits else b""
        head = b"tree " + object_id(tree.kind, tree.data).hex().encode() + b"\n" + parent
        commit = RawObject(Kind.COMMIT, head + b"author " + PERSON + b"\ncommitter " + PERSON + b"\n\nm\n")
        oid = object_id(commit.kind, commit.data)
        self.store([blob, tree, commit], RefUpdate(b"refs/heads/main", self.commits[-1] if self.commits else ZERO_OID, oid))
        self.commits.append(oid)

    def store(self, new: list[RawObject], update: RefUpdate) -> None:
        def fill(writer: PackWriter) -> list[RefUpdate]:
            for raw in new:
                writer.add(raw)
            return [update]

        results = self.services.ref_writer.store(self.repo, self.actor, fill)
        assert [result.reason for result in results] == [""]
        self.made |= {object_id(raw.kind, raw.data): raw for raw in new}

    def fill(self, count: int) -> None:
        for number in range(count):
            self.commit(b"content %d" % number)

    def stored(self) -> list[PackInfo]:
        found: list[PackInfo] = self.services.packs.list(self.repo.id)
        return found

    def worker(self) -> BackgroundRepack:
        """The background_repack of another process: nothing is shared but the data directory."""
        data = self.services.settings.data
        packs = PackStore(self.services.stores.packs, data / "incoming", self.services.database)
        stores = ObjectStores(packs)
        return BackgroundRepack(packs, stores, Repacker(packs, stores, self.services.versions, Limits()), Limits())

    def merge(self) -> None:
        self.worker().merge(self.repo.id)

    def check(self) -> None:
        """With fresh eyes: every object that was ever stored, and what `admin check` says."""
        data = self.services.settings.data
        stores = ObjectStores(PackStore(self.services.stores.packs, data / "incoming", self.services.database))
        assert {oid: stores.of(self.repo.id).get(oid) for oid in self.made} == self.made
        assert list(check_repository(self.repo, stores, self.services.versions, self.services.possession)) == []

    def packs_on_disk(self) -> set[str]:
        names = {path.stem.removeprefix("pack-") for path in self.folder.glob("*.pack")}
        assert names == {path.stem.removeprefix("pack-") for path in self.folder.glob("*.idx")}
        return names

    def ids(self) -> set[str]:
        return {info.id for info in self.stored()}


@pytest.fixture
def busy_shelf(services: Any) -> Shelf:
    """Commits start merges in the background."""
    return Shelf(services)


@pytest.fixture
def shelf(services: Any) -> Shelf:
    """Merges happen only when the test says so."""
    services.background_repack.close()
    return Shelf(services)

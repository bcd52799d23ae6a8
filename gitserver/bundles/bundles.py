"""One bundle a repository, made in the background when a client first asks, and again when the repository has grown far beyond it.

Each machine has its own in its cache of prepared files. A URL names the repository, not the file: any machine answers with what it has.
A bundle is offered and served only while all that it holds could be fetched anyway: what a forced push or a deletion took away goes
with it.
"""

import hashlib
import logging
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gitserver.bundles.links import BundleLinks
from gitserver.bundles.writing import read_tips, write_bundle
from gitserver.fetch.session import FetchSession, PackSource
from gitserver.objects.store import ObjectStores
from gitserver.protocol.bundle_uri import BundleLink
from storage.disk_space import is_full
from storage.errors import HubError, Invalid, Unavailable
from storage.files import claim_folder
from storage.limits import Limits
from storage.lru import FACT_BYTES, Recent, fact
from storage.packs import PackStore
from storage.versions.base import Refs, VersionStore

log = logging.getLogger(__name__)
_ENDING = ".bundle"
_FAR = 4  # a quarter more bytes or objects than when it was made
_MOST_WAITING = 100


@dataclass(frozen=True, slots=True)
class Bundle:
    """One that lies in the cache. Its name says when it was made (seconds), of how many objects and bytes of packs, and its SHA-1."""

    name: str
    made: int
    objects: int
    bytes: int
    sha1: str
    path: Path

    def is_outgrown(self, objects: int, size: int) -> bool:
        return objects * _FAR > self.objects * (_FAR + 1) or size * _FAR > self.bytes * (_FAR + 1)


class Bundles:
    def __init__(
        self,
        objects: ObjectStores,
        versions: VersionStore,
        packs: PackStore,
        links: BundleLinks,
        limits: Limits,
        supply: PackSource | None = None,
    ) -> None:
        self._objects = objects
        self._versions = versions
        self._packs = packs
        self.links = links
        self._limits = limits
        self._supply = supply
        self._waiting: set[str] = set()
        self._tried: Recent[str, float] = Recent(1000 * FACT_BYTES, fact)
        self._judged: Recent[tuple[str, bytes], bool] = Recent(1000 * FACT_BYTES, fact)
        self._is_closed = False
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(1, "bundle")

    def offers(self, repo_id: str, refs: Refs, origin: str) -> list[BundleLink]:
        """For a client that may read the repository and reached the hub at `origin`; none until a bundle is made, or without an origin."""
        if not origin or self._objects.prepared is None:
            return []
        bundle = self.find(repo_id, refs)
        objects, size = self._measure(repo_id)
        if size >= self._limits.bundle_repository_bytes and (bundle is None or bundle.is_outgrown(objects, size)):
            self._order(repo_id)
        return [BundleLink("all", self.links.url(origin, repo_id), bundle.made)] if bundle else []

    def find(self, repo_id: str, refs: Refs | None = None) -> Bundle | None:
        """The newest one here, if all that it holds is reachable from `refs` (by default as they stand now); else it goes."""
        for bundle in reversed(self._kept(repo_id)):
            if self._is_covered(repo_id, refs or self._versions.refs(repo_id), bundle):
                return bundle
        return None

    def make(self, repo_id: str) -> None:
        """Make one now, unless another process of this machine does or has just done so. Raises Invalid, Unavailable, RepoNotFound."""
        prepared = self._objects.prepared
        if prepared is None:
            return
        with claim_folder(prepared.folder(repo_id)) as is_ours:
            objects, size = self._measure(repo_id)
            older = self._kept(repo_id)
            newest = self.find(repo_id)
            if not is_ours or (newest is not None and not newest.is_outgrown(objects, size)):
                return
            folder = self._packs.quarantine()
            try:
                session = FetchSession(self._objects.of(repo_id), self._versions.refs(repo_id), self._supply)
                sha1 = write_bundle(session, folder / "all.bundle", self._go_on)
                prepared.keep(folder / "all.bundle", f"{repo_id}/{int(time.time())}-{objects}-{size}-{sha1}{_ENDING}")
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            for bundle in older:  # who reads one goes on reading
                if not bundle.name.endswith(f"{sha1}{_ENDING}"):
                    prepared.remove(bundle.name)

    def close(self) -> None:
        """Give up the one that is being made."""
        with self._lock:
            self._is_closed = True
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _order(self, repo_id: str) -> None:
        now = time.monotonic()
        with self._lock:
            tried = self._tried.get(repo_id)
            is_soon = tried is not None and now - tried < self._limits.bundle_seconds
            if self._is_closed or is_soon or repo_id in self._waiting or len(self._waiting) >= _MOST_WAITING:
                return
            self._tried.keep(repo_id, now)
            self._waiting.add(repo_id)
            self._executor.submit(self._work, repo_id)

    def _work(self, repo_id: str) -> None:
        """One job of the thread: the outermost place, where every failure is logged. No clone depends on it."""
        try:
            self.make(repo_id)
        except HubError as error:
            log.warning("no bundle of repository %s was made: %s", repo_id, error.message)
        except Exception as error:
            if is_full(error):
                log.warning("no bundle of repository %s is made while the disk is full", repo_id)
            else:
                log.exception("no bundle of repository %s was made", repo_id)
        finally:
            with self._lock:
                self._waiting.discard(repo_id)

    def _go_on(self) -> None:
        if self._is_closed:
            raise Unavailable("The hub is stopping.")

    def _measure(self, repo_id: str) -> tuple[int, int]:
        """Objects and bytes of the repository's packs."""
        infos = self._packs.list(repo_id)
        return sum(info.objects for info in infos), sum(info.size for info in infos)

    def _kept(self, repo_id: str) -> list[Bundle]:
        """Those of this machine, oldest first."""
        if self._objects.prepared is None:
            return []
        found = (_parsed(path) for path in self._objects.prepared.files(repo_id))
        return sorted((bundle for bundle in found if bundle is not None), key=lambda bundle: bundle.made)

    def _is_covered(self, repo_id: str, refs: Refs, bundle: Bundle) -> bool:
        key = (bundle.name, hashlib.sha1(b"".join(ref.oid for ref in refs.refs), usedforsecurity=False).digest())
        known = self._judged.get(key)
        if known is None:
            known = self._judge(repo_id, refs, bundle)
            self._judged.keep(key, known)
        return known

    def _judge(self, repo_id: str, refs: Refs, bundle: Bundle) -> bool:
        assert self._objects.prepared is not None
        file = self._objects.prepared.open(bundle.name)
        if file is None:
            return False
        try:
            with file:
                tips = read_tips(file, self._limits.wants)
            FetchSession(self._objects.of(repo_id), refs).wanted(tips)
        except Invalid as error:
            log.info("a bundle of repository %s is withdrawn: %s", repo_id, error.message)
            self._objects.prepared.remove(bundle.name)
            return False
        return True


def _parsed(path: Path) -> Bundle | None:
    words = path.name.removesuffix(_ENDING).split("-")
    if not path.name.endswith(_ENDING) or len(words) != 4 or not all(word.isdecimal() for word in words[:3]):
        return None
    return Bundle(f"{path.parent.name}/{path.name}", int(words[0]), int(words[1]), int(words[2]), words[3], path)

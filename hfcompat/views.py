"""The Hugging Face dialect as rows of the endpoint table."""

from collections.abc import Callable

from aiohttp import web

from accounts.repositories import Repositories
from gitserver.commit.committer import Committer
from gitserver.history.browser import Browser
from gitserver.history.paths import PathHistory
from gitserver.objects.store import ObjectStores
from gitserver.update.ref_writer import RefWriter
from hfcompat.client_probes import MiscViews
from hfcompat.reading.info import InfoViews
from hfcompat.reading.resolve import ResolveViews
from hfcompat.reading.tree import TreeViews
from hfcompat.writing.commit import CommitViews
from hfcompat.writing.preupload import PreuploadViews
from hfcompat.writing.refs import RefViews
from hfcompat.writing.repositories import RepoViews
from hfcompat.writing.xet import XetTokenViews
from httpapi.endpoint import Endpoint
from lfs.xet.tokens import XetTokens
from storage.blobs.base import BlobStore
from storage.limits import Limits
from storage.packs import PackStore
from storage.versions.base import VersionStore


class HfViews:
    """`HfViews(repos, packs, objects, browser, history, versions, writer, committer, tokens, blobs, limits, origin)`."""

    def __init__(
        self,
        repos: Repositories,
        packs: PackStore,
        objects: ObjectStores,
        browser: Browser,
        history: PathHistory,
        versions: VersionStore,
        writer: RefWriter,
        committer: Committer,
        tokens: XetTokens,
        blobs: BlobStore,
        limits: Limits,
        origin: Callable[[web.Request], str],
    ) -> None:
        self._parts = (
            RepoViews(repos, packs, objects, committer, versions, limits, origin),
            TreeViews(browser, history, limits, origin),
            RefViews(browser, history, versions, writer, committer, limits, origin),
            ResolveViews(browser, blobs, origin),
            PreuploadViews(browser, blobs.space, limits),
            CommitViews(committer, browser, packs, limits, origin),
            XetTokenViews(tokens, browser, origin),
            MiscViews(limits),
            InfoViews(repos, browser, limits, origin),
        )

    def endpoints(self) -> list[Endpoint]:
        return [row for part in self._parts for row in part.endpoints()]

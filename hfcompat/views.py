"""The Hugging Face dialect as rows of the endpoint table."""

from collections.abc import Callable

from aiohttp import web

from accounts.endpoint import Endpoint
from accounts.repos import Repos
from gitserver.browse import Browser
from gitserver.commit.committer import Committer
from gitserver.history.paths import PathHistory
from gitserver.objects import ObjectStores
from gitserver.push import Pusher
from hfcompat.commit import CommitViews
from hfcompat.info import InfoViews
from hfcompat.misc import MiscViews
from hfcompat.preupload import PreuploadViews
from hfcompat.refs import RefViews
from hfcompat.repos import RepoViews
from hfcompat.resolve import ResolveViews
from hfcompat.tree import TreeViews
from hfcompat.xet import XetTokenViews
from lfs.xet.tokens import XetTokens
from storage.blobs.base import BlobStore
from storage.limits import Limits
from storage.packs import PackStore
from storage.versions.base import VersionStore


class HfViews:
    """`HfViews(repos, packs, objects, browser, history, versions, pusher, committer, tokens, blobs, limits, origin)`."""

    def __init__(
        self,
        repos: Repos,
        packs: PackStore,
        objects: ObjectStores,
        browser: Browser,
        history: PathHistory,
        versions: VersionStore,
        pusher: Pusher,
        committer: Committer,
        tokens: XetTokens,
        blobs: BlobStore,
        limits: Limits,
        origin: Callable[[web.Request], str],
    ) -> None:
        self._parts = (
            RepoViews(repos, packs, objects, committer, versions, limits, origin),
            TreeViews(browser, history, limits, origin),
            RefViews(browser, history, versions, pusher, committer, limits, origin),
            ResolveViews(browser, blobs, origin),
            PreuploadViews(browser, blobs.space, limits),
            CommitViews(committer, browser, packs, limits, origin),
            XetTokenViews(tokens, browser, origin),
            MiscViews(limits),
            InfoViews(repos, browser, limits, origin),
        )

    def endpoints(self) -> list[Endpoint]:
        return [row for part in self._parts for row in part.endpoints()]

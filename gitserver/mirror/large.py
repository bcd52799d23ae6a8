"""LFS objects of the source: asked for by its batch API (git-lfs docs/api/batch.md), streamed into the pool, several at once."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gitserver.mirror.source import Source
from lfs.possession import Possession
from storage.blobs.base import BlobStore
from storage.errors import HubError, Invalid, TooLarge, Unavailable
from storage.limits import MIB, Limits
from storage.outbound.client import Outbound, Reply, Request, check_status
from storage.outbound.url import Url, parse
from storage.records import BlobRef

_TYPE = "application/vnd.git-lfs+json"
_PAGE = 100
_ANSWER_BYTES = 4 * MIB
_MOST_SHOWN = 20

Tell = Callable[[str, int, int], None]


class LargeSource:
    """`check` stops the work by raising; `tell` is told how many of how many are here."""

    def __init__(
        self, outbound: Outbound, source: Source, blobs: BlobStore, possession: Possession, limits: Limits, check: Callable[[], None]
    ) -> None:
        self._outbound = outbound
        self._source = source
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
        for start in range(0, len(blobs), _PAGE):
            page = blobs[start : start + _PAGE]
            tell("Fetching large files", start, len(blobs))
            actions = self._actions(page)
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

    def _actions(self, page: Sequence[BlobRef]) -> dict[str, Mapping[str, Any]]:
        """The answer's objects by id."""
        base = self._source.base
        target = base.target if base.target.endswith(".git") else base.target + ".git"  # as git-lfs makes it
        url = Url(base.scheme, base.host, base.port, f"{target}/info/lfs/objects/batch")
        objects = [{"oid": blob.sha256, "size": blob.size} for blob in page]
        body = json.dumps({"operation": "download", "transfers": ["basic"], "hash_algo": "sha256", "objects": objects}).encode()
        headers = {"Accept": _TYPE, "Content-Type": _TYPE}
        with self._outbound.send(Request("POST", url, headers, body, self._source.login_for(url)), _ANSWER_BYTES, self._check) as reply:
            check_status(reply, "The source's large files cannot be asked for")
            try:
                answer = json.loads(reply.whole())
                return {item["oid"]: item for item in answer["objects"]}
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise Invalid(f"{url.shown} answers what no LFS server does.") from error

    def _one(self, repo_id: str, blob: BlobRef, item: Mapping[str, Any]) -> str:
        """Why it cannot be had; empty when it is here."""
        self._check()
        error, action = item.get("error"), _download(item)
        if action is None:
            return f"{blob.sha256} ({_reason(error)})"
        try:
            with self._outbound.send(self._request(action, item), blob.size + 1, self._check) as reply:
                check_status(reply, f"LFS object {blob.sha256}")
                self._keep(blob, reply)
        except Unavailable:
            raise  # another try may help
        except HubError as failed:
            return f"{blob.sha256} ({failed.message})"
        self._possession.link(repo_id, blob)
        return ""

    def _request(self, action: Mapping[str, Any], item: Mapping[str, Any]) -> Request:
        url, login = parse(str(action.get("href")))
        given = action.get("header") or {}
        headers = {str(name): str(value) for name, value in given.items()} if isinstance(given, dict) else {}
        if login is None and not item.get("authenticated"):
            login = self._source.login_for(url)
        return Request("GET", url, headers, login=login)

    def _keep(self, blob: BlobRef, reply: Reply) -> None:
        upload = self._blobs.upload(blob)
        try:
            while data := reply.read(MIB):
                upload.write(data)
            upload.commit()
        finally:
            upload.abort()


def _download(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    actions = item.get("actions")
    action = actions.get("download") if isinstance(actions, dict) else None
    return action if isinstance(action, dict) else None


def _reason(error: object) -> str:
    code = error.get("code") if isinstance(error, dict) else None
    return f"error {code}" if isinstance(code, int) else "it offers no download"

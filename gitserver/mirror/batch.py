"""Somebody else's LFS server: its batch API (git-lfs docs/api/batch.md)."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from storage.errors import Invalid, NotFound
from storage.limits import MIB
from storage.outbound.client import Outbound, Request, check_status
from storage.outbound.url import Url, UrlCredentials, parse
from storage.records import BlobRef

TYPE = "application/vnd.git-lfs+json"
PAGE = 100
_ANSWER_BYTES = 4 * MIB

_NO_LFS = {
    "download": "the source has no Git LFS there, or is private. Its history names {} in LFS, and comes only with them: give the address of"
    " the server that holds them, or a user name and a password or token that may read them.",
    "upload": "the target has no Git LFS there, or is private. {} of this repository would have to go there before its refs: choose a"
    " target with Git LFS, or give a user name and a password or token that may write there.",
}

Item = Mapping[str, Any]
LoginFor = Callable[[Url], UrlCredentials | None]


class LfsServer:
    """That of the repository at `base`; `login_for` gives the credentials for a URL, if there are any."""

    def __init__(self, outbound: Outbound, base: Url, login_for: LoginFor, check: Callable[[], None]) -> None:
        self._outbound = outbound
        self._base = base
        self._login_for = login_for
        self._check = check

    def ask(self, operation: str, page: Sequence[BlobRef], total: int) -> dict[str, Item]:
        """The answer's objects by id, for `download` or `upload`; `total` are concerned. Raises HubErrors."""
        target = self._base.target if self._base.target.endswith(".git") else self._base.target + ".git"  # as git-lfs makes it
        url = Url(self._base.scheme, self._base.host, self._base.port, f"{target}/info/lfs/objects/batch")
        objects = [{"oid": blob.sha256, "size": blob.size} for blob in page]
        body = json.dumps({"operation": operation, "transfers": ["basic"], "hash_algo": "sha256", "objects": objects}).encode()
        request = Request("POST", url, {"Accept": TYPE, "Content-Type": TYPE}, body, self._login_for(url))
        with self._outbound.send(request, _ANSWER_BYTES, self._check) as reply:
            if reply.status == 404:
                raise NotFound(
                    f"{url.shown} answers 404: {_NO_LFS[operation].format(f'{total} large files' if total > 1 else 'a large file')}"
                )
            check_status(reply, f"The large files there cannot be asked for ({operation})")
            try:
                return {item["oid"]: item for item in json.loads(reply.whole())["objects"]}
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise Invalid(f"{url.shown} answers what no LFS server does.") from error

    def request(self, method: str, action: Item, item: Item) -> Request:
        """What an action says to send; the credentials go with it only where it does not carry its own."""
        url, login = parse(str(action.get("href")))
        given = action.get("header") or {}
        headers = {str(name): str(value) for name, value in given.items()} if isinstance(given, dict) else {}
        if login is None and not item.get("authenticated"):
            login = self._login_for(url)
        return Request(method, url, headers, login=login)


def action_of(item: Item, name: str) -> Item | None:
    actions = item.get("actions")
    action = actions.get(name) if isinstance(actions, dict) else None
    return action if isinstance(action, dict) else None


def fault_of(item: Item) -> str:
    """Why there is no action; empty when the server names no error."""
    error = item.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    return f"error {code}" if isinstance(code, int) else "an error" if error else ""

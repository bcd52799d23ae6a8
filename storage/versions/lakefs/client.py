"""The calls to LakeFS that the hub makes, and nothing else of its API (contracts: lakeFS 1.84 to 1.86, /api/v1).

lakefs-sdk carries them: its connections, keys and encoding. Its models are left out: reading a listing with them takes ten times as long.
Reads are by commit id, never by branch name, which would show what somebody has staged.
"""

import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import urllib3
from lakefs_sdk.api_client import ApiClient
from lakefs_sdk.configuration import Configuration
from lakefs_sdk.exceptions import ApiException
from urllib3.exceptions import HTTPError

from storage.errors import Unavailable
from storage.versions.lakefs.records import LakeCommit, LakeDifference, LakeObject, LakeRef, Link

Json: TypeAlias = dict[str, Any]

_PAGE = 1000
_TRIES = 3
_BACK_OFF = 0.2
_SLOW_DOWN = (429, 503)
_BRANCH = "/repositories/{repository}/branches/{branch}"


class Denied(Exception):
    """LakeFS understood and said no; `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class LakeFSConfig:
    """`endpoint` is scheme, host and port; times are seconds without a byte."""

    endpoint: str
    access_key: str
    secret_key: str
    connections: int
    connect_seconds: int
    read_seconds: int
    commit_seconds: int


class LakeFS:
    """One client for all threads. Every call raises Denied, or Unavailable when LakeFS does not answer: then nobody knows
    whether a call that changes something was done, unless the text says otherwise.
    """

    def __init__(self, config: LakeFSConfig) -> None:
        self.config = config
        settings = Configuration(host=config.endpoint + "/api/v1", username=config.access_key, password=config.secret_key)
        settings.connection_pool_maxsize = config.connections
        settings.retries = urllib3.Retry(0, redirect=0)  # type: ignore[assignment]
        self._client = ApiClient(configuration=settings)

    def close(self) -> None:
        self._client.rest_client.pool_manager.clear()

    # the installation

    def health(self) -> None:
        self._ask("GET", "/config", seconds=self.config.connect_seconds)

    def version(self) -> str:
        return str(self._ask("GET", "/config").get("version_config", {}).get("version", ""))

    def is_set_up(self) -> bool:
        return bool(self._ask("GET", "/setup_lakefs")["state"] == "initialized")

    def set_up(self) -> None:
        """A new LakeFS takes the first keys that it is told for those of its one user: ours. One that was set up before must know them.

        Raises Unavailable when it does not.
        """
        if not self.is_set_up():
            try:
                self._set_up()
            except Denied as error:
                if error.status != 409:  # somebody was faster
                    raise
        self.health()

    def _set_up(self) -> None:
        key = {"access_key_id": self.config.access_key, "secret_access_key": self.config.secret_key}
        self._send("POST", "/setup_lakefs", body={"username": "hub", "key": key})

    # repositories

    def create_repository(self, repository: str, namespace: str, default_branch: str) -> None:
        body = {"name": repository, "storage_namespace": namespace, "default_branch": default_branch}
        self._send("POST", "/repositories", body=body)

    def delete_repository(self, repository: str) -> None:
        """Also where there is none."""
        try:
            self._send("DELETE", "/repositories/{repository}", {"repository": repository}, {"force": "true"}, slow=True)
        except Denied as error:
            if error.status not in (404, 410):
                raise

    def repositories(self) -> Iterator[Json]:
        for page in self._pages("/repositories", {}, {"prefix": "h-"}):
            yield from page

    def protect(self, repository: str, pattern: str | None) -> None:
        """Nobody stages on or commits to branches like `pattern` directly; None lifts the rule."""
        rules = [{"pattern": pattern}] if pattern is not None else []
        self._ask("PUT", "/repositories/{repository}/settings/branch_protection", {"repository": repository}, body=rules)

    def describe(self, repository: str, metadata: Mapping[str, str]) -> None:
        self._ask("POST", "/repositories/{repository}/metadata", {"repository": repository}, body={"metadata": dict(metadata)})

    def description(self, repository: str) -> Mapping[str, str]:
        return dict(self._ask("GET", "/repositories/{repository}/metadata", {"repository": repository}))

    # branches and tags

    def branch(self, repository: str, branch: str) -> str | None:
        """The id of the commit that it stands at."""
        try:
            return str(self._ask("GET", _BRANCH, {"repository": repository, "branch": branch})["commit_id"])
        except Denied as error:
            if error.status != 404:
                raise
            return None

    def branches(self, repository: str, prefix: str = "", *, hidden: bool = False) -> list[LakeRef]:
        query = {"prefix": prefix, "show_hidden": "true" if hidden else "false"}
        pages = self._pages("/repositories/{repository}/branches", {"repository": repository}, query)
        return [LakeRef(row["id"], row["commit_id"]) for page in pages for row in page]

    def create_branch(self, repository: str, branch: str, source: str, *, hidden: bool = False) -> None:
        body = {"name": branch, "source": source, "hidden": hidden}
        self._send("POST", "/repositories/{repository}/branches", {"repository": repository}, body=body)

    def delete_branch(self, repository: str, branch: str) -> None:
        """Also where there is none."""
        try:
            self._ask("DELETE", _BRANCH, {"repository": repository, "branch": branch})
        except Denied as error:
            if error.status != 404:
                raise

    def reset_branch(self, repository: str, branch: str) -> None:
        """Drop all that is staged there."""
        self._ask("PUT", _BRANCH, {"repository": repository, "branch": branch}, body={"type": "reset"})

    def tags(self, repository: str) -> list[LakeRef]:
        pages = self._pages("/repositories/{repository}/tags", {"repository": repository}, {})
        return [LakeRef(row["id"], row["commit_id"]) for page in pages for row in page]

    def create_tag(self, repository: str, tag: str, commit: str) -> None:
        self._send("POST", "/repositories/{repository}/tags", {"repository": repository}, body={"id": tag, "ref": commit})

    def delete_tag(self, repository: str, tag: str) -> None:
        """Also where there is none."""
        try:
            self._ask("DELETE", "/repositories/{repository}/tags/{tag}", {"repository": repository, "tag": tag})
        except Denied as error:
            if error.status != 404:
                raise

    # commits

    def commit(self, repository: str, branch: str, message: str, metadata: Mapping[str, str]) -> str:
        """What is staged on `branch`, or nothing, as a commit; its id."""
        body = {"message": message, "metadata": dict(metadata), "allow_empty": True}
        names = {"repository": repository, "branch": branch}
        return str(self._send("POST", _BRANCH + "/commits", names, body=body, slow=True)["id"])

    def merge(self, repository: str, source: str, branch: str, message: str, metadata: Mapping[str, str], strategy: str = "") -> str:
        """One commit on `branch` with all that `source` changed; its id. Raises Denied: 409 when both changed the same path (not with
        the strategy `dest-wins`), 400 when something is staged on `branch`, 404 when one of them is gone. Nothing moves then.
        """
        body = {"message": message, "metadata": dict(metadata), "allow_empty": True, "squash_merge": True, "strategy": strategy}
        names = {"repository": repository, "source": source, "branch": branch}
        return str(self._send("POST", "/repositories/{repository}/refs/{source}/merge/{branch}", names, body=body, slow=True)["reference"])

    def get_commit(self, repository: str, commit: str) -> LakeCommit:
        return _commit(self._ask("GET", "/repositories/{repository}/commits/{commit}", {"repository": repository, "commit": commit}))

    def log(self, repository: str, commit: str, amount: int) -> list[LakeCommit]:
        """The newest `amount` commits from `commit` on, along the first parents."""
        query = {"amount": str(min(amount, _PAGE)), "limit": "true", "first_parent": "true"}
        answer = self._ask("GET", "/repositories/{repository}/refs/{ref}/commits", {"repository": repository, "ref": commit}, query)
        return [_commit(row) for row in answer["results"]]

    def history(self, repository: str, commit: str) -> Iterator[LakeCommit]:
        """Every commit that leads to `commit`, and that one first."""
        for page in self._pages("/repositories/{repository}/refs/{ref}/commits", {"repository": repository, "ref": commit}, {}):
            yield from map(_commit, page)

    def diff(self, repository: str, left: str, right: str) -> Iterator[LakeDifference]:
        """The paths that differ, in the order of their bytes."""
        names = {"repository": repository, "left": left, "right": right}
        query = {"type": "two_dot"}
        for page in self._pages("/repositories/{repository}/refs/{left}/diff/{right}", names, query, key="path"):
            for row in page:
                yield LakeDifference(row["path"], row["type"] == "removed", int(row.get("size_bytes", 0)))

    # objects

    def link(self, repository: str, branch: str, link: Link) -> None:
        body = {
            "staging": {"physical_address": link.address},
            "checksum": link.sha256,
            "size_bytes": link.size,
            "user_metadata": dict(link.metadata),
        }
        names = {"repository": repository, "branch": branch}
        self._ask("PUT", _BRANCH + "/staging/backing", names, {"path": link.path}, body=body)

    def remove(self, repository: str, branch: str, paths: Sequence[str]) -> None:
        """At most 1,000 paths; those that are not there too."""
        names = {"repository": repository, "branch": branch}
        errors = self._ask("POST", _BRANCH + "/objects/delete", names, body={"paths": list(paths)}).get("errors", [])
        if errors:
            raise Denied(int(errors[0].get("status_code", 500)), str(errors[0].get("message", "")))

    def stat(self, repository: str, commit: str, path: str) -> LakeObject:
        row = self._ask(
            "GET", "/repositories/{repository}/refs/{ref}/objects/stat", {"repository": repository, "ref": commit}, {"path": path}
        )
        return LakeObject(row["path"], row["physical_address"], row["checksum"], int(row.get("size_bytes", 0)), row.get("metadata") or {})

    def read(self, repository: str, commit: str, path: str, start: int, end: int) -> bytes:
        """Bytes from `start` up to `end` of an object; it must have some."""
        names = {"repository": repository, "ref": commit}
        headers = {"Range": f"bytes={start}-{end - 1}"}
        return self._bytes("GET", "/repositories/{repository}/refs/{ref}/objects", names, {"path": path}, headers=headers, tries=_TRIES)

    def _pages(self, path: str, names: Mapping[str, str], query: Mapping[str, str], key: str = "id") -> Iterator[list[Json]]:
        after = ""
        while True:
            answer = self._ask("GET", path, names, {**query, "amount": str(_PAGE), "after": after})
            yield answer["results"]
            if not answer["pagination"]["has_more"]:
                return
            after = answer["pagination"]["next_offset"]

    def _ask(
        self, method: str, path: str, names: Mapping[str, str] = {}, query: Mapping[str, str] = {}, body: Any = None, seconds: int = 0
    ) -> Json:
        """A call that may be made twice."""
        data = self._bytes(method, path, names, query, body=body, tries=_TRIES, seconds=seconds)
        return dict(json.loads(data)) if data[:1] == b"{" else {}

    def _send(
        self, method: str, path: str, names: Mapping[str, str] = {}, query: Mapping[str, str] = {}, body: Any = None, *, slow: bool = False
    ) -> Json:
        """A call that is made once."""
        data = self._bytes(method, path, names, query, body=body, tries=1, seconds=self.config.commit_seconds if slow else 0)
        return dict(json.loads(data)) if data[:1] == b"{" else {}

    def _bytes(
        self,
        method: str,
        path: str,
        names: Mapping[str, str],
        query: Mapping[str, str],
        *,
        tries: int,
        body: Any = None,
        headers: Mapping[str, str] = {},
        seconds: int = 0,
    ) -> bytes:
        for left in reversed(range(tries)):
            try:
                return self._call(method, path, names, query, body, headers, seconds or self.config.read_seconds)
            except Unavailable:
                if not left:
                    raise
            time.sleep(_BACK_OFF * (0.5 + random.random()))
        raise AssertionError("a call is made once at least")

    def _call(
        self,
        method: str,
        path: str,
        names: Mapping[str, str],
        query: Mapping[str, str],
        body: Any,
        headers: Mapping[str, str],
        seconds: int,
    ) -> bytes:
        sent = {"Accept": "application/json", **headers} | ({"Content-Type": "application/json"} if body is not None else {})
        try:
            answer = self._client.call_api(  # type: ignore[no-untyped-call]
                path,
                method,
                dict(names),
                list(query.items()),
                sent,
                body=body,
                auth_settings=["basic_auth"],
                response_types_map={"2XX": "bytearray"},
                _request_timeout=(self.config.connect_seconds, seconds),
            )
        except ApiException as error:
            raise self._judged(error, f"{method} {path}") from error
        except HTTPError as error:
            raise self._silent(type(error).__name__) from error
        return bytes(answer.raw_data)

    def _judged(self, error: ApiException, what: str) -> Exception:
        status = int(error.status or 0)
        message = _message(error.body)
        if status == 401:
            return Unavailable(
                f"LakeFS at {self.config.endpoint} does not take our keys. The operator sets KOHAKU_HUB_LAKEFS_ACCESS_KEY and"
                " KOHAKU_HUB_LAKEFS_SECRET_KEY to those with which it was set up."
            )
        if status in _SLOW_DOWN or status >= 500 or status == 0:
            return Unavailable(f"LakeFS at {self.config.endpoint} failed ({what} answered {status} {message}). Try again in a moment.")
        return Denied(status, message)

    def _silent(self, reason: str) -> Unavailable:
        return Unavailable(
            f"LakeFS at {self.config.endpoint} does not answer ({reason}). Try again in a moment;"
            " the operator checks KOHAKU_HUB_LAKEFS_ENDPOINT and that server."
        )


def _message(body: Any) -> str:
    try:
        return str(json.loads(body or "{}").get("message", ""))[:300]
    except (ValueError, AttributeError):
        return str(body)[:300]


def _commit(row: Json) -> LakeCommit:
    return LakeCommit(
        row["id"], tuple(row["parents"]), row.get("message", ""), row["committer"], int(row["creation_date"]), row.get("metadata") or {}
    )

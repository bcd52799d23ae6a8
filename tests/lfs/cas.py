"""A client of the CAS routes, one request at a time."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from tests.lfs.xetmaker import Made


@dataclass(frozen=True)
class Cas:
    """The CAS address of one user, without the hub's origin, and his token for one repository."""

    hub: Any
    path: str
    token: str

    def call(self, method: str, path: str, body: bytes | None = None, *, token: str | None = None) -> Any:
        shown = {"Content_Type": "application/octet-stream"} if body is not None else {}
        return self.hub.call(method, self.path + path, body, token=self.token if token is None else token, **shown)

    def xorb(self, made: Made, *, token: str | None = None) -> Any:
        return self.call("POST", f"/v1/xorbs/default/{made.name}", made.body, token=token)

    def bytes_as(self, name: str, body: bytes) -> Any:
        return self.call("POST", f"/v1/xorbs/default/{name}", body)

    def shard(self, body: bytes, version: int = 1, *, token: str | None = None) -> Any:
        return self.call("POST", f"/v{version}/shards", body, token=token)


def cas_for(hub: Any, name: str, right: str = "write", token: str | None = None) -> Cas:
    """Of alice for the repository `name`, unless another hub token is given."""
    revision = "main" if right == "write" else "None"  # an empty repository has no revision to read
    answer = hub.call("GET", f"/api/models/{name}/xet-{right}-token/{revision}", token=token)
    assert answer.status == 200, answer
    return Cas(hub, answer.json()["casUrl"].removeprefix(hub.url), answer.json()["accessToken"])


def events(answer: Any) -> list[Any]:
    return [json.loads(line) for line in answer.body.splitlines()]


def has(hub: Any, name: str, data: bytes) -> bool:
    """Whether the repository gives the object away by LFS."""
    asked = {"operation": "download", "objects": [{"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}]}
    kind = "application/vnd.git-lfs+json"
    (shown,) = hub.call("POST", f"/{name}.git/info/lfs/objects/batch", asked, Content_Type=kind, Accept=kind).json()["objects"]
    if "actions" not in shown:
        return False
    return bool(hub.call("GET", shown["actions"]["download"]["href"].removeprefix(hub.url), token="").body == data)

"""git-lfs-authenticate (git-lfs docs/api/server-discovery.md): from an SSH key to the LFS door over HTTP, for a while."""

import json

from accounts.keys.ssh_keys import SshKeys
from gitserver.ssh.entry import Admission
from storage.limits import Limits
from storage.records import Scope


def authenticate(keys: SshKeys, visit: Admission, limits: Limits, origin: str, *, is_upload: bool) -> bytes:
    """The JSON that git-lfs reads. `origin` is the hub's public address over HTTP."""
    seconds = limits.ssh_token_seconds
    token = keys.passing_token(visit.holder, Scope.WRITE if is_upload else Scope.READ, seconds)
    answer = {
        "href": f"{origin}/{visit.name.path}.git/info/lfs",
        "header": {"Authorization": f"Bearer {token.text}"},
        "expires_in": seconds,
    }
    return json.dumps(answer).encode() + b"\n"

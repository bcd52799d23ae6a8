"""Xet access tokens: an HMAC over repository, user, right and expiry. They are the credential of the CAS routes, and of nothing else."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from dataclasses import dataclass

from storage.errors import Forbidden, Unauthenticated
from storage.records import Principal, Repo

_PREFIX = "xet_"


@dataclass(frozen=True, slots=True)
class XetGrant:
    """What a token allows until `expires` (seconds since the epoch)."""

    repo_id: str
    user_id: int
    may_write: bool
    expires: int


class XetTokens:
    """`epoch` names this installation in the address of the CAS, beside a word that stands for the user: clients keep what they know
    of stored chunks by that address, and must not mix installations or users."""

    def __init__(self, secret: bytes, epoch: str, seconds: int) -> None:
        self._secret = secret
        self._epoch = epoch
        self._seconds = seconds

    def issue(self, principal: Principal, repo: Repo, *, may_write: bool) -> tuple[str, int]:
        """The token and when it expires."""
        expires = int(time.time()) + self._seconds
        body = json.dumps([repo.id, principal.user_id, may_write, expires]).encode()
        return _PREFIX + _encode(body) + "." + _encode(self._sign(b"token", body)), expires

    def check(self, authorization: str, scope: str, *, needs_write: bool) -> XetGrant:
        """What the Authorization header allows at the address with `scope`. Raises Unauthenticated or Forbidden."""
        body, _, signature = authorization.removeprefix("Bearer ").removeprefix(_PREFIX).partition(".")
        data = _decode(body)
        if not hmac.compare_digest(self._sign(b"token", data), _decode(signature)):
            raise Unauthenticated("This is no Xet token of this hub. Ask for a new one.")
        repo_id, user_id, may_write, expires = json.loads(data)
        if expires < time.time():
            raise Unauthenticated("The Xet token has expired. Ask for a new one.")
        if not hmac.compare_digest(self.scope(user_id), scope):
            raise Forbidden("The Xet token is not for this address. Ask for a new one and use the address that comes with it.")
        if needs_write and not may_write:
            raise Forbidden("This needs a Xet write token. Ask for one with xet-write-token.")
        return XetGrant(repo_id, user_id, may_write, expires)

    def scope(self, user_id: int) -> str:
        """The last part of the CAS address for that user; the same for as long as the installation lives."""
        return f"{self._epoch}-{self._sign(b'scope', b'%d' % user_id).hex()[:16]}"

    def _sign(self, purpose: bytes, data: bytes) -> bytes:
        return hmac.digest(self._secret, b"xet " + purpose + b"\0" + data, hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise Unauthenticated("This is no Xet token of this hub. Ask for a new one.") from error

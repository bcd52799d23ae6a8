"""Who stands at the door: Basic, Bearer or session cookie, turned into a Principal."""

import base64
import binascii
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from urllib.parse import urlsplit

from accounts.errors import WRONG_CREDENTIALS
from accounts.sessions import Sessions
from accounts.throttle import Throttle
from accounts.tokens import Tokens
from accounts.users import Users
from storage.errors import Forbidden, Unauthenticated
from storage.records import ANONYMOUS, Principal, Scope

COOKIE = "session_id"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_KEEP_SECONDS = 5.0
_KEEP = 1000


class Gatekeeper:
    """A Doorman (accounts.endpoint). A credential that was right is remembered for 5 seconds, so that a burst of requests asks once;
    a token that was deleted may therefore live on for as long."""

    def __init__(self, users: Users, tokens: Tokens, sessions: Sessions, throttle: Throttle) -> None:
        self._users = users
        self._tokens = tokens
        self._sessions = sessions
        self._throttle = throttle
        self._known: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, headers: Mapping[str, str], cookies: Mapping[str, str], address: str, *, method: str) -> Principal:
        authorization = headers.get("Authorization", "")
        if authorization:
            return self._by_header(authorization, address)
        cookie = cookies.get(COOKIE, "")
        if not cookie:
            return ANONYMOUS
        principal = self._sessions.find(cookie) or ANONYMOUS
        if not principal.is_anonymous and method not in _SAFE and not _is_same_origin(headers):
            raise Forbidden("This request comes from another site. Open the hub itself, or use an access token.")
        return principal

    def sign_in(self, name: str, password: str, address: str) -> Principal:
        """By password. Raises Unauthenticated or Throttled."""
        self._throttle.check(name, address)
        user = self._users.check_password(name, password)
        if user is None:
            self._throttle.note(name, address)
            raise Unauthenticated(WRONG_CREDENTIALS)
        return user.principal(Scope.ADMIN, from_session=True)

    def _by_header(self, authorization: str, address: str) -> Principal:
        key = hashlib.sha256(authorization.encode("utf-8", "surrogateescape")).digest()
        with self._lock:
            until, principal = self._known.get(key, (0.0, ANONYMOUS))
        if until > time.monotonic():
            return principal
        principal = self._look_up(authorization, address)
        with self._lock:
            self._known[key] = (time.monotonic() + _KEEP_SECONDS, principal)
            if len(self._known) > _KEEP:
                self._known.popitem(last=False)
        return principal

    def _look_up(self, authorization: str, address: str) -> Principal:
        scheme, _, value = authorization.partition(" ")
        if scheme.lower() == "bearer":
            name, secret = "", value.strip()
        elif scheme.lower() == "basic":
            name, secret = _basic(value)
        else:
            raise Unauthenticated(WRONG_CREDENTIALS)
        principal = self._tokens.find(secret) if secret else None
        if principal is not None:
            return principal
        if name and secret and not secret.startswith("hf_"):
            return self.sign_in(name, secret, address)
        self._throttle.check("", address)
        self._throttle.note("", address)
        raise Unauthenticated(WRONG_CREDENTIALS)


def _basic(value: str) -> tuple[str, str]:
    try:
        name, _, secret = base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Unauthenticated(WRONG_CREDENTIALS) from error
    return name, secret


def _is_same_origin(headers: Mapping[str, str]) -> bool:
    """By Sec-Fetch-Site, else Origin (every browser sends one of them with an unsafe method); neither means no browser."""
    site = headers.get("Sec-Fetch-Site", "")
    if site:
        return site in ("same-origin", "none")
    origin = headers.get("Origin", "")
    return not origin or urlsplit(origin).netloc == headers.get("X-Forwarded-Host", headers.get("Host", ""))

"""Who stands at the door: Basic, Bearer or session cookie, turned into a Principal."""

import base64
import binascii
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from accounts.identity.revocations import Revocations
from accounts.identity.sessions import Sessions
from accounts.identity.throttle import Throttle
from accounts.identity.tokens import Tokens, is_token
from accounts.identity.users import Users
from storage.errors import WRONG_CREDENTIALS, Unauthenticated
from storage.records import ANONYMOUS, Principal, Scope

COOKIE = "session_id"
_KEEP_SECONDS = 5.0
_KEEP = 1000


@dataclass(frozen=True, slots=True)
class _Known:
    """A credential that was right, as the rows stood after `revocations`."""

    principal: Principal
    revocations: int
    until: float


class Authenticator:
    """Whom a credential stands for. A credential that was right is remembered for 5 seconds, so that a burst of requests asks once,
    but no longer than until it, or any other, is taken back."""

    def __init__(self, users: Users, tokens: Tokens, sessions: Sessions, throttle: Throttle, revocations: Revocations) -> None:
        self._users = users
        self._tokens = tokens
        self._sessions = sessions
        self._throttle = throttle
        self._revocations = revocations
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, headers: Mapping[str, str], cookies: Mapping[str, str], address: str) -> Principal:
        authorization = headers.get("Authorization", "")
        if authorization:
            return self._by_header(authorization, address)
        cookie = cookies.get(COOKIE, "")
        if not cookie:
            return ANONYMOUS
        return self._sessions.find(cookie) or ANONYMOUS

    def sign_in(self, name: str, password: str, address: str) -> Principal:
        """By password, as typed into a form. Raises Unauthenticated or Throttled."""
        principal = self._by_password(name, password, address)
        if principal is None:
            raise Unauthenticated("Wrong user name or password.")
        return principal

    def _by_password(self, name: str, password: str, address: str) -> Principal | None:
        self._throttle.check(name, address)
        user = self._users.check_password(name, password)
        if user is None:
            self._throttle.note(name, address)
            return None
        return user.principal(Scope.ADMIN, from_session=True)

    def _by_header(self, authorization: str, address: str) -> Principal:
        key = hashlib.sha256(authorization.encode("utf-8", "surrogateescape")).digest()
        number = self._revocations.number()  # before the rows are asked: what is taken back meanwhile counts as taken back
        with self._lock:
            known = self._known.get(key)
        if known is not None and known.revocations == number and known.until > time.monotonic():
            return known.principal
        principal = self._look_up(authorization, address)
        with self._lock:
            self._known[key] = _Known(principal, number, time.monotonic() + _seconds_to_keep(principal))
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
        principal = self._by_token(name, secret)
        if principal is None and name and secret and not (secret.startswith("hf_") or is_token(name)):
            principal = self._by_password(name, secret, address)
        elif principal is None:
            self._throttle.check("", address)
            self._throttle.note("", address)
        if principal is None:
            raise Unauthenticated(WRONG_CREDENTIALS)
        return principal

    def _by_token(self, name: str, secret: str) -> Principal | None:
        """A token as the password, or as the user name (`https://TOKEN@host`, `TOKEN:x-oauth-basic`), as other hubs take it."""
        principal = self._tokens.find(secret) if secret else None
        return self._tokens.find(name) if principal is None and is_token(name) else principal


def _seconds_to_keep(principal: Principal) -> float:
    end = principal.token_expires_at
    return _KEEP_SECONDS if end is None else min(_KEEP_SECONDS, end / 1e6 - time.time())


def _basic(value: str) -> tuple[str, str]:
    try:
        name, _, secret = base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise Unauthenticated(WRONG_CREDENTIALS) from error
    return name, secret

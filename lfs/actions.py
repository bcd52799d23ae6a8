"""Action URLs that authorize themselves: an HMAC over verb, repository, object, size and expiry. They carry no identity and no token."""

import hashlib
import hmac
import time
from dataclasses import dataclass
from enum import StrEnum

from storage.errors import Forbidden, Invalid
from storage.records import BlobRef


class Verb(StrEnum):
    UPLOAD = "upload"
    DOWNLOAD = "download"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a URL allows, until `expires` (seconds since the epoch)."""

    verb: Verb
    repo_id: str
    blob: BlobRef
    expires: int


class Actions:
    def __init__(self, secret: bytes, seconds: int) -> None:
        self._secret = secret
        self.seconds = seconds

    def url(self, origin: str, verb: Verb, repo_id: str, blob: BlobRef) -> str:
        grant = Grant(verb, repo_id, blob, int(time.time()) + self.seconds)
        query = f"size={blob.size}&expires={grant.expires}&signature={self._sign(grant)}"
        return f"{origin}/api/lfs/{repo_id}/{blob.sha256}/{verb.value}?{query}"

    def check(self, verb: Verb, repo_id: str, oid: str, size: str, expires: str, signature: str) -> Grant:
        """The grant of a URL's parts as they came. Raises Invalid or Forbidden."""
        if not (size.isdecimal() and expires.isdecimal() and len(size) < 19 and len(expires) < 19):
            raise Invalid("This is no action URL of this hub. Ask for a new one with a batch request.")
        grant = Grant(verb, repo_id, BlobRef(oid, int(size)), int(expires))
        if not hmac.compare_digest(self._sign(grant).encode(), signature.encode("utf-8", "replace")):
            raise Forbidden("The signature of this URL is wrong. Ask for a new one with a batch request.")
        if grant.expires < time.time():
            raise Forbidden("This URL has expired. Ask for a new one with a batch request.")
        return grant

    def _sign(self, grant: Grant) -> str:
        text = "\n".join((grant.verb.value, grant.repo_id, grant.blob.sha256, str(grant.blob.size), str(grant.expires)))
        return hmac.new(self._secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

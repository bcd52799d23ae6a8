"""URLs of bundles that authorize themselves: an HMAC over repository and expiry. They carry no identity and no token."""

import hashlib
import hmac
import time

from storage.errors import Forbidden, Invalid

PATH = "/api/git/{repo_id}/all.bundle"


class BundleLinks:
    """A URL is good for `seconds`, on every machine that has the same secret."""

    def __init__(self, secret: bytes, seconds: int) -> None:
        self._secret = secret
        self._seconds = seconds

    def url(self, origin: str, repo_id: str) -> str:
        expires = str(int(time.time()) + self._seconds)
        return f"{origin}{PATH.format(repo_id=repo_id)}?expires={expires}&signature={self._sign(repo_id, expires)}"

    def check(self, repo_id: str, expires: str, signature: str) -> None:
        """Of a URL's parts as they came. Raises Invalid or Forbidden."""
        if not (expires.isascii() and expires.isdecimal() and len(expires) < 19):
            raise Invalid("This is no bundle URL of this hub. Clone again; git asks for a new one.")
        if not hmac.compare_digest(self._sign(repo_id, expires).encode(), signature.encode("utf-8", "replace")):
            raise Forbidden("The signature of this URL is wrong. Clone again; git asks for a new one.")
        if int(expires) < time.time():
            raise Forbidden("This URL has expired. Clone again; git asks for a new one.")

    def _sign(self, repo_id: str, expires: str) -> str:
        text = "\n".join(("bundle", repo_id, expires))
        return hmac.new(self._secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

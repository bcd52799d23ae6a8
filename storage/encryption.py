"""Credentials of other services, encrypted for the database (AES-256-GCM): a copy of the rows alone does not tell them."""

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from storage.errors import Unavailable

_NONCE = 12


class SecretBox:
    """`secret` is the hub's signing key, from which a key for this alone is derived."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(hmac.digest(secret, b"credentials of other services 1\x01", "sha256"))

    def close(self, text: str, owner: str) -> str:
        """`owner` names the row: what is copied into another row does not open there."""
        nonce = os.urandom(_NONCE)
        return urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, text.encode(), owner.encode())).decode()

    def open(self, sealed: str, owner: str) -> str:
        """Raises Unavailable when the hub's secret is another one now."""
        try:
            data = urlsafe_b64decode(sealed)
            return self._cipher.decrypt(data[:_NONCE], data[_NONCE:], owner.encode()).decode()
        except (InvalidTag, ValueError) as error:
            raise Unavailable("The stored credentials do not open: the hub's secret has changed. Give them again.") from error

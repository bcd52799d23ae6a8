"""One line of a `.pub` file (RFC 4253 §6.6, RFC 5656, RFC 8709), read strictly: only kinds that are safe, and nothing around them."""

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass
from typing import Self

from storage.errors import Invalid

_MOST_TEXT = 16 * 1024
_RSA_BITS = range(2048, 16385)  # less can be broken, more costs the server too much
_POINT_BYTES = {"ecdsa-sha2-nistp256": 65, "ecdsa-sha2-nistp384": 97, "ecdsa-sha2-nistp521": 133}
_KNOWN = "ssh-ed25519, ecdsa-sha2-nistp256, -384 or -521, or ssh-rsa of 2048 bits or more"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """`blob` is the key as it goes over the wire; `comment` is what stood behind it."""

    kind: str
    blob: bytes
    comment: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises Invalid for anything but one public key: private ones, options, certificates, weak or unknown kinds."""
        if "PRIVATE KEY" in text:
            raise Invalid("This is a private key. Keep it to yourself, make a new pair, and send the file that ends in .pub.")
        if len(text) > _MOST_TEXT or len(text.split("\n")) > 2 or not text.strip():
            raise Invalid("A public key is one line, as it stands in the file that ends in .pub.")
        kind, _, rest = text.strip().partition(" ")
        data, _, comment = rest.strip().partition(" ")
        blob = _decoded(data)
        _check(kind, blob)
        return cls(kind, blob, " ".join(comment.split())[:100])

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.blob)

    @property
    def text(self) -> str:
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"


def fingerprint(blob: bytes) -> str:
    """As `ssh-keygen -l` shows it: SHA256:… without padding."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("The key is not what a .pub file holds: its second word is no base64. Copy the whole line.") from error


def _check(kind: str, blob: bytes) -> None:
    fields = _fields(blob)
    if not fields or fields[0] != kind.encode("utf-8", "replace"):
        raise Invalid(f"The key is not what it says it is. Send one of {_KNOWN}.")
    if kind == "ssh-ed25519":
        is_good = len(fields) == 2 and len(fields[1]) == 32
    elif kind in _POINT_BYTES:
        curve = kind.rpartition("-")[2].encode()
        is_good = len(fields) == 3 and fields[1] == curve and len(fields[2]) == _POINT_BYTES[kind] and fields[2][0] == 4
    elif kind == "ssh-rsa":
        is_good = len(fields) == 3 and _is_strong(fields[1], fields[2])
    else:
        raise Invalid(f"Keys of the kind {kind[:60]!r} are not taken. Send one of {_KNOWN}; make one with: ssh-keygen -t ed25519")
    if not is_good:
        raise Invalid(f"The {kind} key is broken or too weak. Send one of {_KNOWN}; make one with: ssh-keygen -t ed25519")


def _fields(blob: bytes) -> list[bytes]:
    """The strings that the key is made of; none when it ends in the middle of one."""
    fields: list[bytes] = []
    place = 0
    while place < len(blob):
        if len(blob) - place < 4:
            return []
        (size,) = struct.unpack_from(">I", blob, place)
        place += 4
        if len(blob) - place < size:
            return []
        fields.append(blob[place : place + size])
        place += size
    return fields


def _is_strong(exponent: bytes, modulus: bytes) -> bool:
    """Both are positive numbers in their shortest form."""
    for number in (exponent, modulus):
        if not number or number[0] & 0x80 or (number[0] == 0 and not (len(number) > 1 and number[1] & 0x80)):
            return False
    power, size = int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big").bit_length()
    return size in _RSA_BITS and modulus[-1] & 1 == 1 and power >= 3 and power & 1 == 1 and power.bit_length() <= 64

"""Action URLs that authorize themselves: an HMAC over verb, repository, object, part and expiry. They carry no identity and no token."""

import hashlib
import hmac
import time
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from storage.errors import Forbidden
from storage.multipart.base import Direct, Parted
from storage.records import BlobRef


class ActionVerb(StrEnum):
    UPLOAD = "upload"
    DOWNLOAD = "download"
    VERIFY = "verify"
    PART = "part"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a URL allows, until `expires` (seconds since the epoch)."""

    verb: ActionVerb
    repo_id: str
    blob: BlobRef
    expires: int
    part_bytes: int = 0  # of a multipart upload
    number: int = 0  # of its part, from 1
    direct: Direct | None = None  # where the client sent the object without the hub

    @property
    def parted(self) -> Parted:
        """The multipart upload of a PART or COMPLETE grant, or of one whose client sent the object without the hub."""
        return Parted(self.repo_id, self.blob, self.part_bytes, self.direct)


class Actions:
    def __init__(self, secret: bytes, seconds: int) -> None:
        self._secret = secret
        self.seconds = seconds

    def url(self, origin: str, verb: ActionVerb, repo_id: str, blob: BlobRef, seconds: int = 0) -> str:
        """Good for `seconds`, or for as long as action URLs usually are."""
        return self._url(origin, Grant(verb, repo_id, blob, int(time.time()) + (seconds or self.seconds)))

    def part_url(self, origin: str, parted: Parted, number: int, seconds: int) -> str:
        return self._url(origin, Grant(ActionVerb.PART, parted.repo_id, parted.blob, int(time.time()) + seconds, parted.part_bytes, number))

    def complete_url(self, origin: str, parted: Parted, seconds: int) -> str:
        return self._url(origin, _whole(ActionVerb.COMPLETE, parted, seconds))

    def admit_url(self, origin: str, parted: Parted, seconds: int) -> str:
        """To verify what was sent without the hub; that makes it an object."""
        return self._url(origin, _whole(ActionVerb.VERIFY, parted, seconds))

    def check(
        self,
        verb: ActionVerb,
        repo_id: str,
        oid: str,
        size: str,
        expires: str,
        signature: str,
        part_bytes: str = "0",
        number: str = "0",
        *,
        direct: Direct | None = None,
    ) -> Grant:
        """The grant of a URL's parts as they came. Raises Forbidden, also where some are missing: they are the credential."""
        if not all(text.isdecimal() and len(text) < 19 for text in (size, expires, part_bytes, number)):
            raise Forbidden("This is no action URL of this hub. Ask for a new one with a batch request.")
        grant = Grant(verb, repo_id, BlobRef(oid, int(size)), int(expires), int(part_bytes), int(number), direct)
        if not hmac.compare_digest(self._sign(grant).encode(), signature.encode("utf-8", "replace")):
            raise Forbidden("The signature of this URL is wrong. Ask for a new one with a batch request.")
        if grant.expires < time.time():
            raise Forbidden("This URL has expired. Ask for a new one with a batch request.")
        return grant

    def _url(self, origin: str, grant: Grant) -> str:
        part = f"&part_bytes={grant.part_bytes}&number={grant.number}" if grant.part_bytes else ""
        direct = f"&{_query(grant.direct)}" if grant.direct else ""
        query = f"size={grant.blob.size}{part}{direct}&expires={grant.expires}&signature={self._sign(grant)}"
        return f"{origin}/api/lfs/{grant.repo_id}/{grant.blob.sha256}/{grant.verb.value}?{query}"

    def _sign(self, grant: Grant) -> str:
        numbers = (grant.blob.size, grant.part_bytes, grant.number, grant.expires)
        direct = (_query(grant.direct),) if grant.direct else ()  # never to be taken for a number
        text = "\n".join((grant.verb.value, grant.repo_id, grant.blob.sha256, *(str(number) for number in numbers), *direct))
        return hmac.new(self._secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def _query(direct: Direct) -> str:
    return f"name={quote(direct.name, safe='')}&upload={quote(direct.upload, safe='')}"


def _whole(verb: ActionVerb, parted: Parted, seconds: int) -> Grant:
    return Grant(verb, parted.repo_id, parted.blob, int(time.time()) + seconds, parted.part_bytes, direct=parted.direct)

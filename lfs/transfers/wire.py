"""The LFS batch API's JSON (git-lfs docs/api/batch.md), read with care: one bad object does not spoil the others."""

import re
from dataclasses import dataclass
from typing import Any

from storage.errors import Conflict, HubError, Invalid, TooLarge
from storage.limits import Limits
from storage.records import BlobRef

MEDIA_TYPE = "application/vnd.git-lfs+json"
_ACCEPTED = frozenset({MEDIA_TYPE, "application/json", "application/*", "*/*"})
_OID = re.compile(r"[0-9a-f]{64}")


class Unprocessable(HubError):
    """422: well-formed, but not what this server can do."""

    status = 422


class NotAcceptable(HubError):
    """406: the caller wants another media type than LFS's own."""

    status = 406


@dataclass(frozen=True, slots=True)
class BadObject:
    """An object of a batch that names nothing; `oid` and `size` are shown back as far as they can be."""

    oid: str
    size: int
    message: str


@dataclass(frozen=True, slots=True)
class BatchRequest:
    is_upload: bool
    objects: tuple[BlobRef | BadObject, ...]
    may_multipart: bool = False  # whether the client knows the transfer


@dataclass(frozen=True, slots=True)
class Completion:
    """What a client says it sent: the etags of the parts 1, 2, 3 …, without quotes."""

    oid: str
    etags: tuple[str, ...]


def check_accept(accept: str) -> None:
    """`accept` is the request's header, empty when it has none. Raises NotAcceptable."""
    kinds = {kind.partition(";")[0].strip().lower() for kind in accept.split(",")}
    if accept and kinds.isdisjoint(_ACCEPTED):
        raise NotAcceptable(f"This answers {MEDIA_TYPE}. Send it in the Accept header.")


def parse_batch(data: Any, limits: Limits) -> BatchRequest:
    """Raises Invalid, Conflict or TooLarge."""
    if not isinstance(data, dict) or data.get("operation") not in ("upload", "download"):
        raise Invalid("A batch request is a JSON object whose operation is upload or download.")
    objects = data.get("objects")
    if not isinstance(objects, list):
        raise Invalid("A batch request has a list of objects, each with oid and size.")
    if len(objects) > limits.lfs_batch_objects:
        raise TooLarge(
            f"The batch names {len(objects)} objects; at most {limits.lfs_batch_objects} are taken at once. Send smaller batches."
        )
    _check_algorithm(data.get("hash_algo", "sha256"))
    transfers = data.get("transfers")
    may_multipart = isinstance(transfers, list) and "multipart" in transfers
    return BatchRequest(data["operation"] == "upload", tuple(parse_object(item, limits) for item in objects), may_multipart)


def _check_algorithm(name: object) -> None:
    """Clients write sha256 in several ways. Raises Conflict for others, as the specification says."""
    if not isinstance(name, str) or name.lower().replace("-", "").replace("_", "") != "sha256":
        shown = repr(str(name)[:40])
        raise Conflict(f"hash_algo {shown} is not known here; only sha256 is. Configure the client for it.")


def parse_object(item: Any, limits: Limits) -> BlobRef | BadObject:
    """Raises Invalid for what is no object at all."""
    if not isinstance(item, dict) or not isinstance(item.get("oid"), str):
        raise Invalid("Each object of a batch is a JSON object with a string oid and an integer size.")
    oid, size = item["oid"], item.get("size")
    if not isinstance(size, int) or isinstance(size, bool):
        raise Invalid(f"Object {oid[:80]!r} has no integer size.")
    if not _OID.fullmatch(oid):
        return BadObject(oid[:80], 0, "The oid is not a sha256 in 64 lower-case hex digits.")
    if not 0 <= size <= limits.lfs_object_bytes:
        return BadObject(oid, 0, f"The size is not between 0 and {limits.lfs_object_bytes} bytes.")
    return BlobRef(oid, size)


def parse_completion(data: Any) -> Completion:
    """Raises Invalid."""
    if not isinstance(data, dict) or not isinstance(data.get("oid"), str) or not isinstance(data.get("parts"), list):
        raise Invalid("A completion is a JSON object with oid and a list of parts, each with partNumber and etag.")
    return Completion(data["oid"], tuple(_etag(part, number) for number, part in enumerate(data["parts"], 1)))


def _etag(part: Any, number: int) -> str:
    if not isinstance(part, dict) or not isinstance(part.get("etag"), str) or type(part.get("partNumber")) is not int:
        raise Invalid(f"Entry {number} of parts has no integer partNumber and string etag. Send those of every part.")
    if part["partNumber"] != number:
        raise Invalid(f"Entry {number} of parts is part {part['partNumber']}. Name every part once, from 1 on in order.")
    return str(part["etag"]).removeprefix("W/").strip('"')  # a proxy that compresses makes etags weak


def error_json(oid: str, size: int, code: int, message: str) -> dict[str, Any]:
    return {"oid": oid, "size": size, "error": {"code": code, "message": message}}

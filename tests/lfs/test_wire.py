"""What a batch request may say."""

import dataclasses
from typing import Any

import pytest

from lfs.transfers.wire import BadObject, Completion, NotAcceptable, check_accept, parse_batch, parse_completion, parse_object
from storage.errors import Conflict, Invalid, TooLarge
from storage.limits import Limits
from storage.records import BlobRef

OID = "ab" * 32
LIMITS = dataclasses.replace(Limits(), lfs_batch_objects=3, lfs_object_bytes=1000)


@pytest.mark.parametrize("ref", [None, {}, {"name": "refs/heads/main"}, "odd"])
def test_the_ref_does_not_matter(ref: Any) -> None:
    asked = parse_batch({"operation": "upload", "ref": ref, "objects": [{"oid": OID, "size": 5}]}, LIMITS)

    assert asked.is_upload
    assert asked.objects == (BlobRef(OID, 5),)


@pytest.mark.parametrize("item", [{"oid": "AB" * 32, "size": 1}, {"oid": "../x", "size": 1}, {"oid": OID + "\n", "size": 1}])
def test_an_odd_oid_spoils_only_itself(item: dict[str, Any]) -> None:
    bad, good = parse_batch({"operation": "download", "objects": [item, {"oid": OID, "size": 1}]}, LIMITS).objects

    assert isinstance(bad, BadObject)
    assert good == BlobRef(OID, 1)


@pytest.mark.parametrize("size", [-1, 1001])
def test_sizes_have_bounds(size: int) -> None:
    assert isinstance(parse_object({"oid": OID, "size": size}, LIMITS), BadObject)


@pytest.mark.parametrize("size", [None, "5", 1.5, True])
def test_sizes_are_integers(size: Any) -> None:
    with pytest.raises(Invalid, match="size"):
        parse_object({"oid": OID, "size": size}, LIMITS)


@pytest.mark.parametrize("body", [[], {}, {"operation": "verify", "objects": []}, {"operation": "upload", "objects": {}}])
def test_what_is_no_batch(body: Any) -> None:
    with pytest.raises(Invalid):
        parse_batch(body, LIMITS)


def test_too_many_objects_and_other_hashes() -> None:
    with pytest.raises(TooLarge, match="at most 3"):
        parse_batch({"operation": "upload", "objects": [{"oid": OID, "size": 1}] * 4}, LIMITS)
    for other in ("sha512", "sha256x", "", 256, None):
        with pytest.raises(Conflict, match="sha256"):
            parse_batch({"operation": "upload", "objects": [], "hash_algo": other}, LIMITS)


@pytest.mark.parametrize("name", ["sha256", "sha_256", "sha-256", "SHA256"])
def test_w11_spellings_of_sha256(name: str) -> None:
    assert parse_batch({"operation": "upload", "objects": [], "hash_algo": name}, LIMITS).is_upload


@pytest.mark.parametrize("accept", ["", "*/*", "application/vnd.git-lfs+json; charset=utf-8", "text/html, application/json;q=0.5"])
def test_accepted(accept: str) -> None:
    check_accept(accept)


def test_another_media_type_is_not_acceptable() -> None:
    with pytest.raises(NotAcceptable, match="Accept"):
        check_accept("text/html")


def test_multipart_requests() -> None:
    objects = [{"oid": "ab" * 32, "size": 1}]
    etags = ['"aa"', 'W/"bb"', "cc"]
    asked = {"oid": "x", "parts": [{"partNumber": number, "etag": etag, "more": 1} for number, etag in enumerate(etags, 1)]}

    assert parse_batch({"operation": "upload", "objects": objects, "transfers": ["xet", "multipart"]}, Limits()).may_multipart
    assert not parse_batch({"operation": "upload", "objects": objects}, Limits()).may_multipart
    assert not parse_batch({"operation": "upload", "objects": objects, "transfers": ["basic"]}, Limits()).may_multipart
    assert parse_completion(asked) == Completion("x", ("aa", "bb", "cc"))
    with pytest.raises(Invalid):
        parse_completion({"oid": "x"})

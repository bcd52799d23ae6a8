"""The shapes of huggingface.co's API: what is read from bodies and queries, and the JSON of what is shown."""

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.parser import BytesParser
from email.policy import HTTP
from functools import partial
from html import escape
from typing import Any
from urllib.parse import parse_qs, quote

from aiohttp import web

from httpapi import endpoint
from httpapi.bodies import read_all, read_json
from httpapi.shapes import iso
from lfs.pointer import Pointer, serialize
from storage.errors import Forbidden, Invalid, RepoNotFound, TooLarge, Unsupported
from storage.limits import Limits
from storage.records import Commit, FileEntry, Repo, RepoKind

_TREE = 0o40000
_FORM, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
_CURSOR = b"kohaku:"
_ALPHABET = str.maketrans("+ /", "--_")  # a plus that was not quoted is a space in a query
_FILE_NAME = re.compile(rb'\{"file_name":"(.*)"\}', re.DOTALL)
KINDS, API_REPO = endpoint.KINDS, endpoint.API_REPO
# A revision is one segment, slashes encoded; browsers and old clients also send these unencoded.
# Names of branches may hold braces, and those of files line feeds.
REVISION = "{rev:refs/(?:pr|convert|heads|tags)/[^/]+|[^/]+}"
PATH = "{path:(?s:.+)}"


def text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def as_path(value: str) -> bytes:
    """A path of a URL or body as git's bytes, without slashes at its ends."""
    return value.encode("utf-8", "surrogateescape").strip(b"/")


def flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in ("true", "1")


def no_single_name(request: web.Request) -> RepoNotFound:
    """For routes of repositories whose name is one word, which are on huggingface.co alone."""
    kind = request.match_info.get("kinds", "models").removesuffix("s")
    name = request.match_info["single"][:100]
    return RepoNotFound(f"{kind.capitalize()} repository {name} not found. Names here are namespace/name.")


def no_pull_requests() -> Forbidden:
    return Forbidden("Pull requests are not available on this hub: commit to a branch instead, without create_pr.")


def refuse_pull_request(request: web.Request) -> None:
    """For routes that clients call with create_pr=1."""
    if flag(request, "create_pr"):
        raise no_pull_requests()


def number(request: web.Request, name: str, default: int, most: int) -> int:
    value = request.query.get(name, "")
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise Invalid(f"{name} is {value[:40]!r}, but a number is needed.")
    return max(1, min(int(value), most))


def kind_of(value: object) -> RepoKind:
    """`type` of a body; a model when it is missing."""
    try:
        return RepoKind(str(value or "model"))
    except ValueError as error:
        raise Invalid(f"Repository type {str(value)[:40]!r} is not known; use model, dataset or space.") from error


async def json_object(request: web.Request, limits: Limits, *, may_be_empty: bool = False, most: int = 0) -> dict[str, Any]:
    """A body of at most `most` bytes, or of as many as JSON usually has."""
    if may_be_empty and not request.can_read_body:
        return {}
    data = await read_json(request, most or limits.json_bytes)
    if not isinstance(data, dict):
        raise Invalid("The body must be a JSON object.")
    return data


async def form_or_json(request: web.Request, limits: Limits) -> dict[str, list[str]]:
    """paths-info: the Python client sends a form, others JSON or multipart/form-data. Raises Unsupported for other media types."""
    if request.content_type == "application/json":
        data = await json_object(request, limits)
        return {key: [str(v) for v in value] if isinstance(value, list) else [str(value)] for key, value in data.items()}
    readers: dict[str, Callable[[bytes, int], dict[str, list[str]]]] = {
        _FORM: parse_form,
        _MULTIPART: partial(parse_multipart, request.headers.get("Content-Type", "")),
    }
    reader = readers.get(request.headers.get("Content-Type", _FORM).partition(";")[0].strip().lower())
    if reader is None:
        raise Unsupported(f"Content-Type {request.content_type[:80]!r} is not understood here; send JSON or a form.")
    return reader(await read_all(request, limits.json_bytes), limits.paths_info + 10)


def parse_form(body: bytes, most: int) -> dict[str, list[str]]:
    """An HTML form as browsers encode it. Raises Invalid, and TooLarge for more than `most` fields."""
    try:
        return parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=most)
    except UnicodeDecodeError as error:
        raise Invalid("The form is not UTF-8. Encode the paths as UTF-8.") from error
    except ValueError as error:
        raise TooLarge(f"The form has more than {most} fields. Ask in smaller parts.") from error


def parse_multipart(content_type: str, body: bytes, most: int) -> dict[str, list[str]]:
    """The fields of multipart/form-data (RFC 7578). Raises Invalid, and TooLarge for more than `most` of them."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: %s\r\n\r\n%s" % (content_type.encode("latin-1", "replace"), body))
    if message.defects or not message.is_multipart():
        raise Invalid("The form is not multipart/form-data that this server reads. Check its boundary.")
    parts = list(message.iter_parts())
    if len(parts) > most:
        raise TooLarge(f"The form has more than {most} fields. Ask in smaller parts.")
    found: dict[str, list[str]] = {}
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            raise Invalid("A part of the form has no name. Check the request.")
        try:
            found.setdefault(name, []).append(bytes(part.get_payload(decode=True)).decode("utf-8"))
        except UnicodeDecodeError as error:
            raise Invalid("The form is not UTF-8. Encode the paths as UTF-8.") from error
    return found


def entry_json(entry: FileEntry, path: str, commit: Commit | None) -> dict[str, Any]:
    """A row of tree and paths-info, with `path` as clients spell it; the LFS key is `oid` here."""
    shown: dict[str, Any] = {"type": "directory" if entry.mode == _TREE else "file", "oid": entry.oid.hex()}
    shown |= {"size": entry.lfs.size if entry.lfs else entry.size, "path": path}
    if entry.lfs:
        shown["lfs"] = {"oid": entry.lfs.sha256, "size": entry.lfs.size, "pointerSize": pointer_size(entry)}
    if commit is not None:
        shown["lastCommit"] = {"id": commit.oid.hex(), "title": title(commit), "date": commit_date(commit)}
    return shown


def sibling_json(path: str) -> dict[str, Any]:
    """A row of `siblings`, with `path` as clients spell it."""
    return {"rfilename": path}


def sibling_blob_json(entry: FileEntry, path: str) -> dict[str, Any]:
    """The same with `blobs`; the LFS key is `sha256` here."""
    shown = sibling_json(path) | {"blobId": entry.oid.hex(), "size": entry.lfs.size if entry.lfs else entry.size}
    if entry.lfs:
        shown["lfs"] = {"sha256": entry.lfs.sha256, "size": entry.lfs.size, "pointerSize": pointer_size(entry)}
    return shown


def pointer_size(entry: FileEntry) -> int:
    return entry.size if entry.lfs is None else len(serialize(Pointer(entry.lfs.sha256, entry.lfs.size)))


def commit_json(commit: Commit, *, formatted: bool) -> dict[str, Any]:
    head = title(commit)
    message = text(commit.message).partition("\n")[2].strip()
    shown: dict[str, Any] = {
        "id": commit.oid.hex(),
        "title": head,
        "message": message,
        "date": commit_date(commit),
        "authors": [{"user": text(commit.author.name)}],
        "parents": [parent.hex() for parent in commit.parents],
    }
    if formatted:  # HTML, for pages that show it as it is
        shown["formatted"] = {"title": escape(head), "message": escape(message)}
    return shown


def title(commit: Commit) -> str:
    return text(commit.message).partition("\n")[0].strip()


def commit_date(commit: Commit) -> str:
    """The author's date in UTC; a date outside the calendar becomes its start."""
    moment = datetime(1970, 1, 1, tzinfo=UTC)
    if 0 <= commit.author.time < 253402300800:
        moment += timedelta(seconds=commit.author.time)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def repo_json(repo: Repo) -> dict[str, Any]:
    """What every description of a repository begins with."""
    shown: dict[str, Any] = {"_id": repo.id, "id": repo.name.full}
    if repo.name.kind is RepoKind.MODEL:
        shown["modelId"] = repo.name.full
    return shown | {
        "author": repo.name.namespace,
        "private": repo.is_private,
        "gated": False,
        "disabled": False,
        "likes": 0,
        "downloads": 0,
        "createdAt": iso(repo.created_at),
        "lastModified": iso(repo.updated_at),
    }


def encode_cursor(value: bytes) -> str:
    return base64.urlsafe_b64encode(_CURSOR + value).decode().rstrip("=")


def decode_cursor(value: str) -> bytes:
    """Raises Invalid for a cursor that this hub did not make."""
    data = _decoded(value)
    if not data.startswith(_CURSOR):
        raise Invalid("This cursor is not one of this hub's. Start from the first page.")
    return data.removeprefix(_CURSOR)


def decode_path_cursor(value: str) -> bytes:
    """A cursor of a tree. Some clients make their own of the last path that they saw, in the form that huggingface.co
    gives out: base64 of `BASE64:50`, and in that `{"file_name":"PATH"}`, without JSON's escapes.
    """
    data = _decoded(value)
    inner, colon, _ = data.partition(b":")
    if not colon or data.startswith(_CURSOR):
        return decode_cursor(value)
    match = _FILE_NAME.fullmatch(_decoded(inner.decode("ascii", "replace")))
    return match[1] if match else decode_cursor(value)


def _decoded(value: str) -> bytes:
    """base64 of either alphabet, with or without its padding; nothing where it is none."""
    try:
        text = value.rstrip("=").translate(_ALPHABET)
        return base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""


def next_link(request: web.Request, origin: str, **changed: str) -> dict[str, str]:
    """The Link header of a page that has a next one: the same query with the cursor in it."""
    query = [(key, value) for key, value in request.query.items() if key not in changed] + list(changed.items())
    text_query = "&".join(f"{quote(key)}={quote(value, safe='')}" for key, value in query)
    return {"Link": f'<{origin}{request.rel_url.raw_path}?{text_query}>; rel="next"'}

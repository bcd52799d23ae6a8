"""The shapes of huggingface.co's API: what is read from bodies and queries, and the JSON of what is shown."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, quote

from aiohttp import web

from accounts import endpoint
from accounts.bodies import read_all, read_json
from accounts.wire import iso
from lfs.pointer import Pointer, serialize
from storage.errors import Forbidden, Invalid, TooLarge
from storage.limits import Limits
from storage.records import Commit, FileEntry, Repo, RepoKind

_TREE = 0o40000
KINDS, API_REPO = endpoint.KINDS, endpoint.API_REPO
# A revision is one segment, slashes encoded; browsers and old clients also send these unencoded.
REVISION = "{rev:refs/(?:pr|convert|heads|tags)/[^/]+|[^/{}]+}"


def text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def as_path(value: str) -> bytes:
    """A path of a URL or body as git's bytes, without slashes at its ends."""
    return value.encode("utf-8", "surrogateescape").strip(b"/")


def flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in ("true", "1")


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


async def json_object(request: web.Request, limits: Limits, *, may_be_empty: bool = False) -> dict[str, Any]:
    if may_be_empty and not request.can_read_body:
        return {}
    data = await read_json(request, limits.json_bytes)
    if not isinstance(data, dict):
        raise Invalid("The body must be a JSON object.")
    return data


async def form_or_json(request: web.Request, limits: Limits) -> dict[str, list[str]]:
    """paths-info: the Python client sends a form, others JSON."""
    if request.content_type == "application/json":
        data = await json_object(request, limits)
        return {key: [str(v) for v in value] if isinstance(value, list) else [str(value)] for key, value in data.items()}
    body = await read_all(request, limits.json_bytes)
    try:
        return parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=limits.paths_info + 10)
    except UnicodeDecodeError as error:
        raise Invalid("The form is not UTF-8. Encode the paths as UTF-8.") from error
    except ValueError as error:
        raise TooLarge(f"More than {limits.paths_info} paths were asked for at once. Ask in smaller parts.") from error


def entry_json(entry: FileEntry, commit: Commit | None) -> dict[str, Any]:
    """A row of tree and paths-info; the LFS key is `oid` here."""
    shown: dict[str, Any] = {"type": "directory" if entry.mode == _TREE else "file", "oid": entry.oid.hex()}
    shown |= {"size": entry.lfs.size if entry.lfs else entry.size, "path": text(entry.path)}
    if entry.lfs:
        shown["lfs"] = {"oid": entry.lfs.sha256, "size": entry.lfs.size, "pointerSize": pointer_size(entry)}
    if commit is not None:
        shown["lastCommit"] = {"id": commit.oid.hex(), "title": title(commit), "date": commit_date(commit)}
    return shown


def sibling_json(path: bytes) -> dict[str, Any]:
    """A row of `siblings`."""
    return {"rfilename": text(path)}


def sibling_blob_json(entry: FileEntry) -> dict[str, Any]:
    """The same with `blobs`; the LFS key is `sha256` here."""
    shown = sibling_json(entry.path) | {"blobId": entry.oid.hex(), "size": entry.lfs.size if entry.lfs else entry.size}
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
    return shown | {"formatted": {"title": head, "message": message}} if formatted else shown


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
        "createdAt": iso(repo.created_at),
    }


def encode_cursor(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def decode_cursor(value: str) -> bytes:
    """Raises Invalid for a cursor that this hub did not make."""
    try:
        return base64.b64decode(value.encode() + b"=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("This cursor is not one of this hub's. Start from the first page.") from error


def next_link(request: web.Request, origin: str, **changed: str) -> dict[str, str]:
    """The Link header of a page that has a next one: the same query with the cursor in it."""
    query = [(key, value) for key, value in request.query.items() if key not in changed] + list(changed.items())
    text_query = "&".join(f"{quote(key)}={quote(value, safe='')}" for key, value in query)
    return {"Link": f'<{origin}{request.rel_url.raw_path}?{text_query}>; rel="next"'}

"""The JSON of the locking API (git-lfs docs/api/locking.md).

`ref` and `refspec` are not looked at: a lock holds its path on every ref, as that document asks until locks of single
branches are specified.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lfs.locks.locks import FileLock, LockPage, LockQuery
from storage.errors import Invalid, NotFound, TooLarge
from storage.limits import Limits
from storage.records import Principal

_USUAL_PAGE = 100
_MOST_DIGITS = 18


def parse_path(data: Any, limits: Limits) -> bytes:
    """The path of a lock to be made. Raises Invalid, TooLarge."""
    path = data.get("path") if isinstance(data, dict) else None
    if not isinstance(path, str):
        raise Invalid('A lock names one file of the repository: send {"path": "folder/file.bin"}.')
    return checked_path(path, limits)


def checked_path(path: str, limits: Limits) -> bytes:
    try:
        encoded = path.encode()
    except UnicodeEncodeError as error:
        raise Invalid("The path of a lock must be Unicode text.") from error
    if len(encoded) > limits.path_bytes:
        raise TooLarge(f"The path of a lock has {len(encoded)} bytes; {limits.path_bytes} are allowed.")
    if not encoded or b"\0" in encoded or any(part in (b"", b".", b"..") for part in encoded.split(b"/")):
        raise Invalid(f"{path[:100]!r} is no path of a file from the root of the repository, such as folder/file.bin.")
    return encoded


def parse_query(values: Mapping[str, str], limits: Limits) -> LockQuery:
    """From the query of a listing, or the arguments of one over SSH; empty values stand for none. Raises Invalid."""
    lock_id = values.get("id", "")
    path = values.get("path", "")
    return LockQuery(
        _limit(values.get("limit", ""), limits),
        path=path.encode("utf-8", "surrogatepass"),
        id=parse_id(lock_id, is_filter=True) if lock_id else 0,
        before=_cursor(values.get("cursor", "")),
    )


def parse_verify(data: Any, limits: Limits) -> LockQuery:
    """Raises Invalid."""
    if not isinstance(data, dict):
        raise Invalid('A verification of locks is a JSON object: {"ref": {"name": "refs/heads/main"}}.')
    limit, cursor = data.get("limit"), data.get("cursor")
    if not (limit is None or type(limit) is int) or not (cursor is None or isinstance(cursor, str)):
        raise Invalid("limit is a number and cursor is text, where they are given.")
    return LockQuery(_limit(str(limit or ""), limits), before=_cursor(cursor or ""))


def parse_force(data: Any) -> bool:
    """Whether an unlock takes another's lock. Raises Invalid."""
    force = data.get("force") if isinstance(data, dict) else 0
    if not (force is None or isinstance(force, bool)):
        raise Invalid('An unlock is a JSON object, with "force": true to unlock what another user locked.')
    return bool(force)


def parse_id(text: str, *, is_filter: bool = False) -> int:
    """Raises NotFound for what is the id of no lock; as a filter it is an id that no lock has."""
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and text.strip("0"):
        return int(text)
    if is_filter:
        return -1
    raise NotFound(f"There is no lock {text[:40]!r}. List the locks with: git lfs locks")


def lock_json(lock: FileLock) -> dict[str, Any]:
    return {
        "id": str(lock.id),
        "path": lock.path.decode(),
        "locked_at": locked_at(lock),
        "owner": {"name": lock.owner},
    }


def page_json(page: LockPage) -> dict[str, Any]:
    return {"locks": [lock_json(lock) for lock in page.locks]} | _next(page)


def verified_json(page: LockPage, principal: Principal) -> dict[str, Any]:
    ours = [lock_json(lock) for lock in page.locks if lock.user_id == principal.user_id]
    theirs = [lock_json(lock) for lock in page.locks if lock.user_id != principal.user_id]
    return {"ours": ours, "theirs": theirs} | _next(page)


def locked_at(lock: FileLock) -> str:
    return datetime.fromtimestamp(lock.created_at // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _next(page: LockPage) -> dict[str, Any]:
    return {"next_cursor": str(page.next)} if page.next else {}


def _limit(text: str, limits: Limits) -> int:
    """0 is what some clients send for none."""
    if not text:
        return _USUAL_PAGE
    if not (text.isascii() and text.isdigit()):
        raise Invalid(f"limit {text[:40]!r} is no number of locks. Leave it out, or ask for up to {limits.page}.")
    return min(int(text[:_MOST_DIGITS]) or _USUAL_PAGE, limits.page)


def _cursor(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and text.strip("0")):
        raise Invalid("This cursor is not one of this hub's. Start from the first page.")
    return int(text)

"""What a new repository begins with: whether it gets a first commit, and what is in that (docs/decisions/0003)."""

import base64
import binascii
from typing import Any

from gitserver.commit.initial import DEFAULT_SDK, SDKS, Beginning
from gitserver.commit.paths import checked_path
from hfcompat.reading.licenses import LICENSES
from storage.errors import Invalid, TooLarge
from storage.limits import Limits
from storage.records import RepoKind

# What huggingface.co keeps of a new repository, and this hub does not: spaces do not run here.
_NOT_KEPT = (
    "devMode",
    "hardware",
    "region",
    "resourceGroupId",
    "secrets",
    "sleepTimeSeconds",
    "storageTier",
    "template",
    "variables",
    "volumes",
)


def is_begun(body: dict[str, Any], user_agent: str) -> bool:
    """Whether the repository gets its first commit at once: `init` says so, else what tells the clients whose next calls
    expect one. Others get an empty one, into which an existing history can be pushed.
    """
    wanted = body.get("init")
    if wanted is not None:
        return bool(wanted)
    is_from_javascript = bool(body.get("organization")) and "private" not in body
    brings_contents = bool(body.get("files") or body.get("license"))
    return "hf_hub/" in user_agent or brings_contents or is_from_javascript


def check_kept(body: dict[str, Any]) -> None:
    """Raises Invalid where the client counts on something that would be lost."""
    lost = [name for name in _NOT_KEPT if body.get(name)]
    if lost:
        names = ", ".join(lost)
        raise Invalid(f"This hub keeps no {names} of a new repository: spaces do not run here. Create it without.")


def beginning_of(body: dict[str, Any], kind: RepoKind, limits: Limits) -> Beginning:
    """What the body says of the first commit. Raises Invalid, BadPath, TooLarge."""
    if body.get("init") is not None and not body["init"] and (body.get("files") or body.get("license")):
        raise Invalid("files and license are part of the first commit, which init forbids. Leave out one or the other.")
    return Beginning(_sdk(body, kind), _license(body), _files(body, limits))


def _sdk(body: dict[str, Any], kind: RepoKind) -> str:
    sdk = body.get("sdk") or DEFAULT_SDK
    if kind is RepoKind.SPACE and sdk not in SDKS:
        raise Invalid(f"The sdk {str(sdk)[:40]!r} is not known; use one of {', '.join(SDKS)}.")
    return str(sdk)


def _license(body: dict[str, Any]) -> str:
    name = body.get("license") or ""
    if name and (not isinstance(name, str) or name not in LICENSES):
        raise Invalid(f"The license {str(name)[:60]!r} is not known; use one of {', '.join(sorted(LICENSES))}.")
    return str(name)


def _files(body: dict[str, Any], limits: Limits) -> dict[bytes, bytes]:
    files = body.get("files") or []
    if not isinstance(files, list) or not all(isinstance(item, dict) for item in files):
        raise Invalid("files is a list of objects, each with path, content and encoding.")
    if len(files) > limits.create_files:
        most = limits.create_files
        raise TooLarge(f"{len(files)} files were sent; a repository begins with at most {most}. Commit the others later.")
    return {checked_path(item.get("path"), limits): _content(item) for item in files}


def _content(item: dict[str, Any]) -> bytes:
    content, encoding = item.get("content"), item.get("encoding", "base64")
    if not isinstance(content, str) or encoding not in ("base64", "utf-8"):
        raise Invalid(f"File {str(item.get('path'))[:100]!r} needs a content whose encoding is base64 or utf-8.")
    try:
        return base64.b64decode(content, validate=True) if encoding == "base64" else content.encode()
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"The content of file {str(item.get('path'))[:100]!r} is not {encoding}.") from error

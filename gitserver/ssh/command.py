"""The line that an SSH client wants to be run, read as one of the four commands that there are. Nothing is ever handed to a shell."""

import shlex
from dataclasses import dataclass
from enum import StrEnum

from storage.errors import BadName, Invalid, RepoNotFound
from storage.records import RepoKind, RepoName

_KINDS = {kind.plural: kind for kind in RepoKind}


class SshVerb(StrEnum):
    UPLOAD_PACK = "git-upload-pack"
    RECEIVE_PACK = "git-receive-pack"
    LFS_AUTHENTICATE = "git-lfs-authenticate"
    LFS_TRANSFER = "git-lfs-transfer"


@dataclass(frozen=True, slots=True)
class SshCommand:
    verb: SshVerb
    name: RepoName
    is_upload: bool = False  # of git-lfs's two commands


def parse(line: str, most: int) -> SshCommand:
    """`line` has at most `most` characters. Raises Invalid for what is not run here, RepoNotFound for names that no repository has."""
    if len(line) > most:
        raise Invalid(f"The command has more than {most} characters. Use git: git clone ssh://git@HOST/OWNER/NAME")
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise Invalid("The command's quotes do not match. Use git: git clone ssh://git@HOST/OWNER/NAME") from error
    if words[:1] == ["git"] and len(words) > 1:
        words = [f"git-{words[1]}", *words[2:]]
    if not words or words[0] not in list(SshVerb):
        raise Invalid(f"{' '.join(words)[:60]!r} is not run here: there is no shell, only git and git-lfs.")
    verb = SshVerb(words[0])
    if verb in (SshVerb.UPLOAD_PACK, SshVerb.RECEIVE_PACK):
        if len(words) != 2:
            raise Invalid(f"{verb} takes one argument, the path of a repository: OWNER/NAME.git")
        return SshCommand(verb, _name(words[1]))
    # git-lfs-authenticate may name an object too, from clients of old.
    operations = ("download", "upload", "lock") if verb is SshVerb.LFS_TRANSFER else ("download", "upload")
    if len(words) not in (3, 4) or words[2] not in operations:
        raise Invalid(f"{verb} takes the path of a repository, and {' or '.join(operations)}.")
    return SshCommand(verb, _name(words[1]), words[2] == "upload")


def _name(path: str) -> RepoName:
    """As over HTTP: `ns/name`, or with `models/`, `datasets/` or `spaces/` before, with and without `.git`."""
    parts = path.strip("/").removesuffix(".git").split("/")
    kind = RepoKind.MODEL
    if len(parts) == 3 and parts[0] in _KINDS:
        kind = _KINDS[parts.pop(0)]
    if len(parts) != 2:
        raise RepoNotFound("The path of a repository is OWNER/NAME, or datasets/OWNER/NAME, or spaces/OWNER/NAME.")
    try:
        return RepoName.parse(kind, *parts)
    except BadName as error:
        raise RepoNotFound(error.message) from error

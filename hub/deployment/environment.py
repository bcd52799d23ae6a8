"""The file with every secret of a deployment: `docker-compose.example.yml` takes them from it, and none has a default there."""

import os
import secrets
import string
from pathlib import Path

from hub.secret_rules import refuse
from storage.errors import AlreadyExists

# What each is for, and how many random bytes; 0 for an access key, which is a name.
NAMES = {
    "KOHAKU_HUB_SESSION_SECRET": ("signs links and short tokens; the same on every machine of the hub", 32),
    "KOHAKU_HUB_S3_ACCESS_KEY": ("the hub, and LakeFS, on the S3 server", 0),
    "KOHAKU_HUB_S3_SECRET_KEY": ("", 32),
    "S3_CONSOLE_PASSWORD": ("the user admin of the S3 server's console", 16),
    "KOHAKU_HUB_LAKEFS_ACCESS_KEY": ("the hub on LakeFS, which is set up with it", 0),
    "KOHAKU_HUB_LAKEFS_SECRET_KEY": ("", 32),
    "LAKEFS_AUTH_ENCRYPT_SECRET_KEY": ("encrypts what LakeFS keeps; whoever changes it locks everybody out of LakeFS", 32),
    "LAKEFS_BLOCKSTORE_SIGNING_SECRET_KEY": ("signs LakeFS's object addresses", 32),
    "POSTGRES_PASSWORD": ("the owner of PostgreSQL; he makes the two databases", 24),
    "HUB_DATABASE_PASSWORD": ("the hub's own database", 24),
    "LAKEFS_DATABASE_PASSWORD": ("LakeFS's own database", 24),
}
_NAME_CHARACTERS = 20


def make() -> str:
    """The text of a new file. Hexadecimal, so that nothing in it needs quotes in a shell, an address or a compose file."""
    lines = ["# Every secret of this KohakuHub. Keep it, keep a copy of it elsewhere, and show it to nobody."]
    lines += ["", "# Which S3 server compose runs: seaweedfs, or minio (docs/deployment.md).", "COMPOSE_PROFILES=seaweedfs"]
    for name, (purpose, size) in NAMES.items():
        if purpose:
            lines += ["", f"# {purpose[0].upper()}{purpose[1:]}."]
        lines.append(f"{name}={secrets.token_hex(size) if size else _access_key()}")
    return "\n".join(lines) + "\n"


def _access_key() -> str:
    return "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(_NAME_CHARACTERS))


def write(path: Path) -> None:
    """A new file that only its owner may read. Raises AlreadyExists: what is encrypted and signed with the old one would be lost."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise AlreadyExists(f"{path} is there already and is not overwritten. Move it away first if you mean to start anew.") from error
    with os.fdopen(fd, "w") as file:
        file.write(make())
        file.flush()
        os.fsync(file.fileno())


def check(text: str) -> list[str]:
    """What is wrong with the secrets of such a file, a line each, without their values."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    wrong = []
    for name in NAMES:
        value = values.get(name, "").strip().strip("'\"")
        try:
            if not value:
                raise ValueError("is missing. Make one with: openssl rand -hex 32")
            refuse(name.lower().removeprefix("kohaku_hub_"), value)
        except ValueError as error:
            wrong.append(f"{name}: {error}")
    return wrong

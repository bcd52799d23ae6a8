"""The key by which clients know the hub again: ed25519, made at the first start, or a file that several machines share."""

import os
import tempfile
from pathlib import Path

import asyncssh

from storage.errors import Unavailable
from storage.files import sync_dir, sync_file

_NAME = "ssh_host_ed25519_key"


def load_host_key(data: Path, given: Path | None) -> asyncssh.SSHKey:
    """`given`, or the data directory's own. Raises Unavailable when there is no good key."""
    path = given or data / _NAME
    if given is None and not path.exists():
        _make(path)
    try:
        return asyncssh.read_private_key(path)
    except (OSError, asyncssh.KeyImportError) as error:
        hint = f"Make one with: ssh-keygen -t ed25519 -N '' -f {path}"
        raise Unavailable(f"The SSH host key {path} cannot be read ({error}). {hint}") from error


def _make(path: Path) -> None:
    """Two processes that start at once agree on one; it is whole or not there."""
    fd, name = tempfile.mkstemp(prefix="ssh_host.new-", dir=path.parent)  # mode 0600
    aside = Path(name)
    try:
        with open(fd, "wb") as file:
            file.write(asyncssh.generate_private_key("ssh-ed25519", comment="KohakuHub").export_private_key())
        sync_file(aside)
        os.link(aside, path)
        sync_dir(path.parent)
    except FileExistsError:
        pass
    finally:
        aside.unlink()

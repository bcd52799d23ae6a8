"""Files that survive a crash: written aside, synced, renamed, and their folder synced."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync_dir(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_durable_dir(folder: Path) -> None:
    """`folder` and its parents, each entry synced into its parent."""
    if folder.is_dir():
        return
    make_durable_dir(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_dir(folder.parent)


def sync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def try_lock(fd: int) -> bool:
    """Lock the file or folder for this process until `fd` is closed; False when somebody else has it. A process that dies lets go."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def claim_folder(folder: Path) -> Iterator[bool]:
    """Whether the caller is the only one on this machine who holds the folder, until the context ends. Raises FileNotFoundError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield try_lock(fd)
    finally:
        os.close(fd)


@contextmanager
def claim_file(path: Path) -> Iterator[bool]:
    """Whether the caller is the only one on this machine who holds that file, which is made, until the context ends."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield try_lock(fd)
    finally:
        os.close(fd)


def publish(*moves: tuple[Path, Path]) -> None:
    """Move finished files to their durable places in one folder; an existing target of the same (content-addressed) name is replaced."""
    for source, _ in moves:
        sync_file(source)
    folder = moves[0][1].parent
    make_durable_dir(folder)
    for source, target in moves:
        source.replace(target)
    sync_dir(folder)

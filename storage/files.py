"""Files that survive a crash: written aside, synced, renamed, and their folder synced."""

import os
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


def publish(source: Path, target: Path) -> None:
    """Move a finished file to its durable place; an existing target of the same (content-addressed) name is replaced."""
    sync_file(source)
    make_durable_dir(target.parent)
    source.replace(target)
    sync_dir(target.parent)

"""The folder of what is on its way in: bodies, quarantines, downloads. What a crash leaves there is swept."""

import math
import os
import shutil
import time
from pathlib import Path


def sweep_incoming(incoming: Path, older_than_seconds: float) -> int:
    """Remove what crashed uploads and pushes left behind; how many entries went. A folder lives while something in it is written."""
    gone = 0
    limit = time.time() - older_than_seconds
    for entry in os.scandir(incoming):
        if _last_change(entry) > limit:
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            Path(entry.path).unlink(missing_ok=True)
        gone += 1
    return gone


def _last_change(entry: os.DirEntry[str]) -> float:
    """Of a file, or of a folder and the newest thing directly in it; for ever where something went this moment, so is in use."""
    try:
        last = entry.stat(follow_symlinks=False).st_mtime
        if not entry.is_dir(follow_symlinks=False):
            return last
        with os.scandir(entry.path) as inside:
            return max([last, *(inner.stat(follow_symlinks=False).st_mtime for inner in inside)])
    except FileNotFoundError:
        return math.inf

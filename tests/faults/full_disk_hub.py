"""The `kohakuhub` command on a disk that is full while a file `full` lies beside the data: for machines that forbid mounts."""

import os
import sys
from pathlib import Path
from unittest import mock

from hub.command import line
from storage.disk_space import DiskSpace

free = DiskSpace.free


def shown_free(space: DiskSpace) -> int:
    return 0 if Path(os.environ["FULL_DISK"]).exists() else free(space)


if __name__ == "__main__":
    with mock.patch.object(DiskSpace, "free", shown_free):
        sys.exit(line.run(sys.argv[1:]))

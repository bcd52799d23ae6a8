"""Arguments: data directory, repository, step. Repack and drop what nothing leads to, and die by SIGKILL before that step, or never."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gitserver.maintenance.processes import RepackProcess
from gitserver.maintenance.repack import Repacker
from hub.services import build
from hub.settings import Settings
from storage.packs.generations import Upkeep
from storage.packs.store import PackStore
from storage.records import RepoKind, RepoName


def main() -> None:
    services = build(Settings(data=Path(sys.argv[1])))
    repo = services.repos.find(RepoName(RepoKind.MODEL, *sys.argv[2].split("/")))
    assert repo is not None
    left = [int(sys.argv[3]) if sys.argv[3] != "never" else -1]
    for owner, name in (
        (RepackProcess, "_hand_over"),  # the process is there and has nothing to do yet
        (Repacker, "publish"),
        (PackStore, "add"),
        (PackStore, "replace"),
        (Upkeep, "repacked"),
        (PackStore, "discard"),
        (Repacker, "drop"),
        (Upkeep, "drop"),
    ):
        setattr(owner, name, stepping(getattr(owner, name), left))
    done = services.background_repack.repacker.repack(repo.id, 0)
    assert done is not None
    print(f"{done.reached} {done.set_aside} {done.dropped}")  # noqa: T201
    services.close()


def stepping(work: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return work(*arguments)

    return run


if __name__ == "__main__":
    main()

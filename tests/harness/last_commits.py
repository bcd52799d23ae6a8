"""What a hub says of the last commit of each entry, beside what git says of the same repository."""

import json
import subprocess
from pathlib import Path
from typing import Any

COMMITS = 150  # more than one answer compares without the index, where history_walk_commits is 80
FOLDERS = ("", "a", "a/b")


def grow(work: Path, first: int, count: int = COMMITS) -> None:
    """Commits on main, of which each changes one of a few files, but for the first; a repository is made there before."""
    if first == 0:
        subprocess.run(["git", "init", "-q", "--bare", work], check=True)
    stream = ""
    for number in range(first, first + count):
        start = "from refs/heads/main^0\n" if number == first and first else ""
        path = f"old{first}" if number == first else f"{('', 'a/', 'a/b/')[number % 3]}f{number * number % 13}"
        stream += f"commit refs/heads/main\ncommitter A <a@x> {1_600_000_000 + number} +0000\ndata 1\nm\n{start}"
        stream += f"M 100644 inline {path}\ndata {len(str(number))}\n{number}\n"
    subprocess.run(["git", "-C", work, "fast-import", "--quiet"], input=stream.encode(), check=True)


def push(work: Path, url: str) -> None:
    subprocess.run(["git", "-C", work, "push", "-q", url, "main"], check=True)


def told(hub: Any, name: str, times: int = 1) -> list[dict[str, str]]:
    """By path, so many times: each request is a connection of its own, which any worker may take."""
    return [{row["path"]: row["lastCommit"]["id"] for folder in FOLDERS for row in listed(hub, name, folder)} for _ in range(times)]


def listed(hub: Any, name: str, folder: str) -> Any:
    answer = hub.call("GET", f"/api/models/{name}/tree/main/{folder}?expand=true")
    assert answer.status == 200, answer
    return json.loads(answer.body)


def expected(work: Path) -> dict[str, str]:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", work, *arguments], check=True, capture_output=True, text=True).stdout

    paths = git("ls-tree", "-r", "-t", "--name-only", "main").split()
    return {path: git("log", "-1", "--format=%H", "main", "--", path).strip() for path in paths}

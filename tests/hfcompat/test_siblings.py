"""`siblings` of a repository of many files: complete, in pieces."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from hfcompat.reading.info import _gathered

FILES = 12_000


def test_s2_siblings_are_complete_and_streamed(hub: Any, tmp_path: Path) -> None:
    name = hub.repo()
    git = ("git", "-C", str(tmp_path))
    subprocess.run([*git, "init", "-q", "--bare"], check=True)
    files = "".join(f"M 100644 :1 d{number // 100:03d}/f{number}\n" for number in range(FILES))
    stream = f"blob\nmark :1\ndata 1\nx\ncommit refs/heads/main\ncommitter A <a@x> 1700000000 +0000\ndata 1\nm\n{files}"
    subprocess.run([*git, "fast-import", "--quiet"], input=stream.encode(), check=True)
    subprocess.run([*git, "push", "-q", hub.git_url(name), "main"], check=True)
    plain = hub.call("GET", f"/api/models/{name}")
    blobs = hub.call("GET", f"/api/models/{name}?blobs=true&expand=siblings&expand=sha")

    assert "Content-Length" not in plain.headers
    assert [row["rfilename"] for row in plain.json()["siblings"]] == sorted(f"d{n // 100:03d}/f{n}" for n in range(FILES))
    assert {(row["size"], len(row["blobId"])) for row in blobs.json()["siblings"]} == {(1, 40)}
    assert set(blobs.json()) == {"_id", "id", "sha", "siblings"}


@pytest.mark.parametrize("texts", [["a"], ["a" * 300_000, "b"], ["a"] * 10])
def test_s2_only_the_last_piece_is_small(texts: list[str]) -> None:
    pieces = list(_gathered(texts))

    assert b"".join(pieces).decode() == "".join(texts)
    assert all(len(piece) >= 256 * 1024 for piece in pieces[:-1])


def test_s2_more_files_than_an_answer_may_have_are_refused_before_it_begins(launcher: Any, tmp_path: Path) -> None:
    launcher.users()
    hub = launcher.start(environment={"KOHAKU_HUB_LIMITS": '{"listed_files": 6}'})
    name, git = hub.repo(), ("git", "-C", str(tmp_path))
    stream = "blob\nmark :1\ndata 1\nx\n"
    for commit, files in enumerate(("a/1 a/2 a/3 b/1 b/2 b/3", "c")):
        changes = "".join(f"M 100644 :1 {path}\n" for path in files.split())
        stream += f"commit refs/heads/main\ncommitter A <a@x> 170000000{commit} +0000\ndata 1\nm\n{changes}"
    subprocess.run([*git, "init", "-q", "--bare"], check=True)
    subprocess.run([*git, "fast-import", "--quiet"], input=stream.encode(), check=True)
    subprocess.run([*git, "push", "-q", hub.git_url(name), "main"], check=True)
    first = hub.call("GET", f"/api/models/{name}/commits/main").json()[1]["id"]

    refused = hub.call("GET", f"/api/models/{name}")
    assert (refused.status, "more than 6 files" in refused.json()["error"]) == (413, True)
    assert len(hub.call("GET", f"/api/models/{name}/revision/{first}").json()["siblings"]) == 6
    assert hub.call("GET", f"/api/models/{name}?expand=sha").status == 200

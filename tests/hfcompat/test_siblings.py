"""`siblings` of a repository of many files: complete, in pieces."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from hfcompat.reading.info import _gathered
from storage.limits import Limits

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


def test_s2_more_files_than_an_answer_may_have_are_no_silent_cut() -> None:
    assert Limits().listed_files >= 1_000_000

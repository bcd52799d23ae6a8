"""Files that Git LFS should hold but that came as blobs: which are found, and what git shows."""

from pathlib import Path
from typing import Any

import pytest

from gitserver.receive.large_blobs import misplaced
from storage.limits import MIB, Limits
from storage.records import Oid
from tests.gitserver.test_push import Pushing

TRACK = "*.bin filter=lfs diff=lfs merge=lfs -text\n"


@pytest.fixture
def pushing(hub: Any, tmp_path: Path) -> Pushing:
    return Pushing(hub, tmp_path / "work")


def test_g7_tracked_files_that_came_as_bytes_are_named(pushing: Pushing) -> None:
    pushing.commit(".gitattributes", TRACK)
    (pushing.folder / "sub").mkdir()
    pushing.commit("sub/model.bin", "x" * (2 * MIB))
    done = pushing.run("push", pushing.url, "main")
    pushing.commit("other", "x")
    again = pushing.run("push", pushing.url, "main")

    assert done.returncode == 0
    assert b"remote: warning: 1 file came as plain content, though .gitattributes gives them to Git LFS" in done.stderr
    assert b"remote: warning:   sub/model.bin (2.0 MiB)" in done.stderr
    assert b"git lfs install && git add --renormalize . && git commit" in done.stderr
    assert b"git lfs migrate import --everything --fixup && git push --force" in done.stderr
    assert b"warning" not in again.stderr


def test_g7_a_large_file_that_nothing_tracks_is_named_wherever_it_stands(pushing: Pushing) -> None:
    pushing.commit("old.dat", "x" * (11 * MIB))
    lost = pushing("rev-parse", "HEAD:old.dat")
    (pushing.folder / "old.dat").unlink()
    pushing.commit("new.dat", "y" * (12 * MIB))
    done = pushing.run("push", pushing.url, "main")

    assert done.returncode == 0
    assert b"remote: warning: 2 files of more than 10.0 MiB came without Git LFS" in done.stderr
    assert b"remote: warning:   new.dat (12.0 MiB)" in done.stderr
    assert f"remote: warning:   blob {lost} (11.0 MiB)".encode() in done.stderr
    assert b"git lfs migrate import --everything --above=10485760b" in done.stderr


def test_g7_the_operator_makes_it_a_refusal(new_launcher: Any, tmp_path: Path) -> None:
    launcher = new_launcher(tmp_path / "data", {"KOHAKU_HUB_REFUSE_LARGE_BLOBS": "true"})
    launcher.users()
    hub = launcher.start()
    pushing = Pushing(hub, tmp_path / "work")
    pushing.commit(".gitattributes", TRACK)
    pushing.commit("model.bin", "weights")
    told = pushing.refused("main")

    assert "remote:   model.bin (7 bytes)" in told
    assert "files belong in Git LFS" in told
    assert pushing.refs() == {}
    assert hub.stop() == 0


class Brought:
    """NewObjects from dictionaries."""

    def __init__(self, trees: dict[Oid, bytes], blobs: dict[Oid, bytes]) -> None:
        self._trees = trees
        self._blobs = blobs

    def tree(self, oid: Oid) -> bytes | None:
        return self._trees.get(oid)

    def size(self, oid: Oid) -> int | None:
        return len(self._blobs[oid]) if oid in self._blobs else None

    def text(self, oid: Oid) -> bytes | None:
        return self._blobs.get(oid)


def name(number: int) -> Oid:
    return number.to_bytes(20, "big")


def test_g7_deeper_attributes_win_and_empty_files_stay() -> None:
    rules, off, full, empty = name(1), name(2), name(3), name(4)
    below = b"100644 .gitattributes\0" + off + b"100644 a.bin\0" + full
    root = b"100644 .gitattributes\0" + rules + b"100644 a.bin\0" + full + b"100644 b.bin\0" + empty + b"40000 d\0" + name(5)
    brought = Brought({name(5): below, name(6): root}, {rules: TRACK.encode(), off: b"*.bin -filter\n", full: b"x", empty: b""})

    assert misplaced([name(6)], {}, brought, Limits()).tracked == {b"a.bin": 1}


def test_g7_trees_that_repeat_themselves_are_looked_at_once() -> None:
    """Ten folders in each of ten: ten thousand million paths."""
    blob, rules = name(100), name(101)
    trees = {name(0): b"100644 a.bin\0" + blob}
    for level in range(1, 11):
        trees[name(level)] = b"".join(b"40000 d%d\0" % number + name(level - 1) for number in range(10))
    trees[name(11)] = b"100644 .gitattributes\0" + rules + trees[name(10)]
    found = misplaced([name(11)], {blob: 1}, Brought(trees, {blob: b"x", rules: TRACK.encode()}), Limits())

    assert len(found.tracked) == 1
    assert found.large == {}


def test_g7_of_many_files_twenty_are_named_and_not_all_are_looked_at() -> None:
    files = {b"f%03d.bin" % number: name(number + 1) for number in range(100)}
    tree = b"100644 .gitattributes\0" + name(500) + b"".join(b"100644 %s\0%s" % file for file in files.items())
    brought = Brought({name(501): tree}, dict.fromkeys(files.values(), b"x") | {name(500): TRACK.encode()})
    lines = list(misplaced([name(501)], {}, brought, Limits(tracked_paths=50)).lines(Limits()))

    assert lines[0].startswith("50 files came")
    assert lines[20:22] == ["  f019.bin (1 bytes)", "  and 30 more"]

"""The changed-path index against `git log -- path`, on histories with merges, deletions, and files that become folders."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitserver.history.build import SegmentBuilder
from gitserver.history.segment import PathSegment
from gitserver.history.walk import NotIndexed, PathWalk
from gitserver.objects.store import Objects
from storage.limits import Limits

_LIMITS = Limits()
_FAR = float("inf")


def fill(work: Any, seed: int, *, is_skewed: bool) -> None:
    dice = random.Random(seed)
    out: list[str] = []
    marks: list[int] = []
    for mark in range(1, 161):
        when = 1_600_000_000 + mark * 60 + (dice.choice((0, 0, 0, -9000, 4000)) if is_skewed else 0)
        branch = mark % 5 if mark < 156 else mark
        out.append(f"commit refs/heads/b{branch}\nmark :{mark}\ncommitter A <a@x> {when} +0000\ndata 1\nm\n")
        parents = dice.sample(marks[-6:], min(len(marks), dice.choice((1, 1, 1, 2, 2, 3)))) if marks else []
        out += [f"{'from' if number == 0 else 'merge'} :{parent}\n" for number, parent in enumerate(parents)]
        out += [change(dice) for _ in range(dice.choice((0, 1, 1, 2, 3) if parents else (9,)))]
        marks.append(mark)
    work("fast-import", "--quiet", "--force", data="".join(out).encode())


def change(dice: random.Random) -> str:
    path = f"d{dice.randrange(3)}/e{dice.randrange(3)}/f{dice.randrange(4)}"
    what = dice.choice(("file", "file", "file", "mode", "delete", "folder", "swap", "link"))
    if what == "delete":
        return f"D {path}\n"
    if what == "folder":
        return f"D d{dice.randrange(3)}/e{dice.randrange(3)}\n"
    if what == "link":
        return f"M 160000 {dice.choice('12') * 40} d0/sub\n"
    path = path.rpartition("/")[0] if what == "swap" else path
    text = str(dice.randrange(4))
    return f"M {'100755' if what == 'mode' else '100644'} inline {path}\ndata {len(text)}\n{text}\n"


def built(objects: Objects, tips: Sequence[bytes], folder: Path, limits: Limits = _LIMITS) -> list[PathSegment]:
    folder.mkdir()
    made = SegmentBuilder(objects, {}, folder, limits).run(tips, 60)
    return [PathSegment(path.open("rb")) for path in made.files]


def in_steps(objects: Objects, tips: Sequence[bytes], folder: Path) -> list[PathSegment]:
    """As pushes come: small files are joined, large commits are not listed."""
    folder.mkdir()
    segments: dict[str, PathSegment] = {}
    limits = replace(_LIMITS, history_commit_paths=12, history_file_changes=400)
    for tip in tips:
        made = SegmentBuilder(objects, segments, folder, limits).run([tip], 60)
        kept = {name: segment for name, segment in segments.items() if name not in made.replaced}
        segments = kept | {str(path): PathSegment(path.open("rb")) for path in made.files}
    return list(segments.values())


@pytest.mark.parametrize(("seed", "is_skewed"), [(1, False), (2, True)])
def test_s1_last_commit_and_history_are_those_of_git(fetch_hub: Any, work: Any, tmp_path: Path, seed: int, is_skewed: bool) -> None:
    fill(work, seed, is_skewed=is_skewed)
    fetch_hub.load(work)
    objects = fetch_hub.objects
    tips = [bytes.fromhex(oid) for oid in work("rev-list", "--all", "--reverse").split()]
    indexes = {
        "none": [],
        "whole": built(objects, tips[-1:] + tips, tmp_path / "whole"),
        "steps": in_steps(objects, tips[::20] + tips, tmp_path / "steps"),
        "a part": built(objects, tips[60:61], tmp_path / "part"),
    }
    shown = work("log", "--all", "-m", "--name-only", "--format=", "--no-renames").splitlines()
    files = sorted({path for path in shown if path})
    paths = sorted({*files, *(path.rpartition("/")[0] for path in files), *(path.split("/")[0] for path in files), "never"})
    for tip in (tips[-1], tips[-3]):
        for path in random.Random(seed).sample(paths, min(len(paths), 30)):
            expected = work("log", "--format=%H", tip.hex(), "--", path).split()
            folder, _, name = path.encode().rpartition(b"/")
            for kind, segments in indexes.items():
                walk = PathWalk(objects, segments, 10_000, _FAR)
                found = [oid.hex() for oid in walk.history(tip, folder, name)]
                assert (sorted(found) if is_skewed else found) == (sorted(expected) if is_skewed else expected), (kind, path)
                last = walk.last_changes(tip, folder, [name])
                assert [oid.hex() for oid in last.values()] == expected[:1], (kind, path)
    assert all(PathWalk(objects, indexes["whole"], 0, _FAR).history(tip, b"", b"d0") for tip in tips)
    assert len(indexes["steps"]) < 20


def test_s1_with_an_index_nothing_is_compared(fetch_hub: Any, work: Any, tmp_path: Path) -> None:
    fill(work, 3, is_skewed=False)
    fetch_hub.load(work)
    tips = [bytes.fromhex(oid) for oid in work("for-each-ref", "--format=%(objectname)").split()]
    segments = built(fetch_hub.objects, tips, tmp_path / "made")
    walk = PathWalk(fetch_hub.objects, segments, 0, _FAR)
    found = walk.last_changes(tips[0], b"d0", [b"e0", b"e1", b"e2"])

    assert len(segments) == 1
    assert walk.compared == 0
    assert len(found) > 0
    with pytest.raises(NotIndexed):
        PathWalk(fetch_hub.objects, [], 3, _FAR).last_changes(tips[0], b"d0", [b"e0", b"never"])

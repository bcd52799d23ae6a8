"""The number of paths that differ between two trees (G14): what the walk over them finds, without walking."""

import time
from typing import Any

import pytest

from gitserver.bridge.path_count import PathCount, check_paths
from gitserver.bridge.tree_diff import differences
from storage.errors import TooLarge


def test_g14_the_count_is_what_the_walk_finds(fetch_hub: Any, work: Any) -> None:
    files = {f"{a}/{b}/{c}": "same" for a in "xyz" for b in "xyz" for c in "xyz"}
    trees = [work.commit("1", files) + "^{tree}"]
    trees.append(work.commit("2", {"x/y/z": "other", "new/a": "1", "new/b": "1"}) + "^{tree}")
    work("rm", "-rq", "x/y", "y/y")
    trees.append(work.commit("3", {"y/y": "a file now"}) + "^{tree}")
    fetch_hub.load(work)
    oids = [None, *(bytes.fromhex(work("rev-parse", tree)) for tree in trees)]

    for old in oids:
        for new in oids:
            found = len(list(differences(fetch_hub.objects, old, new, 1024)))
            assert PathCount(fetch_hub.objects).of(old, new) == found


def test_g14_a_git_bomb_is_counted_at_once(fetch_hub: Any, work: Any) -> None:
    """Ten folders of ten folders, ten deep: and another that differs from it at the bottom."""
    bombs = []
    for text in (b"one", b"two"):
        entry = "100644 blob " + work("hash-object", "-w", "--stdin", data=text)
        for _ in range(10):
            tree = work("mktree", data="".join(f"{entry}\t{name}\n" for name in "abcdefghij").encode())
            entry = f"040000 tree {tree}"
        bombs.append(bytes.fromhex(tree))
        work("tag", text.decode(), work("commit-tree", "-m", "bomb", tree))
    fetch_hub.load(work)
    started = time.perf_counter()
    with pytest.raises(TooLarge, match=r"changes 10,000,000,000 paths, 500,000 are taken"):
        check_paths(fetch_hub.objects, None, bombs[0], 500_000)
    with pytest.raises(TooLarge, match=r"10,000,000,000"):
        check_paths(fetch_hub.objects, bombs[0], bombs[1], 500_000)

    assert time.perf_counter() - started < 2

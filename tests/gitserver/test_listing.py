"""Listings of large folders: what they cost, and that nothing is left out."""

import random
from typing import Any

import pytest

from gitserver.history.browser import Browser
from gitserver.history.tree_table import TreeTable
from gitserver.objects.parse import TreeItem, parse_tree
from gitserver.objects.store import CommitBudget, Objects
from storage.lru import Recent
from storage.records import Oid


def tree_data(names: list[bytes]) -> bytes:
    dice = random.Random(5)
    items = [TreeItem(dice.choice((0o100644, 0o40000)), name, dice.randbytes(20)) for name in names]
    return b"".join(b"%o %s\0%s" % (item.mode, item.name, item.oid) for item in sorted(items, key=lambda item: item.sort_key))


def test_s3_a_page_of_a_large_folder_begins_where_the_last_one_ended() -> None:
    data = tree_data([b"%s%d" % (random.Random(n).choice((b"a", b"a-", b"a.", b"a0")), n) for n in range(500)])
    expected = list(parse_tree(data))
    table = TreeTable(data)

    assert list(table.items()) == expected
    assert all(table.get(item.name) == item for item in expected)
    assert [list(table.items(item.sort_key)) for item in expected[::50]] == [expected[at + 1 :] for at in range(0, 500, 50)]
    assert table.get(b"a") is None
    assert table.get(b"") is None
    assert table.bytes_held < 500 * 60


@pytest.fixture
def browser(fetch_hub: Any) -> Browser:
    return Browser(fetch_hub.stores, fetch_hub.versions, Nothing())  # type: ignore[arg-type]


class Nothing:
    """Possession of no large object."""

    def has(self, repo_id: str, sha256: str) -> None:
        return None

    def held(self, repo_id: str, oids: set[str]) -> dict[str, Any]:
        return {}


def test_s3_a_page_reads_only_what_it_shows(fetch_hub: Any, work: Any, browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    work.commit("many", {f"d{folder}/f{number}": f"{number}" for folder in range(20) for number in range(10)})
    fetch_hub.load(work)
    snapshot = browser.at(fetch_hub.repo, "main")
    read: list[Oid] = []
    real = snapshot.objects.tree_data

    def noted(oid: Oid) -> bytes:
        read.append(oid)
        return bytes(real(oid))

    monkeypatch.setattr(snapshot.objects, "tree_data", noted)
    page = browser.page(snapshot, b"", 11, is_recursive=True, after=b"d15/f9")

    assert [entry.path for entry in page] == [b"d16", *(b"d16/f%d" % number for number in range(10))]
    assert len(read) <= 3


def test_s2_all_files_are_listed(fetch_hub: Any, work: Any, browser: Any) -> None:
    files = {f"{folder}/{number}.txt": "x" for folder in ("a", "a/b", "c-", "c") for number in range(20)}
    work.commit("many", files | {"top": "version https://git-lfs.github.com/spec/v1\noid sha256:" + "1" * 64 + "\nsize 3\n"})
    work("update-index", "--add", "--cacheinfo", f"160000,{'2' * 40},module")
    work("commit", "-qm", "module")
    fetch_hub.load(work)
    snapshot = browser.at(fetch_hub.repo, "main")
    expected = [path.encode() for path in work("ls-files").splitlines() if path != "module"]

    assert [path for run in browser.file_paths(snapshot) for path in run] == expected
    assert [entry.path for run in browser.files(snapshot) for entry in run] == expected
    assert all(entry.lfs is None for run in browser.files(snapshot) for entry in run)


def test_s5_a_memory_is_bounded_in_bytes() -> None:
    kept: Recent[int, bytes] = Recent(100, len)
    for number in range(50):
        kept.keep(number, bytes(10))
    kept.keep(49, bytes(20))
    kept.keep(100, bytes(60))

    assert kept.held == 100
    assert len(kept) == 9
    assert kept.get(100) is None
    assert len(kept.get(49) or b"") == 20


def test_s5_trees_are_held_as_bytes(fetch_hub: Any, work: Any, browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitserver.history.browser._TREES_BYTES", 20_000)
    small = Browser(fetch_hub.stores, fetch_hub.versions, Nothing())  # type: ignore[arg-type]
    work.commit("many", {f"d{folder}/f{number}": f"{number}" for folder in range(40) for number in range(20)})
    fetch_hub.load(work)
    snapshot = small.at(fetch_hub.repo, "main")

    assert len(small.page(snapshot, b"", 10_000, is_recursive=True)) == 40 * 21
    assert small._trees.held <= 20_000


def test_s5_commits_of_all_repositories_share_a_budget(fetch_hub: Any, work: Any) -> None:
    for number in range(5):
        work.commit(f"{number}", {"a": f"{number}"})
    fetch_hub.load(work)
    budget = CommitBudget(most=7)
    one, other = (Objects(fetch_hub.repo.id, fetch_hub.packs, None, None, budget) for _ in range(2))
    oids = [bytes.fromhex(oid) for oid in work("rev-list", "HEAD").split()]
    for oid in oids:
        one.commit(oid)
    for oid in oids:
        assert other.commit(oid) == one.commit(oid)

    assert len(one._commits) + len(other._commits) <= 7


@pytest.mark.parametrize("zeros", [b"", b"0"])
def test_s4_a_changed_tree_is_the_old_one_with_pieces_replaced(zeros: bytes) -> None:
    dice = random.Random(7)
    names = [b"%s%d" % (dice.choice((b"a", b"a-", b"a.", b"a0")), number) for number in range(60)]
    for _ in range(100):
        kept = dice.sample(names, dice.randrange(20))
        items = {name: TreeItem(dice.choice((0o100644, 0o40000)), name, dice.randbytes(20)) for name in kept}
        changes: dict[bytes, TreeItem | None] = {}
        for name in dice.sample(names, dice.randrange(6)):
            changes[name] = dice.choice((None, TreeItem(dice.choice((0o100755, 0o40000)), name, dice.randbytes(20))))
        before = sorted(items.values(), key=lambda item: item.sort_key)
        after = sorted((item for item in (items | changes).values() if item), key=lambda item: item.sort_key)
        table = TreeTable(b"".join(zeros + b"%o %s\0%s" % (item.mode, item.name, item.oid) for item in before))

        assert list(parse_tree(table.with_changes(changes))) == after

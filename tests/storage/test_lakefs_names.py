"""Git's ref names as LakeFS's ids and back."""

import random
import re

import pytest

from storage.versions.lakefs.names import SCRATCH, branch_id, branch_ref, repo_id_of, repository_id, tag_id, tag_ref

BRANCH = re.compile(r"\w[-\w]*", re.ASCII)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"main", "main"),
        (b"feature/a.b", "feature_2Fa_2Eb"),
        (b"my_branch", "my_branch"),
        (b"run_20", "run_5F20"),
        (b"run_2", "run_2"),
        (b"_tx-1", "_5Ftx-1"),
        (b"-x", "_2Dx"),
        (b"\xc3\xa9", "_C3_A9"),
        (b"a" * 64, "_61" + "a" * 63),
    ],
)
def test_branches(name: bytes, shown: str) -> None:
    assert branch_id(b"refs/heads/" + name) == shown
    assert branch_ref(shown) == b"refs/heads/" + name


@pytest.mark.parametrize(
    ("name", "shown"), [(b"v1.0", "v1.0"), (b"v1", "t.v1"), (b"t.x", "_74.x"), (b"a/b", "t.a_2Fb"), (b"x@y", "t.x_40y")]
)
def test_tags(name: bytes, shown: str) -> None:
    assert tag_id(b"refs/tags/" + name) == shown
    assert tag_ref(shown) == b"refs/tags/" + name


def test_any_name_comes_back_and_no_two_meet() -> None:
    chance = random.Random(5)
    seen: dict[str, bytes] = {}
    for _ in range(20_000):
        name = bytes(chance.choices(b"aA0_-./FE\xe9xt", k=chance.randint(1, 9)))
        branch, tag = branch_id(b"refs/heads/" + name), tag_id(b"refs/tags/" + name)
        assert BRANCH.fullmatch(branch)
        assert not branch.startswith(SCRATCH)
        assert branch_ref(branch) == b"refs/heads/" + name
        assert tag_ref(tag) == b"refs/tags/" + name
        assert "." in tag
        assert seen.setdefault(branch, name) == name
        assert seen.setdefault(tag, name) == name


def test_names_made_in_lakefs_are_taken_as_they_are() -> None:
    assert branch_ref("a_2fb") == b"refs/heads/a_2fb"
    assert branch_ref("_2F_41") == b"refs/heads/_2F_41"  # `_41` is an A that nobody would have escaped
    assert tag_ref("v1") == b"refs/tags/v1"
    assert branch_ref(SCRATCH + "0") is None


def test_long_names_are_shortened() -> None:
    shown = branch_id(b"refs/heads/" + b"\xff" * 250)
    assert len(shown) < 100
    assert branch_ref(shown) is None


def test_repositories() -> None:
    assert re.fullmatch(r"h-[a-z2-7]{26}", repository_id("0f" * 16))
    assert repo_id_of(repository_id("0f" * 16)) == "0f" * 16
    assert repo_id_of("h-somebody-elses") is None

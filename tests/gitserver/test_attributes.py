"""Patterns of .gitattributes and .gitignore: the same verdicts as git's, in bounded time, and lines that git and we write for one path."""

import os
import random
import subprocess
from pathlib import Path

import pytest

from gitserver.commit.attributes import Attributes, Ignores, _rules, default_attributes, track
from storage.errors import TooLarge
from storage.limits import Limits

PARTS = ["a", "b", "ab", "a.b", "*", "**", "?", "[ab]", "[!a]", "[^b]", "a*", "*b", "*a*", "\\*", "[[:alpha:]]", "a?b", "[a-c]x"]
NAMES = ["a", "b", "ab", "aab", "a.b", "*", "abab", "x", "..a", "ba", "cx"]


class Git:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run("init", "-q")

    def run(self, *arguments: str, stdin: bytes = b"") -> list[bytes]:
        environment = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(self.folder)}
        done = subprocess.run(["git", *arguments], cwd=self.folder, input=stdin, capture_output=True, check=False, env=environment)
        return done.stdout.split(b"\0")

    def tracked(self, paths: list[bytes]) -> dict[bytes, bool]:
        out = self.run("check-attr", "--stdin", "-z", "filter", stdin=b"\0".join(paths) + b"\0")
        return {out[at]: out[at + 2] == b"lfs" for at in range(0, len(out) - 2, 3)}

    def ignored(self, paths: list[bytes]) -> dict[bytes, bool]:
        out = self.run("check-ignore", "--no-index", "--stdin", "-z", "-v", "-n", stdin=b"\0".join(paths) + b"\0")
        return {out[at + 3]: out[at + 2] != b"" and not out[at + 2].startswith(b"!") for at in range(0, len(out) - 3, 4)}


@pytest.mark.parametrize("seed", range(60))
def test_same_verdicts_as_git(tmp_path: Path, seed: int) -> None:
    dice, git = random.Random(seed), Git(tmp_path)

    def pattern() -> str:
        names = ["".join(dice.choices(PARTS, k=dice.randint(1, 2))) for _ in range(dice.randint(1, 3))]
        return ("/" if dice.random() < 0.3 else "") + "/".join(names)

    paths = ["/".join(dice.choices(NAMES, k=dice.randint(1, 4))).encode() for _ in range(15)]
    lines = [pattern() + dice.choice([" filter=lfs", " filter=lfs -text", " -filter", " !filter", " text"]) for _ in range(4)]
    files = {"": "\n".join(lines).encode(), "a": (pattern() + " -filter\n").encode()}
    (tmp_path / ".gitattributes").write_bytes(files[""])
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".gitattributes").write_bytes(files["a"])
    attributes = Attributes(lambda folder: files.get(folder.decode()), Limits())

    assert ({path: attributes.is_lfs(path) for path in paths}, files) == (git.tracked(paths), files)

    (tmp_path / "a" / ".gitattributes").unlink()
    ignore = "\n".join(dice.choice(["", "", "!"]) + pattern() + dice.choice(["", "/", "  "]) for _ in range(4)).encode()
    (tmp_path / ".gitignore").write_bytes(ignore)
    ignores = Ignores(ignore, Limits())
    expected = git.ignored(paths)

    assert ({path: ignores.has(path) for path in expected}, ignore) == (expected, ignore)


@pytest.mark.parametrize("seed", range(12))
def test_g9_macros_mean_what_git_says(tmp_path: Path, seed: int) -> None:
    dice, git = random.Random(seed), Git(tmp_path)
    names = ["lfs", "big", "huge", "binary", "filter"]
    words = ["filter=lfs", "filter=x", "-filter", "!filter", "filter", "text", *(sign + name for name in names for sign in ("", "-", "!"))]
    bad = ["b@d", "--x", "lfs=1"]
    patterns = ["*.a", "*.b", "/d/*", "d/**", '"d/\\143.a"', "x", "!*.a", "d/"]

    def line() -> str:
        said = " ".join(dice.choices(words, k=dice.randint(1, 3)) + dice.choices(bad, k=dice.random() < 0.05))
        name = f"[attr]{dice.choice(names)}" if dice.random() < 0.4 else dice.choice(patterns)
        return dice.choice(["", "", "  "]) + name + dice.choice([" ", "\t", " \r"]) + said

    paths = [b"y.a", b"y.b", b"d/c.a", b"d/x", b"d/e/x.b", b"x"]
    for _ in range(10):
        files = {folder: "\n".join(line() for _ in range(count)).encode() for folder, count in ((b"", 8), (b"d", 3))}
        (tmp_path / "d").mkdir(exist_ok=True)
        for folder, text in files.items():
            (tmp_path / folder.decode() / ".gitattributes").write_bytes(text)
        attributes = Attributes(files.get, Limits())

        assert ({path: attributes.is_lfs(path) for path in paths}, files) == (git.tracked(paths), files)


def test_g9_a_macro_of_the_root_counts_below_and_is_decided_anew_nowhere() -> None:
    files = {b"": b"[attr]lfs filter=lfs diff=lfs merge=lfs -text\n*.foo lfs\n", b"d": b"[attr]lfs -filter\n*.bar lfs\n"}
    attributes = Attributes(files.get, Limits())
    before = Attributes(files.get, Limits(), has_macros=False)

    assert [attributes.is_lfs(path) for path in (b"a.foo", b"d/a.foo", b"d/a.bar", b"a.bar")] == [True, True, True, False]
    assert not before.is_lfs(b"a.foo")


def test_g9_macros_that_stand_for_each_other_end() -> None:
    text = b"".join(b"[attr]m%d m%d m%d filter=lfs\n" % (at, (at + 1) % 1000, (at + 7) % 1000) for at in range(1000))
    attributes = Attributes({b"": text + b"*.x m5\n"}.get, Limits())

    assert attributes.is_lfs(b"a.x")


@pytest.mark.parametrize("path", ["plain.txt", "with space.txt", "a/b c/[x]*?.txt", "#hash", "!bang", "back\\slash", "tab\there", "é/ü"])
def test_a_tracked_path_is_tracked_and_its_neighbours_are_not(tmp_path: Path, path: str) -> None:
    git, raw = Git(tmp_path), path.encode()
    text = track(b"*.x filter=lfs", [raw])
    (tmp_path / ".gitattributes").write_bytes(text)
    attributes = Attributes(lambda folder: text if folder == b"" else None, Limits())
    others = [raw + b"x", b"z/" + raw, b"other"]

    assert git.tracked([raw, *others]) == {raw: True, others[0]: False, others[1]: False, others[2]: False}
    assert [attributes.is_lfs(name) for name in [raw, *others]] == [True, False, False, False]


def test_g10_a_path_is_tracked_whose_line_would_be_too_long_for_git(tmp_path: Path) -> None:
    git, raw = Git(tmp_path), b"/".join([b" *" * 100] * 5)
    text = track(b"", [raw])
    (tmp_path / ".gitattributes").write_bytes(text)
    attributes = Attributes({b"": text}.get, Limits())

    assert git.tracked([raw, b"other"]) == {raw: True, b"other": False}
    assert attributes.is_lfs(raw)


def test_default_attributes() -> None:
    for is_dataset, name, expected in ((False, b"a/b.safetensors", True), (False, b"x.png", False), (True, b"x.png", True)):
        attributes = Attributes({b"": default_attributes(is_dataset=is_dataset)}.get, Limits())

        assert attributes.is_lfs(name) is expected


def test_hostile_patterns_take_bounded_time() -> None:
    lines = b"*a*a*a*a*a*a*a*a*a*a*b filter=lfs\n" + b"**/" * 300 + b"x filter=lfs\n" + b"[" * 1000 + b" filter=lfs\n"
    attributes = Attributes(lambda folder: lines if folder == b"" else None, Limits())

    assert not attributes.is_lfs(b"a" * 1000)
    assert not attributes.is_lfs(b"/".join([b"a"] * 500))


def test_hostile_patterns_against_many_hostile_paths() -> None:
    """One of these lines is quick; 2000 of them against one such path took 16 seconds, and a commit may hold 25,000 paths."""
    line = b"**/a/" * 25 + b"z"
    limits, path = Limits(attributes_steps=100_000), b"/".join([b"a"] * 500)
    attributes = Attributes({b"": (line + b" filter=lfs\n") * 2000}.get, limits)
    with pytest.raises(TooLarge, match="Simplify them"):
        attributes.is_lfs(path)
    with pytest.raises(TooLarge, match="Simplify them"):
        Ignores((line + b"\n") * 2000, limits).has(path)

    assert Limits().attributes_steps > 25_000 * 1000


def test_little_is_remembered_of_strangers_patterns() -> None:
    """Each list of this size keeps about 20 MB."""
    kept = _rules.cache_info().maxsize

    assert kept is not None
    assert kept * 20 < 200

"""What imports take that pushes do not, and what neither takes."""

import pytest

from gitserver.objects import Kind
from gitserver.receive.fsck import Fsck
from gitserver.receive.verdict import Profile
from storage.errors import BadPack
from storage.limits import Limits

OID = b"\x11" * 20
TREE = b"tree %s\n" % (b"22" * 20)
GOOD = b"A <a@example.org> 1112911993 -0700\n"


def takes(profile: Profile, kind: Kind, data: bytes) -> bool:
    try:
        Fsck(Limits(), profile).check(kind, OID, data)
    except BadPack:
        return False
    return True


def entry(mode: bytes, name: bytes) -> bytes:
    return mode + b" " + name + b"\0" + b"\x33" * 20


@pytest.mark.parametrize(
    "person",
    [
        b"A <a@example.org>1112911993 -0700\n",
        b"nobody 1112911993 -0700\n",
        b"A <a@example.org> 1112911993 +051800\n",
        b"A <a@example.org>\n",
        b"A <<a@example.org>> 1112911993 -0700\n",
    ],
)
def test_odd_people_are_for_imports(person: bytes) -> None:
    for first, second in ((person, GOOD), (GOOD, person)):
        commit = TREE + b"author " + first + b"committer " + second + b"\nmessage\n"
        assert takes(Profile.IMPORTED, Kind.COMMIT, commit)
        assert not takes(Profile.PUSHED, Kind.COMMIT, commit)


@pytest.mark.parametrize(
    "person",
    [
        b"bot <1234567890123456789012@discord.example> 1112911993 -0700\n",
        b"1234567890123456789 <a@example.org> 1112911993 -0700\n",
        b"A <a@example.org> 9223372036854775807 -0700\n",
        b"A <a@example.org> 0 +0000\n",
    ],
)
def test_long_numbers_that_are_no_danger_are_for_all(person: bytes) -> None:
    commit = TREE + b"author " + person + b"committer " + person + b"\nmessage\n"
    assert takes(Profile.PUSHED, Kind.COMMIT, commit)
    assert takes(Profile.IMPORTED, Kind.COMMIT, commit)


@pytest.mark.parametrize("date", [2**63, 2**63 + 10**17, 10**19 - 1, 2**64 - 1, 10**19, 10**21])
def test_dates_that_overflow_are_for_nobody(date: int) -> None:
    """git: badDateOverflow."""
    for line in (b"A <a@example.org> %d +0000\n" % date, b"A <<a@example.org>>  %d +051800\n" % date):
        commit = TREE + b"author " + GOOD + b"committer " + line + b"\nmessage\n"
        assert not takes(Profile.PUSHED, Kind.COMMIT, commit)
        assert not takes(Profile.IMPORTED, Kind.COMMIT, commit)


def test_padded_modes_are_for_imports_and_mean_the_same() -> None:
    fsck = Fsck(Limits(), Profile.IMPORTED)
    fsck.check(Kind.TREE, OID, entry(b"040000", b"folder"))

    assert fsck.references.trees == {b"\x33" * 20}
    assert not takes(Profile.PUSHED, Kind.TREE, entry(b"040000", b"folder"))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Kind.TREE, entry(b"100644", b".git")),
        (Kind.TREE, entry(b"040000", b".GIT")),
        (Kind.TREE, entry(b"100644", b"..")),
        (Kind.TREE, entry(b"100644", b"a/b")),
        (Kind.TREE, entry(b"0120000", b".gitmodules")),
        (Kind.TREE, entry(b"100644", b"a") * 2),
        (Kind.TREE, entry(b"100644", b"b") + entry(b"100644", b"a")),
        (Kind.TREE, entry(b"0000000040000", b"a")),
        (Kind.TREE, entry(b"170000", b"a")),
        (Kind.COMMIT, TREE + b"author " + GOOD + b"\nno committer\n"),
        (Kind.COMMIT, TREE + b"author " + GOOD + b"committer " + GOOD + b"\na\0b\n"),
        (Kind.COMMIT, TREE + b"author " + GOOD + b"author " + GOOD + b"committer " + GOOD + b"\n\n"),
        (Kind.COMMIT, TREE + b"author A <a> " + b"9" * 5000 + b" +0000\ncommitter " + GOOD + b"\n\n"),
        (Kind.COMMIT, b"author " + GOOD + b"committer " + GOOD + b"\n\n"),
        (Kind.TAG, b"object nothing\ntype commit\ntag v1\n\n"),
    ],
)
def test_dangers_are_for_nobody(kind: Kind, data: bytes) -> None:
    assert not takes(Profile.IMPORTED, kind, data)
    assert not takes(Profile.PUSHED, kind, data)

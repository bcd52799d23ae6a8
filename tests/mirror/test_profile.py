"""What imports take that pushes do not, and what neither takes."""

import pytest

from gitserver.objects.store import Kind
from gitserver.receive.fsck import Fsck
from gitserver.receive.severities import DEFAULT, STORED, Severities
from storage.errors import BadPack
from storage.limits import Limits

OID = b"\x11" * 20
TREE = b"tree %s\n" % (b"22" * 20)
GOOD = b"A <a@example.org> 1112911993 -0700\n"


IMPORTS = DEFAULT.of_imports


def takes(severities: Severities, kind: Kind, data: bytes) -> bool:
    try:
        Fsck(Limits(), severities).check(kind, OID, data)
    except BadPack:
        return False
    return True


def entry(mode: bytes, name: bytes) -> bytes:
    return mode + b" " + name + b"\0" + b"\x33" * 20


@pytest.mark.parametrize("person", [b"nobody 1112911993 -0700\n", b"A <a@example.org>\n"])
def test_people_without_address_or_date_are_for_imports(person: bytes) -> None:
    for first, second in ((person, GOOD), (GOOD, person)):
        commit = TREE + b"author " + first + b"committer " + second + b"\nmessage\n"
        assert takes(IMPORTS, Kind.COMMIT, commit)
        assert takes(STORED, Kind.COMMIT, commit)
        assert not takes(DEFAULT, Kind.COMMIT, commit)


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
    assert takes(DEFAULT, Kind.COMMIT, commit)
    assert takes(IMPORTS, Kind.COMMIT, commit)


def test_padded_modes_mean_the_same() -> None:
    fsck = Fsck(Limits())
    fsck.check(Kind.TREE, OID, entry(b"040000", b"folder"))

    assert fsck.references.trees == {b"\x33" * 20}


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
        (Kind.TREE, entry(b"170000", b"a")),
        (Kind.COMMIT, TREE + b"author " + GOOD + b"\nno committer\n"),
        (Kind.COMMIT, TREE + b"author " + GOOD + b"committer " + GOOD + b"\na\0b\n"),
        (Kind.COMMIT, TREE + b"author " + GOOD + b"author " + GOOD + b"committer " + GOOD + b"\n\n"),
        (Kind.COMMIT, b"author " + GOOD + b"committer " + GOOD + b"\n\n"),
        (Kind.TAG, b"object nothing\ntype commit\ntag v1\n\n"),
    ],
)
def test_dangers_are_for_nobody(kind: Kind, data: bytes) -> None:
    assert not takes(IMPORTS, kind, data)
    assert not takes(DEFAULT, kind, data)

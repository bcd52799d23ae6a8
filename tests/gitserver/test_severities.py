"""Which faults of objects refuse a push, which are told, and which pass; what a refusal says."""

import pytest

from gitserver.objects.parse import parse_commit_node, parse_person
from gitserver.objects.store import Kind
from gitserver.receive.fsck import Fsck
from gitserver.receive.severities import DEFAULT, TABLE, Severities, check_changes
from hub.settings import Settings
from storage.errors import BadPack
from storage.limits import Limits

OID = b"\x11" * 20
TREE = b"tree %s\n" % (b"22" * 20)
GOOD = b"A <a@example.org> 1112911993 -0700"
FILE = b"\0" + b"\x33" * 20

# Each with git's id of the fault, and the seconds that readers show.
TAKEN = {
    b"A <a@example.org> 01112911993 -0700": ("zeroPaddedDate", 1112911993),
    b"A <a@example.org> 1112911993 +051800": ("badTimezone", 1112911993),
    b"A <a@example.org> 1112911993": ("badTimezone", 1112911993),
    b"A <a@example.org> 1112911993-0700": ("badTimezone", 1112911993),
    b"A <a@example.org>1112911993 -0700": ("missingSpaceBeforeDate", 1112911993),
    b"A<a@example.org> 1112911993 -0700": ("missingSpaceBeforeEmail", 1112911993),
    b"<a@example.org> 1112911993 -0700": ("missingNameBeforeEmail", 1112911993),
    b"A> <a@example.org> 1112911993 -0700": ("badName", 1112911993),
    b"A <<a@example.org>> 1112911993 -0700": ("badEmail", 1112911993),
    b"A <a@example.org> <a@example.org> 1112911993 -0700": ("badEmail", 1112911993),
    b"A <a@example.org> A <a@example.org> 1112911993 -0700": ("badEmail", 1112911993),
    b"A <a@example.org> 9223372036854775808 +0000": ("badDateOverflow", 0),
    b"A <a@example.org> " + b"9" * 5000 + b" +0000": ("badDateOverflow", 0),
}
REFUSED = {
    b"nobody 1112911993 -0700": "missingEmail",
    b"A <a@example.org 1112911993 -0700": "missingEmail",
    b"A a@example.org> 1112911993 -0700": "missingEmail",
    b"A <a@example.org>": "badDate",
    b"A <a@example.org> yesterday": "badDate",
    b"A <a@example.org> -1 +0000": "badDate",
    b"A <a@example.org> 1112911993.5 +0000": "badDate",
}


def commit(author: bytes = GOOD, committer: bytes = GOOD) -> bytes:
    return TREE + b"author " + author + b"\ncommitter " + committer + b"\n\nmessage\n"


def tag(tagger: bytes) -> bytes:
    return b"object %s\ntype commit\ntag v1\ntagger %s\n\nmessage\n" % (b"22" * 20, tagger)


def fault(kind: Kind, data: bytes, severities: Severities = DEFAULT) -> str:
    """What the refusal says; empty for what is taken."""
    try:
        Fsck(Limits(), severities).check(kind, OID, data)
    except BadPack as error:
        return error.message
    return ""


@pytest.mark.parametrize(("person", "expected"), TAKEN.items())
def test_g1_lines_of_old_programs_are_taken(person: bytes, expected: tuple[str, int]) -> None:
    strict = check_changes({expected[0]: "error"})
    for kind, data in ((Kind.COMMIT, commit(person)), (Kind.COMMIT, commit(GOOD, person)), (Kind.TAG, tag(person))):
        assert fault(kind, data) == ""
        assert f": {expected[0]}: " in fault(kind, data, strict)
    assert parse_commit_node(OID, commit(GOOD, person)).time == expected[1]
    assert parse_person(person).time == expected[1]


@pytest.mark.parametrize(("person", "expected"), REFUSED.items())
def test_g2_a_refusal_names_the_fault_the_object_and_the_line(person: bytes, expected: str) -> None:
    for kind, data, keyword in (
        (Kind.COMMIT, commit(person), "author"),
        (Kind.COMMIT, commit(GOOD, person), "committer"),
        (Kind.TAG, tag(person), "tagger"),
    ):
        told = fault(kind, data)
        assert told.startswith(f"fsck error in {kind.text.decode()} {OID.hex()}: {expected}: ")
        assert told.endswith(f"in the line '{keyword} {person.decode()}'")
        assert fault(kind, data, DEFAULT.of_imports) == ""


def test_g2_what_a_terminal_obeys_is_escaped() -> None:
    told = fault(Kind.COMMIT, commit(b"\x1b[2J\xff" + b"x" * 5000))

    assert "\\x1b[2J\\xff" in told
    assert told.isprintable()
    assert len(told) < 500


@pytest.mark.parametrize("mode", [b"040000", b"0040000", b"0100644", b"0100755", b"0120000", b"0160000", b"100664", b"0100600"])
def test_g1_odd_modes_are_taken(mode: bytes) -> None:
    assert fault(Kind.TREE, mode + b" a" + FILE) == ""


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"100644 .git" + FILE, "hasDotgit"),
        (b"040000 GIT~1" + FILE, "hasDotgit"),
        (b"100644 ." + FILE, "hasDot"),
        (b"100644 .." + FILE, "hasDotdot"),
        (b"100644 a/b" + FILE, "fullPathname"),
        (b"100644 " + FILE, "emptyName"),
        (b"120000 .gitmodules" + FILE, "gitmodulesSymlink"),
        (b"0120000 .gitattributes" + FILE, "gitattributesSymlink"),
        (b"100644 a" + FILE + b"100755 a" + FILE, "duplicateEntries"),
        (b"100644 b" + FILE + b"100644 a" + FILE, "treeNotSorted"),
        (b"100644 a\0" + bytes(20), "nullSha1"),
        (b"140000 a" + FILE, "badTree"),
        (b"170000 a" + FILE, "badTree"),
        (b"100644 a", "badTree"),
    ],
)
def test_g1_dangerous_trees_are_refused_by_their_one_fault(data: bytes, expected: str) -> None:
    for severities in (DEFAULT, DEFAULT.of_imports):
        assert fault(Kind.TREE, data, severities).startswith(f"fsck error in tree {OID.hex()}: {expected}: ")


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (Kind.COMMIT, b"author " + GOOD + b"\n\n", "missingTree"),
        (Kind.COMMIT, b"tree 12\n\n", "badTreeSha1"),
        (Kind.COMMIT, TREE + b"parent 12\n\n", "badParentSha1"),
        (Kind.COMMIT, TREE + b"committer " + GOOD + b"\n\n", "missingAuthor"),
        (Kind.COMMIT, TREE + b"author " + GOOD + b"\n\n", "missingCommitter"),
        (Kind.COMMIT, commit(GOOD + b"\nauthor " + GOOD), "multipleAuthors"),
        (Kind.COMMIT, commit(GOOD, GOOD + b"\nauthor " + GOOD), "multipleAuthors"),
        (Kind.COMMIT, commit(b"A\0 <a@example.org> 1 +0000"), "nulInHeader"),
        (Kind.COMMIT, commit() + b"\0", "nulInCommit"),
        (Kind.COMMIT, TREE + b"author " + GOOD, "unterminatedHeader"),
        (Kind.TAG, b"type commit\n\n", "missingObject"),
        (Kind.TAG, b"object 12\n\n", "badObjectSha1"),
        (Kind.TAG, b"object %s\ntag v1\n\n" % (b"22" * 20), "missingTypeEntry"),
        (Kind.TAG, b"object %s\ntype thing\ntag v1\n\n" % (b"22" * 20), "badType"),
        (Kind.TAG, b"object %s\ntype commit\n\n" % (b"22" * 20), "missingTagEntry"),
    ],
)
def test_g2_headers_that_no_reader_finds_its_way_by(kind: Kind, data: bytes, expected: str) -> None:
    for severities in (DEFAULT, DEFAULT.of_imports):
        assert fault(kind, data, severities).startswith(f"fsck error in {kind.text.decode()} {OID.hex()}: {expected}: ")


def test_g1_warnings_have_a_limit() -> None:
    fsck = Fsck(Limits(), check_changes({"zeroPaddedFilemode": "warn"}))
    for number in range(50):
        fsck.check(Kind.TREE, OID, b"0100644 %d" % number + FILE)

    assert len(fsck.judge.warnings) == 21
    assert fsck.judge.warnings[0] == f"tree {OID.hex()}: zeroPaddedFilemode: '0100644' of '0'"
    assert fsck.judge.warnings[-1] == "and 30 more of such faults"


def test_g1_the_operator_changes_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOHAKU_HUB_FSCK", '{"hasDotgit": "warn"}')
    fsck = Fsck(Limits(), Settings().strictness.severities)
    fsck.check(Kind.TREE, OID, b"100644 .git" + FILE)

    assert "hasDotgit" in fsck.judge.warnings[0]
    assert all(row.reason for row in TABLE.values())


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ('{"hasDotGit": "warn"}', "unknown faults hasDotGit; known are badDate"),
        ('{"badTree": "warn"}', "always an error: badTree"),
        ('{"hasDotgit": "maybe"}', "maybe is no severity; write error, warn or ignore"),
    ],
)
def test_g1_a_table_that_cannot_be_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, value: str, told: str) -> None:
    monkeypatch.setenv("KOHAKU_HUB_FSCK", value)
    with pytest.raises(ValueError, match=told):
        Settings()

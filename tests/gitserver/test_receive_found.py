"""What the fuzz of packs found, one case each: the hub had said something else than C git."""

import hashlib
import struct
import zlib

import pytest

from gitserver.objects.entries import OFS_DELTA
from gitserver.objects.pack_writer import pack_entry
from gitserver.objects.store import Kind, RawObject, object_id
from gitserver.receive.gitmodules import gitmodules_fault
from gitserver.receive.ingest import Ingest, IngestOptions
from gitserver.receive.names import GITATTRIBUTES, GITMODULES, is_dotgit
from storage.errors import BadPack
from storage.limits import Limits
from storage.records import ZERO_OID, RefUpdate
from tests.gitserver.conftest import PERSON, Shelf

HOSTILE = b'[submodule "a"]\n\turl = -u./x\n'


def tree_of(name: bytes, oid: bytes, mode: bytes = b"100644") -> RawObject:
    return RawObject(Kind.TREE, mode + b" " + name + b"\0" + oid)


def commit_of(tree: RawObject, parent: bytes = b"") -> RawObject:
    head = b"tree " + object_id(tree.kind, tree.data).hex().encode() + b"\n"
    head += b"parent " + parent.hex().encode() + b"\n" if parent else b""
    return RawObject(Kind.COMMIT, head + b"author " + PERSON + b"\ncommitter " + PERSON + b"\n\nm\n")


def test_a_hostile_file_that_was_stored_under_another_name(shelf: Shelf) -> None:
    blob = RawObject(Kind.BLOB, HOSTILE)
    tree = tree_of(b"harmless", object_id(blob.kind, blob.data))
    first = commit_of(tree)
    tip = object_id(first.kind, first.data)
    shelf.store([blob, tree, first], RefUpdate(b"refs/heads/main", ZERO_OID, tip))
    renamed = tree_of(b".gitmodules", object_id(blob.kind, blob.data))
    second = commit_of(renamed, tip)
    with pytest.raises(BadPack, match="gitmodulesUrl"):
        shelf.store([renamed, second], RefUpdate(b"refs/heads/main", tip, object_id(second.kind, second.data)))


@pytest.mark.parametrize("name", [b".gitmodules", b".gitattributes", b"gi7d29~1", b"GI7EBA~1"])
def test_folders_that_git_would_read_as_files(shelf: Shelf, name: bytes) -> None:
    below = RawObject(Kind.TREE, b"")
    tree = tree_of(name, object_id(below.kind, below.data), b"40000")
    commit = commit_of(tree)
    with pytest.raises(BadPack, match="no file"):
        shelf.store([below, tree, commit], RefUpdate(b"refs/heads/main", ZERO_OID, object_id(commit.kind, commit.data)))


def test_lines_of_attributes_that_git_does_not_read(shelf: Shelf) -> None:
    for size, is_good in ((2048, False), (2047, True)):
        blob = RawObject(Kind.BLOB, b"x" * size + b"\n")
        tree = tree_of(b".gitattributes", object_id(blob.kind, blob.data))
        commit = commit_of(tree)
        update = RefUpdate(b"refs/heads/main", ZERO_OID, object_id(commit.kind, commit.data))
        if is_good:
            shelf.store([blob, tree, commit], update)
        else:
            with pytest.raises(BadPack, match="gitattributesLineLength"):
                shelf.store([blob, tree, commit], update)


@pytest.mark.parametrize(
    "last",
    [b"\x91\x7f\x05", b"\x80", b"\x00", b"\xb0", b"\x02", b"\x08" + bytes(6), b"\x7f", b"\xff"],
    ids=["beyond the base", "64 KiB", "reserved", "cut copy", "cut insert", "longer cut insert", "empty insert", "empty copy"],
)
def test_a_delta_that_ends_with_an_impossible_instruction(shelf: Shelf, last: bytes) -> None:
    """The result is right without it, but no other program reads the delta that would be stored."""
    base, delta = b"0123456789", bytes((10, 9)) + b"\x90\x09" + last
    head = b"PACK" + struct.pack(">II", 2, 2) + pack_entry(RawObject(Kind.BLOB, base))
    changed = bytes((OFS_DELTA << 4 | len(delta), len(head) - 12)) + zlib.compress(delta)
    body = head + changed
    pack = shelf.services.packs.quarantine() / "pushed.pack"
    pack.write_bytes(body + hashlib.sha1(body).digest())
    with pytest.raises(BadPack, match="does not fit"):
        Ingest(shelf.services.objects.of(shelf.repo.id), Limits(), lambda text: None, IngestOptions()).run(pack)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b'[submodule "a"]\n\turl = https://example.org/a\n\tpath = a\n\tupdate = rebase\n', ""),
        (b'[submodule "a"] url = -x\n', "gitmodulesUrl"),
        (b'[SubModule "a"]\n\tURL = \\\n-x\n', "gitmodulesUrl"),
        (b"[submodule.a]\nurl = \"-x\"\n", "gitmodulesUrl"),
        (b'[submodule "a"]\n; url = -x\n\turl = y # -x\n', ""),
        (b'[other "a"]\n\turl = -x\n', ""),
        (b'[submodule "a"]\n\turl = -x\n[broken\n', "gitmodulesUrl"),
        (b'[broken\n[submodule "a"]\n\turl = -x\n', ""),
        (b'[submodule "a"]\n\turl = "-x\n', ""),
        (b'[submodule "a"]\n\turl = \\q-x\n', ""),
        (b'[submodule "a"]\n\turl\n', ""),
        (b'\xef\xbb\xbf[submodule "a"]\r\n\turl = -x\r\n', "gitmodulesUrl"),
        (b'[submodule ""]\n\turl = y\n', "gitmodulesName"),
        (b'[submodule "a\\\\..\\\\b"]\n\turl = y\n', "gitmodulesName"),
        (b'[submodule "..a"]\n\turl = y\n', ""),
        (b'[submodule "a"]\n\turl = ../../:x\n', "gitmodulesUrl"),
        (b'[submodule "a"]\n\turl = ./x%0ay\n', "gitmodulesUrl"),
        (b'[submodule "a"]\n\turl = https:///x\n', "gitmodulesUrl"),
        (b'[submodule "a"]\n\turl = http::https://h/x\n', ""),
        (b'[submodule "a"]\n\turl = https::x\n', "gitmodulesUrl"),
        (b'[submodule "a"]\n\turl = ssh://-x\n', ""),
        (b'[submodule "a"]\n\tpath = "-x"\n', "gitmodulesPath"),
        (b'[submodule "a"]\n\tupdate = !id\n', "gitmodulesUpdate"),
        (b"x" * (1 << 21), "gitmodulesLarge"),
    ],
)  # fmt: skip
def test_gitmodules_are_read_as_git_reads_them(data: bytes, fault: str) -> None:
    assert gitmodules_fault(data).partition(":")[0] == fault


def test_names_that_stand_for_gits_own() -> None:
    for name in (b".git", b".GIT . ", b"git~1", b".git::$DATA", b".g\xe2\x80\x8cit", b".git\xff", b"a\\.git", b".git\\x"):
        assert is_dotgit(name), name
    for name in (b".gitx", b"git~2", b"x.git", b".gi\xfft", b"git", b".git x"):
        assert not is_dotgit(name), name
    for name in (
        b".gitmodules",
        b".GITMODULES .",
        b"gitmod~4",
        b"gi7eba~1",
        b"gi7e~123",
        b"~1000000",
        b".gitmodules\xff",
        b".gitmodules:x",
    ):
        assert GITMODULES.is_named(name), name
    for name in (b".gitmodulesx", b"gitmod~5", b"gi7ebb~1", b"gi7eba~0", b"gi7eba~12", b"gitmodules"):
        assert not GITMODULES.is_named(name), name
    assert GITATTRIBUTES.is_named(b"gi7d29~9")
    assert GITMODULES.is_behind_backslash(b"a\\.gitmodules")

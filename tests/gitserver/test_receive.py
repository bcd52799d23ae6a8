"""Pushed packs: what is taken is exact, what is refused leaves nothing. Verdicts are compared with C git's own."""

import hashlib
import random
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from gitserver.objects.pack_writer import pack_entry
from gitserver.objects.store import Kind, Objects, RawObject, object_id
from gitserver.receive.ingest import Ingest, Ingested, IngestOptions, complete
from gitserver.receive.severities import TABLE, Severity
from storage.errors import BadPack, TooLarge
from storage.limits import Limits

PERSON = b"A U Thor <a@example.com> 1700000000 +0100"


@pytest.fixture
def objects(services: Any) -> Objects:
    """An empty repository's objects."""
    return Objects("0" * 32, services.packs)


def ingest(objects: Objects, data: bytes, folder: Path, limits: Limits | None = None) -> Ingested:
    pack = folder / f"{hashlib.sha1(data).hexdigest()}.pack"
    pack.write_bytes(data)
    return Ingest(objects, limits or Limits(), lambda text: None, IngestOptions()).run(pack)


def sealed(body: bytes) -> bytes:
    return body + hashlib.sha1(body).digest()


def packed(*raws: RawObject, count: int | None = None) -> bytes:
    head = b"PACK" + struct.pack(">II", 2, len(raws) if count is None else count)
    return sealed(head + b"".join(map(pack_entry, raws)))


def git_takes(data: bytes, folder: Path, strict: str = "--strict") -> bool:
    """C git's verdict: index-pack --strict in an empty repository."""
    repo = folder / "verdict.git"
    if not repo.exists():
        subprocess.run(["git", "init", "-q", "--bare", str(repo)], check=True, capture_output=True)
    command = ["git", "-C", str(repo), "index-pack", strict, "--stdin", "--fix-thin"]
    return subprocess.run(command, input=data, capture_output=True, check=False, timeout=60).returncode == 0


def we_take(objects: Objects, data: bytes, folder: Path) -> bool:
    try:
        ingest(objects, data, folder)
    except (BadPack, TooLarge):
        return False
    return True


def history(work: Any) -> bytes:
    """A pack with deltas of a small history, as git makes it."""
    dice = random.Random(3)
    lines = [f"line {n} {dice.random()}" for n in range(200)]
    for number in range(12):
        lines[number * 7] = f"changed {number}"
        work.commit(f"c{number}", {"a/text": "\n".join(lines), f"b{number}": dice.randbytes(300)})
    work("tag", "-a", "v1", "-m", "tag")
    done = work.run("pack-objects", "--stdout", "--revs", "--all", "-q", data=b"")
    return bytes(done.stdout)


def test_a_pack_of_git_is_taken_whole(work: Any, objects: Objects, tmp_path: Path) -> None:
    data = history(work)
    taken = ingest(objects, data, tmp_path)
    listed = {bytes.fromhex(oid) for oid in work.objects()}

    assert set(taken.kinds) == listed
    assert taken.info.id == data[-20:].hex()
    verify = subprocess.run(["git", "verify-pack", str(taken.index)], capture_output=True, check=False)
    assert verify.returncode == 0, verify.stderr
    assert len(taken.tags) == 1


def test_flipped_bits_never_pass(work: Any, objects: Objects, tmp_path: Path) -> None:
    data = history(work)
    whole = ingest(objects, data, tmp_path).kinds
    dice = random.Random(11)
    for _ in range(150):
        body = bytearray(data[:-20])
        body[dice.randrange(len(body))] ^= 1 << dice.randrange(8)
        changed = sealed(bytes(body))
        try:
            assert ingest(objects, changed, tmp_path).kinds == whole, "another object was taken under the damage"
        except (BadPack, TooLarge):
            continue
        assert git_takes(changed, tmp_path), "taken here, refused by git"


def test_damage_without_a_new_checksum_is_noticed(work: Any, objects: Objects, tmp_path: Path) -> None:
    data = history(work)
    for cut in (0, 5, 12, 31, 100, len(data) - 1):
        with pytest.raises(BadPack):
            ingest(objects, data[:cut], tmp_path)
    with pytest.raises(BadPack, match="checksum"):
        ingest(objects, data[:500] + bytes([data[500] ^ 1]) + data[501:], tmp_path)


def blob(data: bytes = b"x") -> RawObject:
    return RawObject(Kind.BLOB, data)


def tree(*entries: tuple[bytes, bytes, bytes]) -> RawObject:
    return RawObject(Kind.TREE, b"".join(mode + b" " + name + b"\0" + oid for mode, name, oid in entries))


BLOB = blob()
BLOB_ID = object_id(BLOB.kind, BLOB.data)
TREE = tree((b"100644", b"f", BLOB_ID))
TREE_ID = object_id(TREE.kind, TREE.data).hex().encode()


def commit(
    head: bytes = b"", *, author: bytes = b"author " + PERSON, committer: bytes = b"committer " + PERSON, end: bytes = b"\n\nm\n"
) -> RawObject:
    return RawObject(Kind.COMMIT, (head or b"tree " + TREE_ID) + b"\n" + author + b"\n" + committer + end)


def entry(mode: bytes, name: bytes, oid: bytes = BLOB_ID) -> tuple[bytes, bytes, bytes]:
    return mode, name, oid


LEGAL = {
    "plain": commit(),
    "encoding": commit(end=b"\nencoding ISO-8859-1\n\nm\xe9\n"),
    "signed": commit(end=b"\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n\nm\n"),
    "unknown header": commit(end=b"\nHG:extra x\n\nm\n"),
    "no message": commit(end=b"\n"),
    "odd person": commit(author=b'author "\xff" , <> 0 -1234'),
    "late date": commit(author=b"author A <a> 9999999999 +1400"),
    "gitlink": tree(entry(b"160000", b"sub", b"\x12" * 20)),
    "odd permissions": tree(entry(b"100640", b"f")),
    "names of any bytes": tree(entry(b"100644", b"\x01\xff \n")),
    "looks a little like .git": tree(entry(b"100644", b".gitx"), entry(b"100644", b"git")),
    "tag without tagger": RawObject(Kind.TAG, b"object " + BLOB_ID.hex().encode() + b"\ntype blob\ntag t\n\nm\n"),
}
ILLEGAL = {
    "no tree": commit(b"author"),
    "cut header": commit(end=b"\nencoding x"),
    "bad tree id": commit(b"tree " + b"g" * 40),
    "bad parent": commit(b"tree " + TREE_ID + b"\nparent abc"),
    "no author": commit(author=b"nobody"),
    "two authors": commit(author=b"author " + PERSON + b"\nauthor " + PERSON),
    "no email": commit(author=b"author A 1700000000 +0100"),
    "no committer": commit(committer=b"x"),
    "nul in the header": commit(author=b"author A\0 <a> 1700000000 +0100"),
    "nul in the message": commit(end=b"\n\nm\0\n"),
    "tree not sorted": tree(entry(b"100644", b"b"), entry(b"100644", b"a")),
    "folder not sorted": tree(entry(b"40000", b"a", object_id(Kind.TREE, TREE.data)), entry(b"100644", b"a.b")),
    "two of a name": tree(entry(b"100644", b"a"), entry(b"100755", b"a")),
    "null id": tree(entry(b"100644", b"a", bytes(20))),
    "empty name": tree(entry(b"100644", b"")),
    "slash": tree(entry(b"100644", b"a/b")),
    "dot": tree(entry(b"100644", b".")),
    "dotdot": tree(entry(b"100644", b"..")),
    "dotgit": tree(entry(b"40000", b".git", object_id(Kind.TREE, TREE.data))),
    "dotGIT": tree(entry(b"100644", b".GiT")),
    "git~1": tree(entry(b"100644", b"GIT~1")),
    "hfs": tree(entry(b"100644", b".g\xe2\x80\x8cit")),
    "ntfs stream": tree(entry(b"100644", b".git::$INDEX_ALLOCATION")),
    "gitmodules link": tree(entry(b"120000", b".gitmodules")),
    "cut tree": RawObject(Kind.TREE, b"100644 a\0" + BLOB_ID[:10]),
    "tag of nothing": RawObject(Kind.TAG, b"object x\ntype blob\ntag t\n\nm\n"),
    "tag of a strange type": RawObject(Kind.TAG, b"object " + BLOB_ID.hex().encode() + b"\ntype blub\ntag t\n\nm\n"),
    "bad tagger": RawObject(Kind.TAG, b"object " + BLOB_ID.hex().encode() + b"\ntype blob\ntag t\ntagger x\n\nm\n"),
}
# Taken, since histories that exist hold them; C git takes them where it is told so.
ODD = {
    "no space before email": commit(author=b"author A<a> 1700000000 +0100"),
    "no name": commit(author=b"author <a> 1700000000 +0100"),
    "zero padded date": commit(author=b"author A <a> 01700000000 +0100"),
    "date too large": commit(author=b"author A <a> 99999999999999999999999 +0100"),
    "bad zone": commit(author=b"author A <a> 1700000000 +010"),
    "zero padded mode": tree(entry(b"0100644", b"a")),
}


@pytest.mark.parametrize("name", LEGAL)
def test_odd_but_legal_objects_keep_their_bytes(objects: Objects, tmp_path: Path, name: str) -> None:
    data = packed(BLOB, TREE, LEGAL[name]) if LEGAL[name].data != TREE.data else packed(BLOB, TREE)

    assert git_takes(data, tmp_path)
    assert object_id(LEGAL[name].kind, LEGAL[name].data) in ingest(objects, data, tmp_path).kinds


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal_objects_are_refused_as_git_refuses_them(objects: Objects, tmp_path: Path, name: str) -> None:
    data = packed(BLOB, TREE, ILLEGAL[name])

    assert not git_takes(data, tmp_path)
    with pytest.raises(BadPack, match=object_id(ILLEGAL[name].kind, ILLEGAL[name].data).hex()):
        ingest(objects, data, tmp_path)


@pytest.mark.parametrize("name", ODD)
def test_g1_objects_of_old_histories_keep_their_bytes(objects: Objects, tmp_path: Path, name: str) -> None:
    data = packed(BLOB, TREE, ODD[name])
    faults = ",".join(f"{fault}=ignore" for fault, row in TABLE.items() if row.severity is Severity.IGNORE)

    assert not git_takes(data, tmp_path)
    assert git_takes(data, tmp_path, f"--strict={faults}")
    assert object_id(ODD[name].kind, ODD[name].data) in ingest(objects, data, tmp_path).kinds


MODULES = (
    b'[submodule "../x"]\n\turl = y\n',
    b'[submodule "a"]\n\turl = -u./x\n',
    b'[submodule "a"]\n\tpath = -x\n',
    b'[submodule "a"]\n\tupdate = !id\n',
)


@pytest.mark.parametrize("text", MODULES)
def test_hostile_gitmodules(objects: Objects, tmp_path: Path, text: bytes) -> None:
    modules = blob(text)
    data = packed(modules, tree(entry(b"100644", b".gitmodules", object_id(Kind.BLOB, text))))

    assert not git_takes(data, tmp_path)
    assert not we_take(objects, data, tmp_path)


def test_wrong_counts_and_rests(objects: Objects, tmp_path: Path) -> None:
    good = packed(BLOB)
    for data in (packed(BLOB, count=0), packed(BLOB, count=2), packed(BLOB, BLOB), sealed(good[:-20] + b"rest")):
        assert not git_takes(data, tmp_path)
        assert not we_take(objects, data, tmp_path)


def test_missing_and_mistaken_references(objects: Objects, tmp_path: Path) -> None:
    for data in (
        packed(TREE),
        packed(commit()),
        packed(BLOB, tree(entry(b"40000", b"d", BLOB_ID))),
        packed(BLOB, commit(b"tree " + BLOB_ID.hex().encode())),
    ):
        assert not we_take(objects, data, tmp_path)


def bomb(claimed: int, actual: int) -> bytes:
    """A blob whose header claims one size and whose data has another."""
    size, head = claimed >> 4, bytearray([(3 << 4) | (claimed & 15)])
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    return sealed(b"PACK" + struct.pack(">II", 2, 1) + bytes(head) + zlib.compress(bytes(actual)))


@pytest.mark.parametrize(("claimed", "actual"), [(1 << 40, 10), (1 << 20, 1 << 26), (10, 1 << 22), (100, 10)])
def test_sizes_are_judged_before_data_is_inflated(objects: Objects, tmp_path: Path, claimed: int, actual: int) -> None:
    assert not we_take(objects, bomb(claimed, actual), tmp_path)


def test_limits(objects: Objects, tmp_path: Path) -> None:
    data = packed(blob(b"a" * 2000), blob(b"b" * 2000))
    for limits in (Limits(object_bytes=1999), Limits(pack_objects=1), Limits(pack_inflated_bytes=3000)):
        with pytest.raises(TooLarge):
            ingest(objects, data, tmp_path, limits)
    assert ingest(objects, data, tmp_path).info.objects == 2


def test_a_large_blob_is_hashed_in_pieces(objects: Objects, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(5 << 20)

    assert object_id(Kind.BLOB, data) in ingest(objects, packed(blob(data)), tmp_path).kinds


def test_completing_a_thin_pack(tmp_path: Path) -> None:
    pack = tmp_path / "x.pack"
    pack.write_bytes(packed(BLOB))
    rows, trailer = complete(pack, {object_id(TREE.kind, TREE.data): TREE}, 1)
    done = subprocess.run(["git", "index-pack", "-o", str(tmp_path / "x.idx"), str(pack)], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    assert len(rows) == 1
    assert done.stdout.decode().strip() == trailer.hex()

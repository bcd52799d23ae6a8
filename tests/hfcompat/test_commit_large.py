"""Large files in commits: pointers, tracking, and possession (I7)."""

import os
import uuid
from typing import Any

import pytest

from tests.hfcompat.commits import Target, head, large, line, pointer, put, sha256


@pytest.fixture
def target(hub: Any) -> Target:
    return Target(hub, hub.repo())


def bobs(hub: Any, *, private: bool = True) -> Target:
    """A repository of bob's, used with his token."""
    body = {"type": "model", "name": "t" + uuid.uuid4().hex[:12], "private": private}
    made = hub.call("POST", "/api/repos/create", body, token=hub.token2)
    assert made.status == 200
    return Target(hub, made.json()["url"].removeprefix(hub.url + "/"))


def as_bob(hub: Any, *lines: bytes) -> Any:
    return bobs(hub).commit(head(), *lines, token=hub.token2)


def test_an_uploaded_file(target: Target) -> None:
    content = os.urandom(5000)
    target.upload(content)
    target.made(large("model.safetensors", content))
    row = target.tree()["model.safetensors"]

    assert target.read("model.safetensors") == content
    assert (row["size"], row["lfs"]["oid"]) == (5000, sha256(content))
    assert target.read(".gitattributes") == target.read(".gitattributes", target.history()[1]["id"])


def test_a_file_that_is_not_tracked_gets_a_line(target: Target) -> None:
    content = os.urandom(50)
    target.upload(content)
    before = target.made(put("a.txt"))
    for path in ("plain.txt", "d/odd [1] *?.dat", "d/plain.txt"):
        target.made(large(path, content))
    rules = (target.read(".gitattributes") or b"").removeprefix(target.read(".gitattributes", before) or b"-")

    assert rules.splitlines() == [
        b"/plain.txt filter=lfs diff=lfs merge=lfs -text",
        rb"/d/odd[[:space:]]\[1][[:space:]]\*\?.dat filter=lfs diff=lfs merge=lfs -text",
        b"/d/plain.txt filter=lfs diff=lfs merge=lfs -text",
    ]
    target.made(large("plain.txt", content), put("d/plain.txt", b"inline"))
    assert target.tree()["d/plain.txt"]["lfs"]["oid"] == sha256(b"inline")
    assert (target.read(".gitattributes") or b"").count(b"/plain.txt") == 2


def test_g10_the_line_stands_where_no_deeper_file_wins_over_it(target: Target) -> None:
    content = os.urandom(50)
    target.upload(content)
    target.made(put("d/.gitattributes", b"*.dat -filter"), large("d/e/x.dat", content))

    assert target.read("d/.gitattributes") == b"*.dat -filter\n/e/x.dat filter=lfs diff=lfs merge=lfs -text\n"


def test_a_tracked_file_sent_inline_becomes_a_pointer(target: Target) -> None:
    target.made(put("x.bin", b"small weights"), put("sub/y.bin", b"more"), put("empty.bin", b""))
    rows = target.tree()

    assert rows["x.bin"]["lfs"]["oid"] == sha256(b"small weights")
    assert rows["sub/y.bin"]["lfs"]["size"] == 4
    assert "lfs" not in rows["empty.bin"]
    assert target.read("x.bin") == b"small weights"


def test_attributes_sent_along_count(target: Target) -> None:
    rules = b"*.txt filter=lfs diff=lfs merge=lfs -text\nkeep.txt -filter\n"
    target.made(put("x.txt", b"large"), put(".gitattributes", rules), put("keep.txt", b"inline"), put("y.bin", b"inline"))
    rows = target.tree()

    assert [path for path, row in sorted(rows.items()) if "lfs" in row] == ["x.txt"]


def test_a_copy_of_a_large_file_by_its_oid(target: Target) -> None:
    """What the Python client sends for a server-side copy: no size."""
    content = os.urandom(500)
    target.upload(content)
    target.made(large("a.bin", content))
    target.made(large("b.bin", content, size=None))

    assert target.tree()["b.bin"]["lfs"]["size"] == 500


def test_a_pointer_in_text(target: Target) -> None:
    content = os.urandom(500)
    absent = target.commit(head(), put("p.bin", pointer(os.urandom(10))))
    assert absent.status == 400
    assert "Upload it first" in absent.json()["error"]
    target.upload(content)
    target.made(put("p.bin", pointer(content)), put("q.txt", pointer(content)))

    assert target.tree()["p.bin"]["lfs"]["oid"] == sha256(content)


@pytest.mark.parametrize("size", [None, 0, 499, 501, 1 << 70])
def test_an_unknown_object_or_size(target: Target, size: int | None) -> None:
    content = os.urandom(500)
    if size is not None:
        target.upload(content)
    tip, stored = target.tip(), target.stored()
    answer = target.commit(head(), put("a.txt"), large("m.bin", content, size=size))

    assert (answer.status, "Upload it first" in answer.json()["error"]) == (400, True)
    assert (target.tip(), target.stored()) == (tip, stored)


def test_the_private_object_of_somebody_else(hub: Any) -> None:
    """Bob knows oid and size: the same words as for an object that nobody has, in every form of asking."""
    private, content, absent = Target(hub, hub.repo(private=True)), os.urandom(500), os.urandom(500)
    private.upload(content)
    refusals = []
    for data in (content, absent):
        lines = (large("m.bin", data), large("m.bin", data, size=None), large("m.bin", data, size=1), put("m.bin", pointer(data)))
        answers = [as_bob(hub, one) for one in lines]
        answers.append(as_bob(hub, put("a.txt"), large("n.bin", os.urandom(3)), large("m.bin", data)))
        assert [answer.status for answer in answers] == [400] * 5
        refusals.append([answer.body.replace(sha256(data).encode(), b"X") for answer in answers[:4]])

    assert refusals[0] == refusals[1]


def test_no_object_is_linked_by_a_refused_commit(hub: Any) -> None:
    private, content = Target(hub, hub.repo(private=True)), os.urandom(500)
    private.upload(content)
    repo = bobs(hub)
    repo.commit(head(), large("m.bin", content), token=hub.token2)
    asked = {"operation": "download", "objects": [{"oid": sha256(content), "size": 500}]}
    kind = "application/vnd.git-lfs+json"
    answer = hub.call("POST", f"/{repo.name}.git/info/lfs/objects/batch", asked, token=hub.token2, Content_Type=kind, Accept=kind)

    assert answer.json()["objects"][0]["error"]["code"] == 404


def test_an_object_that_the_caller_may_read_elsewhere(hub: Any) -> None:
    public, private, content = Target(hub, hub.repo()), Target(hub, hub.repo(private=True)), os.urandom(500)
    private.upload(content)
    assert as_bob(hub, large("m.bin", content)).status == 400
    public.made(large("mine.bin", content))
    repo = bobs(hub)
    assert repo.commit(head(), large("m.bin", content), token=hub.token2).status == 200

    row = hub.call("POST", f"/api/models/{repo.name}/paths-info/main", {"paths": ["m.bin"]}, token=hub.token2).json()
    assert row[0]["lfs"]["oid"] == sha256(content)
    assert hub.call("GET", f"/{repo.name}/resolve/main/m.bin", token=hub.token2).body == content


def test_a_refused_commit_keeps_no_content(target: Target) -> None:
    """Files that are tracked and came inline go to the pool; not for a commit that is refused after them."""
    target.made(put("f/x.txt"), put("a.txt"))
    tip, stored = target.tip(), target.stored()
    secret = os.urandom(100)
    for last in (put("f"), put("a.txt/x"), large("n.bin", os.urandom(9)), put("p.txt", pointer(b"absent")), line("deletedFile", path="no")):
        assert target.commit(head(), put("kept.bin", secret), last).status in (400, 404, 422)

    assert (target.tip(), target.stored()) == (tip, stored)
    assert as_bob(target.hub, large("m.bin", secret)).status == 400


# Preupload


def modes(target: Target, *files: dict[str, Any], **more: Any) -> Any:
    return target.hub.call("POST", f"/api/models/{target.name}/preupload/main", {"files": list(files), **more})


def asked(path: str, size: int, sample: str = "dGV4dA==") -> dict[str, Any]:
    return {"path": path, "size": size, "sample": sample}


def test_modes(target: Target) -> None:
    binary = "AAECAwQF"
    wanted = {
        "a.txt": (10, "dGV4dA==", "regular"),
        "big.txt": (10 << 20, "dGV4dA==", "regular"),
        "bigger.txt": ((10 << 20) + 1, "dGV4dA==", "lfs"),
        "a.dat": (1 << 20, binary, "regular"),
        "b.dat": ((1 << 20) + 1, binary, "lfs"),
        "x.safetensors": (1, "dGV4dA==", "lfs"),
        "empty.safetensors": (0, "", "regular"),
        "README.md": (20 << 20, "dGV4dA==", "regular"),
        "sub/.gitattributes": (20 << 20, binary, "regular"),
    }
    answer = modes(target, *[asked(path, size, sample) for path, (size, sample, _) in wanted.items()])

    assert {row["path"]: row["uploadMode"] for row in answer.json()["files"]} == {path: mode for path, (_, _, mode) in wanted.items()}
    assert all(row["shouldIgnore"] is False and "oid" not in row for row in answer.json()["files"])


def test_oids_of_what_is_there(target: Target) -> None:
    target.made(put("a.txt", b"hello\n"), put("x.bin", b"weights"), put("f/b.txt"))
    rows = {row["path"]: row for row in modes(target, *[asked(path, 6) for path in ("a.txt", "x.bin", "new.txt", "f")]).json()["files"]}

    assert rows["a.txt"]["oid"] == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert rows["x.bin"]["oid"] == sha256(b"weights")
    assert [path for path, row in rows.items() if "oid" not in row] == ["new.txt", "f"]


def test_what_is_ignored(target: Target) -> None:
    target.made(put(".gitignore", b"*.log\nbuild/\n!keep.log\n"))
    paths = ("x.log", "keep.log", "build/y.txt", "d/build/z", "a.txt")

    def ignored(**more: Any) -> list[str]:
        return [row["path"] for row in modes(target, *[asked(path, 1) for path in paths], **more).json()["files"] if row["shouldIgnore"]]

    assert ignored() == ["x.log", "build/y.txt", "d/build/z"]
    assert ignored(gitIgnore="a.*") == ["a.txt"]
    assert ignored(gitIgnore="") == []
    assert ignored(gitIgnore=5) == ["x.log", "build/y.txt", "d/build/z"]


def test_bad_questions(target: Target) -> None:
    url = f"/api/models/{target.name}/preupload/main"
    wrong: list[dict[str, Any]] = [
        {},
        {"path": "x"},
        {"path": "x", "size": -1},
        {"path": "x", "size": True},
        {"path": "x", "size": 1.5},
        {"path": "x", "size": "1"},
    ]
    wrong += [{"path": "x", "size": 1, "sample": 5}, {"path": "x", "size": 1, "sample": "é"}, {"path": "x", "size": 1, "sample": "x"}]

    assert [modes(target, one).status for one in wrong] == [400] * len(wrong)
    bodies: list[Any] = [[], {}, {"files": 5}, {"files": [5]}]
    assert [target.hub.call("POST", url, body).status for body in bodies] == [400] * 4
    assert [modes(target, asked(path, 1)).status for path in ("../x", "/x", ".git/x", "a\0", "")] == [422] * 5
    assert modes(target, {"path": 5, "size": 1}).status == 422
    assert modes(target, *[asked("x", 1)] * 1001).status == 413
    assert modes(target, asked("x", 1), gitIgnore="#" * (8 << 20)).status == 413
    assert modes(target, *[asked("x", 1)] * 1000).status == 200
    assert target.hub.call("POST", url, {"files": []}, token=target.hub.token2).status == 403


def test_a_copy_is_tracked_as_its_new_name_is(target: Target) -> None:
    content = os.urandom(500)
    target.upload(content)
    target.made(large("a.bin", content), put("plain.txt", b"plain"))
    target.made(line("copyFile", path="a.txt", srcPath="a.bin"), line("copyFile", path="plain.bin", srcPath="plain.txt"))
    rows = target.tree()

    assert rows["a.txt"]["lfs"]["oid"] == sha256(content)
    assert rows["plain.bin"]["lfs"]["size"] == 5
    assert b"/a.txt filter=lfs" in (target.read(".gitattributes") or b"")
    assert target.read("plain.bin") == b"plain"


def test_the_last_rules_of_a_long_list_count(target: Target) -> None:
    target.made(put(".gitattributes", b"*.zzz filter=lfs -text\n" * 3000 + b"*.last filter=lfs diff=lfs merge=lfs -text\n"))
    content = os.urandom(500)
    target.upload(content)
    target.made(large("a.big", content), put("b.last", b"inline"))
    before = target.read(".gitattributes") or b""
    target.made(large("a.big", content), put("c.txt", b"more"))

    assert "lfs" in target.tree()["b.last"]
    assert before.endswith(b"\n/a.big filter=lfs diff=lfs merge=lfs -text\n")
    assert target.read(".gitattributes") == before

"""One repository as git, as Hugging Face and as LakeFS: what any of them writes the others show."""

import hashlib
import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.lakefs.lake import Lake, Work


def hf_commit(hub: Any, name: str, files: dict[str, str], branch: str = "main", **header: str) -> Any:
    lines = [{"key": "header", "value": {"summary": "by hf", "description": "", **header}}]
    lines += [{"key": "file", "value": {"path": path, "content": text, "encoding": "utf-8"}} for path, text in files.items()]
    body = "\n".join(map(json.dumps, lines)).encode()
    return hub.call("POST", f"/api/models/{name}/commit/{branch}", body, Content_Type="application/x-ndjson")


def resolve(hub: Any, name: str, path: str, revision: str = "main") -> bytes:
    answer = hub.call("GET", f"/{name}/resolve/{revision}/{path}")
    assert answer.status == 200, answer
    return bytes(answer.body)


def test_a_push_is_files_in_lakefs(hub: Any, new_work: Callable[..., Work], new_lake: Callable[[str], Lake]) -> None:
    name = hub.repo()
    work = new_work(name)
    (work.folder / "link").symlink_to("a/b.txt")
    (work.folder / "run.sh").write_text("#!/bin/sh\n")
    (work.folder / "run.sh").chmod(0o755)
    work.write({"a/b.txt": b"hello", "gone": b"soon"})
    work.write({"gone": None})
    tip = work.write({"ünï/\tcödé": b"", "a/c": b"x" * 70_000}, "The subject\n\nAnd a body.")
    work.push()

    lake = new_lake(name)
    head = lake.branches()["main"]
    files = lake.files(head)
    assert set(files) == {"a/b.txt", "a/c", "link", "run.sh", "ünï/\tcödé"}
    assert {path: row["metadata"]["git-mode"] for path, row in files.items() if path[0] in "lr"} == {"link": "120000", "run.sh": "100755"}
    assert {path: lake.read(head, path) for path in files if files[path]["size_bytes"]} == {
        path: data for path, data in work.files().items() if data
    }
    assert all(row["checksum"] == hashlib.sha256(work.files()[path]).hexdigest() for path, row in files.items())
    commit, first = lake.log(head)
    assert (commit["message"], commit["metadata"]["git.oid"], commit["parents"]) == ("The subject\n\nAnd a body.\n", tip, [first["id"]])
    assert first["parents"] == []


def test_later_pushes_move_what_changed(hub: Any, new_work: Callable[..., Work], new_lake: Callable[[str], Lake]) -> None:
    name = hub.repo()
    work = new_work(name)
    work.write({"a": b"1", "dir/b": b"2", "dir/c": b"3"})
    work.push()
    work.write({"dir": None})
    work.write({"dir": b"now a file"})
    work.push()
    lake = new_lake(name)
    assert set(lake.files("main")) == {"a", "dir"}
    work.write({"dir": None})
    work.write({"dir/x": b"a folder again"})
    work.push()
    assert set(lake.files("main")) == {"a", "dir/x"}
    work.write({}, "nothing changed")
    work.push()
    assert len(lake.log("main")) == 5
    assert work.remote()["refs/heads/main"] == work("rev-parse", "HEAD")


def test_commits_of_hugging_face_clients(hub: Any, new_work: Callable[..., Work], new_lake: Callable[[str], Lake]) -> None:
    name = hub.repo()
    answer = hf_commit(hub, name, {"README.md": "# hi", "d/x.txt": "x"})
    assert answer.status == 200, answer
    lake = new_lake(name)

    assert lake.read("main", "d/x.txt") == b"x"
    work = new_work(name)
    work("pull", "-q", "origin", "main")
    assert work("rev-parse", "HEAD") == answer.json()["commitOid"] == lake.log("main")[0]["metadata"]["git.oid"]
    work.write({"d/y.txt": b"y"})
    work.push()
    assert resolve(hub, name, "d/y.txt") == b"y"
    assert set(lake.files("main")) == set(work.files())


def test_branches_come_and_go(hub: Any, new_work: Callable[..., Work], new_lake: Callable[[str], Lake]) -> None:
    name = hub.repo()
    work = new_work(name)
    one = work.write({"a": b"1"})
    work.push("main", "main:refs/heads/feature/x.y")
    lake = new_lake(name)
    assert lake.branches()["feature_2Fx_2Ey"] == lake.branches()["main"]  # no commit of its own
    work.write({"a": b"2"})
    work.push("main")
    two = work.write({"b": b"3"})
    work.push("main:refs/heads/late")
    assert set(lake.files("late")) == {"a", "b"}
    work("checkout", "-q", "--orphan", "other")
    work("rm", "-rqf", ".")
    alone = work.write({"z": b"26"})
    work.push("other")
    assert set(lake.files("other")) == {"z"}
    work("push", "-q", "-f", "origin", "other:late")
    assert set(lake.files("late")) == {"z"}
    assert lake.log("late")[0]["metadata"]["git.prev"] == two
    work("push", "-q", "origin", ":other", ":feature/x.y")

    assert set(lake.branches()) == {"main", "late"}
    shown = work.remote()
    assert {ref: shown[ref] for ref in shown if ref != "HEAD"} == {"refs/heads/late": alone, "refs/heads/main": work("rev-parse", "main~1")}
    assert one in work("log", "--format=%H", "main")


def test_the_default_branch_deleted_and_pushed_again(hub: Any, new_work: Callable[..., Work], new_lake: Callable[[str], Lake]) -> None:
    name = hub.repo()
    work = new_work(name)
    work.write({"a": b"1"})
    work.push("main:refs/heads/trunk")
    work.push("main")
    work.push(":main")
    assert "refs/heads/main" not in work.remote()
    tip = work.write({"b": b"2"})
    work.push("main")

    assert work.remote()["refs/heads/main"] == tip
    assert set(new_lake(name).files("main")) == {"a", "b"}


def test_tags_on_both_sides(hub: Any, new_work: Callable[..., Work], new_lake: Callable[[str], Lake], wait_for: Any) -> None:
    name = hub.repo()
    work = new_work(name)
    work.write({"a": b"1"})
    work("tag", "v1.0")
    work("tag", "-a", "-m", "annotated", "release")
    work.push("main")
    work("push", "-q", "origin", "--tags")
    lake = new_lake(name)
    head = lake.branches()["main"]
    wait_for(lambda: lake.tags() == {"v1.0": head, "t.release": head})
    work.write({"a": b"2"})
    work.push("main")
    lake.call("POST", "/tags", {"id": "from-lakefs", "ref": lake.branches()["main"]})
    wait_for(lambda: work.remote().get("refs/tags/from-lakefs") == work("rev-parse", "HEAD"))
    work("push", "-q", "origin", ":v1.0", ":from-lakefs")
    wait_for(lambda: lake.tags() == {"t.release": head})
    work("tag", "-f", "v1.0")
    work("push", "-q", "origin", "v1.0")
    wait_for(lambda: lake.tags() == {"t.release": head, "v1.0": lake.branches()["main"]})


def test_large_files_are_real_files_in_lakefs(hub: Any, new_lake: Callable[[str], Lake], new_work: Callable[..., Work]) -> None:
    name = hub.repo()
    data = os.urandom(300_000)
    oid = hashlib.sha256(data).hexdigest()
    batch = hub.call(
        "POST",
        f"/{name}.git/info/lfs/objects/batch",
        {"operation": "upload", "objects": [{"oid": oid, "size": len(data)}]},
        Content_Type="application/vnd.git-lfs+json",
    ).json()
    upload = batch["objects"][0]["actions"]["upload"]["href"]
    assert hub.call("PUT", upload[upload.index("/", 8) :], data, token="", Content_Type="application/octet-stream").status == 200
    work = new_work(name)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n".encode()
    work.write({".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n"})
    (work.folder / "w.bin").write_bytes(pointer)
    work("-c", "filter.lfs.clean=cat", "-c", "filter.lfs.process=", "-c", "filter.lfs.required=false", "add", "-A")
    work("commit", "-qm", "large")
    work.push()

    lake = new_lake(name)
    row = lake.files("main")["w.bin"]
    assert (row["size_bytes"], row["checksum"], row["metadata"]["git-kind"]) == (len(data), oid, "lfs")
    assert lake.read("main", "w.bin") == data
    copied = lake.change("main", {"note": b"n"})  # a direct commit leaves the pointer as it is
    assert resolve(hub, name, "w.bin") == data
    assert copied
    work("pull", "-q", "origin", "main")
    assert work.run("cat-file", "blob", "HEAD:w.bin").stdout == pointer


def test_names_that_lakefs_cannot_hold_stay_in_git(hub: Any, new_work: Callable[..., Work], new_lake: Callable[[str], Lake]) -> None:
    name = hub.repo()
    work = new_work(name)
    long = "/".join(["d" * 200] * 6)
    work.write({"ok": b"1", long: b"too long", "_lakefs_actions/evil.yaml": b"name: x\n"})
    (work.folder / os.fsdecode(b"latin-\xe9")).write_bytes(b"not UTF-8")
    work("add", "-A")
    work("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    work("commit", "-qm", "odd")
    work.push()

    lake = new_lake(name)
    assert set(lake.files("main")) == {"ok"}
    assert lake.log("main")[0]["metadata"]["hub.unprojected"] == "4"
    other = new_work(name, "clone")
    other("pull", "-q", "origin", "main")
    assert other("rev-parse", "HEAD^{tree}") == work("rev-parse", "HEAD^{tree}")


@pytest.mark.parametrize("branch", ["main", "side"])
def test_writes_between_look_and_merge_are_joined(
    hub: Any, new_work: Callable[..., Work], new_lake: Callable[[str], Lake], branch: str
) -> None:
    """The clone is behind LakeFS: the push is refused, as by any git host; after a pull it goes."""
    name = hub.repo()
    work = new_work(name)
    work.write({"a": b"1"})
    work.push("main", "main:side")
    lake = new_lake(name)
    lake.change(branch, {"b": b"2"})
    work.write({"c": b"3"})
    assert "fetch first" in work.refused("push", "-q", "origin", f"main:{branch}")
    work("pull", "-q", "--no-rebase", "--no-edit", "origin", branch)
    work.push(f"main:{branch}")
    assert set(lake.files(branch)) == {"a", "b", "c"}

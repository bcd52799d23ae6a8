"""What the Hugging Face clients write, by three generations of them, with Xet and without; what git makes of it; and the way back."""

import hashlib
import json
import random
import shutil
import sqlite3
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CLIENTS = ("newest", "1.29", "0.36")
# 0.36 uses Xet only where the LFS batch offers it, which this hub does not.
DATABASE = "hub.sqlite3"
SPEAKS_XET = {"newest", "1.29"}
LARGE_BYTES = (2 << 30) + 12_345  # more than a signed number of 32 bits holds


def combinations(group: str = "") -> list[Any]:
    """Client and whether Xet is on; tests of one combination, or of the whole `group`, run one after the other."""
    made = []
    for number, (client, is_xet) in enumerate((client, is_xet) for client in CLIENTS for is_xet in (True, False)):
        name = f"{client}-{'xet' if is_xet else 'lfs'}"
        made.append(pytest.param((client, is_xet, number, "embedded_hub"), id=name, marks=pytest.mark.xdist_group(group or name)))
    return made


@dataclass(frozen=True)
class World:
    """A computer of its own with one client."""

    machine: Any
    client: str
    is_xet: bool
    dice: random.Random
    many: int  # files of a folder

    def call(self, script: str, *arguments: str) -> Any:
        """What the script prints. It has `api`, and `name` from the first argument."""
        return json.loads(self.machine.python(self.client, PRELUDE + script, *arguments))

    def name(self) -> str:
        return f"{self.machine.hub.user}/w{uuid.uuid4().hex[:12]}"

    def write(self, folder: str, sizes: dict[str, int]) -> Path:
        """Random files of those sizes."""
        for path, size in sizes.items():
            target = self.machine.home / folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.dice.randbytes(size))
        return Path(self.machine.home / folder)


def new_world(machine: Any, param: tuple[str, bool, int, str]) -> World:
    client, is_xet, seed, hub = param
    if not is_xet:
        machine.environment["HF_HUB_DISABLE_XET"] = "1"
    many = 2000 if (client == "newest" and is_xet) or hub == "cluster_hub" else 300
    return World(machine, client, is_xet, random.Random(seed), many)


ON_POSTGRES = pytest.param(("newest", True, 6, "postgres_hub"), id="newest-postgres", marks=pytest.mark.xdist_group("newest-postgres"))


ON_CLUSTER = [
    pytest.param((client, is_xet, number, "cluster_hub"), id=f"{client}-cluster", marks=pytest.mark.xdist_group(f"{client}-cluster"))
    for client, is_xet, number in (("newest", True, 7), ("0.36", False, 8))
]


@pytest.fixture(scope="module", params=[*combinations(), ON_POSTGRES, *ON_CLUSTER])
def world(request: pytest.FixtureRequest, make_machine: Callable[[Any], Any]) -> Iterator[World]:
    world = new_world(make_machine(request.getfixturevalue(request.param[3])), request.param)
    yield world
    shutil.rmtree(world.machine.home)


PRELUDE = """
import io, json, pathlib, sys
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi, HfFileSystem
from huggingface_hub.errors import HfHubHTTPError
api, name = HfApi(), sys.argv[1]
def heads():
    return {branch.name: branch.target_commit for branch in api.list_repo_refs(name).branches}
"""


# The two ways in which clients send a large file, by the newest and the oldest. The other combinations send 12 MB.
WIDE = [param for param in combinations("two-gigabytes") if param.id in ("newest-xet", "0.36-lfs")]


# The longest of all come first: the other combinations run beside them.
@pytest.fixture(params=WIDE)
def wide_world(request: pytest.FixtureRequest, launcher: Any, make_machine: Callable[[Any], Any]) -> Iterator[World]:
    """A computer and a hub that are thrown away with all their bytes."""
    launcher.users()
    hub = launcher.start()
    world = new_world(make_machine(hub), request.param)
    yield world
    stopped = hub.stop()
    shutil.rmtree(launcher.data)
    shutil.rmtree(world.machine.home)
    assert stopped == 0


BIG = """
api.create_repo(name)
api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo="two.bin", repo_id=name)
print(json.dumps(heads()))
"""


def test_two_gigabytes(wide_world: World) -> None:
    name, machine = wide_world.name(), wide_world.machine
    file, digest, tail = machine.home / "two.bin", hashlib.sha256(), b""
    with file.open("wb") as out:
        for start in range(0, LARGE_BYTES, 8 << 20):
            tail = wide_world.dice.randbytes(min(8 << 20, LARGE_BYTES - start))
            digest.update(tail)
            out.write(tail)
    wide_world.call(BIG, name, str(file))
    file.unlink()

    machine.environment["GIT_LFS_SKIP_SMUDGE"] = "1"
    clone = machine.clone(name, "clone")
    version = "version https://git-lfs.github.com/spec/v1"
    assert (clone / "two.bin").read_text() == f"{version}\noid sha256:{digest.hexdigest()}\nsize {LARGE_BYTES}\n"
    received = hashlib.sha256()
    with urllib.request.urlopen(f"{machine.hub.url}/{name}/resolve/main/two.bin", timeout=60) as response:
        while piece := response.read(1 << 20):
            received.update(piece)
    assert received.hexdigest() == digest.hexdigest()
    end = urllib.request.Request(f"{machine.hub.url}/{name}/resolve/main/two.bin", headers={"Range": f"bytes={LARGE_BYTES - 5}-"})
    with urllib.request.urlopen(end, timeout=60) as response:
        assert response.read() == tail[-5:]
    stored = sum(path.stat().st_size for path in machine.hub.data.rglob("*") if path.is_file())
    assert LARGE_BYTES <= stored < LARGE_BYTES + (50 << 20)
    with closing(sqlite3.connect(machine.hub.data / DATABASE)) as database:
        came_by_xet = database.execute("SELECT count(*) FROM xet_files").fetchone()[0] == 1
    assert came_by_xet is (wide_world.is_xet and wide_world.client in SPEAKS_XET)


UPLOAD = """
folder, made = pathlib.Path(sys.argv[2]), []
api.create_repo(name, private=sys.argv[3] == "private")
for path in sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()):
    file = folder / path
    data = {"path": lambda: str(file), "bytes": file.read_bytes, "buffer": lambda: io.BytesIO(file.read_bytes())}[path.split("/")[0]]()
    made.append(api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=name, commit_message="Add " + path).oid)
print(json.dumps({"made": made, "commits": [c.commit_id for c in api.list_repo_commits(name)], "private": api.model_info(name).private}))
"""

# By how the client is given them: a path, bytes, or a buffer. Three of them are large for their size only.
SIZES = {
    "path/small.txt": 900,
    "path/odd é #?%+&.txt": 50,
    "path/empty": 0,
    "path/empty.bin": 0,
    "path/weights.safetensors": 12_000_000,
    "path/wide.txt": 11_000_000,
    "path/table.dat": 1_500_000,
    "bytes/small.txt": 901,
    "bytes/small.bin": 3,
    "bytes/tall.dat": 2_000_000,
    "buffer/small.txt": 902,
    "buffer/weights.bin": 3_000_000,
}
LARGE = {path for path, size in SIZES.items() if size and (size > 1_000_000 or path.endswith(".bin"))}


@pytest.mark.parametrize("visibility", ["public", "private"])
def test_single_files(world: World, files_below: Any, visibility: str) -> None:
    name = world.name()
    folder = world.write(visibility, SIZES)
    got = world.call(UPLOAD, name, str(folder), visibility)
    clone = world.machine.clone(name, f"clone-{visibility}")

    world.machine.check_sound(clone, files_below(folder), LARGE)
    assert got["private"] is (visibility == "private")
    assert got["commits"][:-1] == got["made"][::-1]
    assert world.machine.git(clone, "log", "--format=%H").split() == got["commits"]
    assert world.machine.git(clone, "log", "-1", "--format=%an %s") == f"alice Add {max(SIZES)}"
    stranger = world.machine.hub.call("GET", f"/api/models/{name}", token="")
    assert (stranger.status, stranger.headers.get("X-Error-Code")) == ((200, None) if visibility == "public" else (401, "RepoNotFound"))


CHANGE = """
api.delete_file("path/small.txt", name)
api.delete_folder("bytes", name)
copies = {"copy/odd.txt": "path/odd é #?%+&.txt", "copy/weights.safetensors": "path/weights.safetensors", "copy/wide.txt": "path/wide.txt"}
api.create_commit(name, [CommitOperationCopy(source, to) for to, source in copies.items()], commit_message="Copy")
fs = HfFileSystem()
fs.mv(f"{name}/buffer/small.txt", f"{name}/moved/small.txt")
fs.mv(f"{name}/buffer/weights.bin", f"{name}/moved/weights.bin")
mixed = [
    CommitOperationAdd("path/table.dat", b"now it is small"),
    CommitOperationAdd("both/new.bin", b"new"),
    CommitOperationCopy("path/wide.txt", "both/wide.txt"),
    CommitOperationDelete("path/empty"),
]
oid = api.create_commit(name, mixed, commit_message="Several\\n\\nA body.", commit_description="More.").oid
print(json.dumps({"oid": oid, "commits": [c.commit_id for c in api.list_repo_commits(name)]}))
"""


def test_delete_copy_and_move(world: World, files_below: Any) -> None:
    name = world.name()
    folder = world.write("changed", SIZES)
    world.call(UPLOAD, name, str(folder), "public")
    got = world.call(CHANGE, name)
    clone = world.machine.clone(name, "clone-changed")
    old = files_below(folder)
    kept = {path: data for path, data in old.items() if path.startswith("path/") and path not in ("path/small.txt", "path/empty")}
    new = {
        "path/table.dat": b"now it is small",
        "copy/odd.txt": old["path/odd é #?%+&.txt"],
        "copy/weights.safetensors": old["path/weights.safetensors"],
        "copy/wide.txt": old["path/wide.txt"],
        "both/wide.txt": old["path/wide.txt"],
        "both/new.bin": b"new",
        "moved/small.txt": old["buffer/small.txt"],
        "moved/weights.bin": old["buffer/weights.bin"],
    }
    large = {path for path in kept | new if path.rpartition(".")[0].endswith(("wide", "weights", "table", "new"))}

    world.machine.check_sound(clone, kept | new, large)
    assert world.machine.git(clone, "log", "--format=%H").split() == got["commits"]
    assert world.machine.git(clone, "log", "-1", "--format=%H %s") == f"{got['oid']} Several"


FOLDER = """
api.create_repo(name)
api.upload_folder(repo_id=name, folder_path=sys.argv[2], commit_message="All")
print(json.dumps([c.commit_id for c in api.list_repo_commits(name)]))
"""
DOWNLOAD = """
from huggingface_hub import snapshot_download
snapshot_download(name, local_dir=sys.argv[2])
made = api.upload_file(path_or_fileobj=b"from the client", path_in_repo="client.txt", repo_id=name)
print(json.dumps([made.oid, heads()["main"]]))
"""


def test_a_folder_of_many_files_and_git_after_it(world: World, files_below: Any) -> None:
    name, machine = world.name(), world.machine
    paths = [f"data/part {n % 20}/{n % 7}/{'é' if n % 3 else 'e'}{n}.{'bin' if n % 50 == 0 else 'txt'}" for n in range(world.many)]
    folder = world.write("many", {path: world.dice.randrange(1, 3000) for path in paths})
    wanted, large = files_below(folder), {path for path in paths if path.endswith("bin")}
    commits = world.call(FOLDER, name, str(folder))
    clone = machine.clone(name, "clone-many")
    machine.check_sound(clone, wanted, large)
    assert machine.git(clone, "log", "--format=%H").split() == commits

    pushed = machine.clone(name, "clone-pushed")
    wanted |= {"git/new.bin": world.dice.randbytes(2_000_000), "git/new.txt": b"from git", paths[1]: b"changed by git"}
    for path in ("git/new.bin", "git/new.txt", paths[1]):
        (pushed / path).parent.mkdir(exist_ok=True)
        (pushed / path).write_bytes(wanted[path])
    machine.git(pushed, "add", "-A")
    machine.git(pushed, "commit", "-q", "-m", "From git")
    machine.git(pushed, "push", "-q", "origin", "HEAD")
    made, newest = world.call(DOWNLOAD, name, str(machine.home / "snapshot"))
    assert files_below(machine.home / "snapshot") == wanted | {".gitattributes": (pushed / ".gitattributes").read_bytes()}

    machine.git(clone, "pull", "-q", "--ff-only")
    assert machine.git(clone, "rev-parse", "HEAD", "HEAD~1").split() == [made, machine.git(pushed, "rev-parse", "HEAD")]
    assert newest == made
    machine.check_sound(clone, wanted | {"client.txt": b"from the client"}, large | {"git/new.bin"})


BRANCHES = """
api.create_repo(name)
api.upload_file(path_or_fileobj=b"one", path_in_repo="one.txt", repo_id=name)
first = heads()["main"]
api.create_branch(name, branch="dev/one")
api.create_branch(name, branch="start", revision=api.list_repo_commits(name)[-1].commit_id)
api.create_branch(name, branch="short-lived")
api.create_tag(name, tag="v1", tag_message="The first")
api.create_tag(name, tag="light", revision="start")
api.create_tag(name, tag="short-lived")
for data in (b"two", pathlib.Path(sys.argv[2]).read_bytes()):
    api.upload_file(path_or_fileobj=data, path_in_repo=f"{len(data)}.bin", repo_id=name, revision="dev/one")
api.delete_branch(name, branch="short-lived")
api.delete_tag(name, tag="short-lived")
print(json.dumps({"first": first, "heads": heads(), "tags": {tag.name: tag.target_commit for tag in api.list_repo_refs(name).tags}}))
"""
AFTER_GIT = """
refs = api.list_repo_refs(name)
before = {ref.ref: ref.target_commit for ref in refs.branches + refs.tags}
api.delete_branch(name, branch="from/git")
api.delete_tag(name, tag="from-git")
print(json.dumps({"before": before, "after": sorted(heads())}))
"""


def test_branches_and_tags_through_both_doors(world: World) -> None:
    name, machine = world.name(), world.machine
    data = world.write("branch", {"large": 2_000_000}) / "large"
    got = world.call(BRANCHES, name, str(data))
    shown = machine.refs(name)
    assert {ref.removeprefix("refs/heads/"): oid for ref, oid in shown.items() if ref.startswith("refs/heads/")} == got["heads"]
    assert sorted(got["heads"]) == ["dev/one", "main", "start"]
    assert (shown["refs/tags/v1^{}"], shown["refs/tags/light"]) == (got["first"], got["heads"]["start"])
    assert got["tags"] == {"v1": got["first"], "light": got["heads"]["start"]}
    assert got["heads"]["main"] == got["first"]

    work = machine.clone(name, "clone-branches")
    machine.git(work, "checkout", "-q", "dev/one")
    assert [(work / "3.bin").read_bytes(), (work / "2000000.bin").read_bytes()] == [b"two", data.read_bytes()]
    machine.git(work, "tag", "-a", "from-git", "-m", "From git")
    machine.git(work, "push", "-q", "origin", "HEAD:refs/heads/from/git", "HEAD:refs/heads/stays", "from-git", ":refs/heads/start")
    machine.git(work, "push", "-q", "--delete", "origin", "light")
    tip = machine.git(work, "rev-parse", "HEAD")
    after = world.call(AFTER_GIT, name)
    heads = {f"refs/heads/{branch}": tip for branch in ("dev/one", "from/git", "stays")}
    assert after["before"] == heads | {"refs/heads/main": got["first"], "refs/tags/v1": got["first"], "refs/tags/from-git": tip}
    assert after["after"] == ["dev/one", "main", "stays"]
    assert set(machine.refs(name)) == {"HEAD", *(f"refs/heads/{b}" for b in after["after"]), "refs/tags/v1", "refs/tags/v1^{}"}


REFUSED = """
import os
folder, secret = pathlib.Path(sys.argv[2]), sys.argv[3]
bob, small, large = HfApi(token=secret), b"small", str(folder / "large.bin")
api.create_repo(name)
api.create_repo(name + "-private", private=True)
for _ in range(2):
    for repo in (name, name + "-private"):
        api.upload_file(path_or_fileobj=os.urandom(20), path_in_repo="x/one.txt", repo_id=repo)
old = api.list_repo_commits(name)[1].commit_id
add = lambda data: [CommitOperationAdd("x/two.bin", data)]
by_bob = lambda repo: [
    lambda: bob.upload_file(path_or_fileobj=small, path_in_repo="a.txt", repo_id=repo),
    lambda: bob.upload_file(path_or_fileobj=large, path_in_repo="a.bin", repo_id=repo),
    lambda: bob.upload_folder(folder_path=str(folder), repo_id=repo),
    lambda: bob.delete_file("x/one.txt", repo),
    lambda: bob.delete_folder("x", repo),
    lambda: bob.create_branch(repo, branch="b"),
    lambda: bob.delete_branch(repo, branch="main"),
    lambda: bob.create_tag(repo, tag="t"),
    lambda: bob.delete_repo(repo),
]
tried = {
    "stale": [
        lambda: api.create_commit(name, add(small), commit_message="Stale", parent_commit=old),
        lambda: api.create_commit(name, add(large), commit_message="Stale", parent_commit=old),
        lambda: api.delete_file("x/one.txt", name, parent_commit=old),
        lambda: api.upload_folder(folder_path=str(folder), repo_id=name, parent_commit=old),
    ],
    "request": [
        lambda: api.create_commit(name, add(small), commit_message="Request", create_pr=True),
        lambda: api.create_commit(name, add(large), commit_message="Request", create_pr=True),
        lambda: api.delete_file("x/one.txt", name, create_pr=True),
        lambda: api.upload_folder(folder_path=str(folder), repo_id=name, create_pr=True),
        lambda: api.create_pull_request(name, title="Request"),
    ],
    "public": by_bob(name),
    "private": by_bob(name + "-private"),
}
def outcome(call):
    try:
        return ["made", str(call())]
    except HfHubHTTPError as error:
        return [type(error).__name__, error.response.status_code, str(error)]
print(json.dumps({kind: [outcome(call) for call in calls] for kind, calls in tried.items()}))
"""


def test_what_is_refused_changes_nothing(world: World) -> None:
    name, hub = world.name(), world.machine.hub
    folder = world.write("refused", {"large.bin": 1_500_000, "small.txt": 100})
    got = world.call(REFUSED, name, str(folder), hub.token2)

    assert {(kind, status) for kind, status, _ in got["stale"]} == {("HfHubHTTPError", 412)}
    assert all("updated since you opened this page" in message for _, _, message in got["stale"])
    assert {(kind, status) for kind, status, _ in got["request"]} == {("HfHubHTTPError", 403)}
    assert all("Pull requests are not available on this hub" in message for _, _, message in got["request"])
    assert {(kind, status) for kind, status, _ in got["public"]} == {("HfHubHTTPError", 403)}
    assert {kind for kind, _, _ in got["private"]} == {"RepositoryNotFoundError"}
    for repo in (name, name + "-private"):
        refs = world.machine.refs(repo)
        assert set(refs) == {"HEAD", "refs/heads/main"}
        assert len(hub.call("GET", f"/api/models/{repo}/commits/main").json()) == 3
        assert [row["path"] for row in hub.call("GET", f"/api/models/{repo}/tree/main?recursive=true").json()][-1] == "x/one.txt"

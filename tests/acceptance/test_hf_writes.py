"""What the Hugging Face clients write, by three generations of them, with Xet and without; what git makes of it; and the way back."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.acceptance.worlds import MANY, World, lived, way

# The whole tour; what the short tier leaves out of it differs in the client or the store alone.
TOUR = [
    way("newest", "xet", "embedded_hub"),
    way("newest", "xet", "cluster_hub"),
    way("0.36", "lfs", "cluster_hub"),
    way("newest", "xet", "embedded_hub", MANY, is_long=True),
    way("newest", "xet", "cluster_hub", MANY, is_long=True),
    way("0.36", "lfs", "cluster_hub", MANY, is_long=True),
]
REST = [
    ("newest", "lfs", "embedded_hub"),
    ("1.29", "xet", "embedded_hub"),
    ("1.29", "lfs", "embedded_hub"),
    ("0.36", "xet", "embedded_hub"),
    ("0.36", "lfs", "embedded_hub"),
    ("newest", "xet", "postgres_hub"),
]


@pytest.fixture(scope="module", params=[*TOUR, *(way(*row, is_long=True) for row in REST)])
def world(request: pytest.FixtureRequest, make_machine: Callable[[Any], Any]) -> Iterator[World]:
    yield from lived(request, make_machine)


@pytest.fixture(scope="module", params=[way(*row) for row in REST])
def other_world(request: pytest.FixtureRequest, make_machine: Callable[[Any], Any]) -> Iterator[World]:
    """Clients and stores of which the short tier sees one upload."""
    yield from lived(request, make_machine)


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
    send_single_files(world, files_below, visibility)


def test_single_files_by_every_client(other_world: World, files_below: Any) -> None:
    send_single_files(other_world, files_below, "private")


def send_single_files(world: World, files_below: Any, visibility: str) -> None:
    name = world.name()
    folder = world.write(visibility, SIZES)
    got = world.call(UPLOAD, name, str(folder), visibility)
    clone = world.machine.clone(name, f"clone-{uuid.uuid4().hex[:6]}")

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

"""The Hugging Face clients, unmodified: the newest ones and 0.36."""

import hashlib
import json
from typing import Any

import pytest

LARGE = bytes(range(256)) * 8192
CARD = "---\nlicense: mit\ntags: [a, b]\nlanguage: en\n---\n# Title\n"
ROWS = [{"text": f"row {n}", "label": n % 2} for n in range(50)]


@pytest.fixture(params=["newest", "0.36"])
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def fill(machine: Any, kind: str = "model") -> tuple[str, list[str]]:
    """A repository with two commits, a tag and a branch with a slash; its name and commit ids."""
    name = machine.hub.repo(kind)
    work = machine.home / f"fill-{name.split('/')[1]}"
    prefix = "" if kind == "model" else kind + "s/"
    machine.run("git", "clone", "-q", machine.hub.git_url(prefix + name), str(work))
    machine.git(work, "lfs", "track", "*.bin")
    (work / "config.json").write_text(json.dumps({"model_type": "bert", "hidden_size": 32, "num_attention_heads": 4}))
    (work / "README.md").write_text(CARD)
    (work / "big.bin").write_bytes(LARGE)
    (work / "deep" / "er").mkdir(parents=True)
    (work / "deep" / "er" / "odd #?% é.txt").write_text("odd")
    machine.git(work, "add", "-A")
    machine.git(work, "commit", "-q", "-m", "First\n\nWith a body.")
    machine.git(work, "tag", "v1")
    machine.git(work, "branch", "feature/x")
    (work / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    machine.git(work, "add", "-A")
    machine.git(work, "commit", "-q", "-m", "Second")
    machine.git(work, "push", "-q", "origin", "main", "feature/x", "v1")
    return name, machine.git(work, "log", "--format=%H").split()


API = """
import json, sys
from huggingface_hub import HfApi
api, name = HfApi(), sys.argv[1]
info = api.model_info(name, files_metadata=True)
tree = {e.path: e for e in api.list_repo_tree(name, recursive=True, expand=True)}
refs = api.list_repo_refs(name)
commits = api.list_repo_commits(name)
api.create_branch(name, branch="made")
api.create_tag(name, tag="t-light", revision="v1")
api.create_tag(name, tag="t-note", tag_message="note")
after = api.list_repo_refs(name)
api.delete_branch(name, branch="made")
api.delete_tag(name, tag="t-note")
made = api.create_repo(name + "-made", private=True)
again = api.create_repo(name + "-made", private=True, exist_ok=True)
exists = api.repo_exists(name + "-made")
api.delete_repo(name + "-made")
print(json.dumps({
    "sha": info.sha, "tags": info.tags, "private": info.private, "card": info.card_data.license,
    "siblings": {s.rfilename: [s.size, s.blob_id, s.lfs and s.lfs["sha256"]] for s in info.siblings},
    "tree": sorted(tree), "last": tree["config.json"].last_commit.oid, "lfs": tree["big.bin"].lfs.sha256,
    "branches": sorted(b.name for b in refs.branches), "tags_of": sorted(t.name for t in refs.tags),
    "commits": [c.commit_id for c in commits], "titles": [c.title for c in commits],
    "after": sorted(b.name for b in after.branches) + sorted(t.name for t in after.tags),
    "same": str(made) == str(again), "exists": exists, "gone": api.repo_exists(name + "-made"),
    "file": [api.file_exists(name, "config.json"), api.file_exists(name, "nope")],
    "revision": [api.revision_exists(name, "v1"), api.revision_exists(name, "nope")],
    "me": api.whoami()["name"],
    "paths": sorted(p.path for p in api.get_paths_info(name, ["deep", "big.bin", "nope"])),
}))
"""


def test_api(machine: Any, client: str) -> None:
    name, commits = fill(machine)
    got = json.loads(machine.python(client, API, name))

    assert got["sha"] == commits[0]
    assert got["tags"] == ["a", "b", "en", "license:mit"]
    assert got["card"] == "mit"
    assert got["siblings"]["big.bin"][0] == len(LARGE)
    assert got["siblings"]["big.bin"][2] == got["lfs"] == hashlib.sha256(LARGE).hexdigest()
    assert "deep/er/odd #?% é.txt" in got["tree"]
    assert got["last"] == commits[1]
    assert (got["branches"], got["tags_of"]) == (["feature/x", "main"], ["v1"])
    assert (got["commits"], got["titles"]) == (commits, ["Second", "First"])
    assert got["after"] == ["feature/x", "made", "main", "t-light", "t-note", "v1"]
    assert (got["same"], got["exists"], got["gone"]) == (True, True, False)
    assert (got["file"], got["revision"]) == ([True, False], [True, False])
    assert got["me"] == "alice"
    assert got["paths"] == ["big.bin", "deep"]


DOWNLOAD = """
import json, sys, hashlib, pathlib
from huggingface_hub import snapshot_download, hf_hub_download, HfFileSystem
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
name, first = sys.argv[1:]
shown = {}
for revision in ("main", "v1", "feature/x", first, first[:8]):
    folder = pathlib.Path(snapshot_download(name, revision=revision))
    shown[revision] = [folder.name, sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())]
big = hf_hub_download(name, "big.bin", revision="v1")
odd = hf_hub_download(name, "deep/er/odd #?% é.txt")
errors = []
for args in ((name, "nope", "main"), (name, "config.json", "nope"), (name + "-nope", "config.json", "main")):
    try:
        hf_hub_download(args[0], args[1], revision=args[2])
    except (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        errors.append(type(error).__name__)
fs = HfFileSystem()
with fs.open(f"{name}/big.bin") as file:
    file.seek(1000)
    part = file.read(50)
print(json.dumps({
    "shown": shown, "big": hashlib.sha256(open(big, "rb").read()).hexdigest(), "odd": open(odd).read(), "errors": errors,
    "part": part.hex(), "ls": sorted(p.split("/", 2)[2] for p in fs.ls(name, detail=False)), "glob": len(fs.glob(f"{name}/**/*.bin")),
}))
"""


def test_downloads(machine: Any, client: str) -> None:
    name, commits = fill(machine)
    got = json.loads(machine.python(client, DOWNLOAD, name, commits[1]))
    first = [".gitattributes", "README.md", "big.bin", "config.json", "deep/er/odd #?% é.txt"]

    assert got["shown"]["main"] == [commits[0], [*first, "train.jsonl"]]
    assert [got["shown"][rev] for rev in ("v1", "feature/x", commits[1], commits[1][:8])] == [[commits[1], first]] * 4
    assert got["big"] == hashlib.sha256(LARGE).hexdigest()
    assert got["odd"] == "odd"
    assert [error.removeprefix("Remote") for error in got["errors"]] == [
        "EntryNotFoundError",
        "RevisionNotFoundError",
        "RepositoryNotFoundError",
    ]
    assert bytes.fromhex(got["part"]) == LARGE[1000:1050]
    assert got["ls"] == [".gitattributes", "README.md", "big.bin", "config.json", "deep", "train.jsonl"]
    assert got["glob"] == 1


def test_datasets(machine: Any) -> None:
    name, _ = fill(machine, "dataset")
    script = "import sys, datasets; d = datasets.load_dataset(sys.argv[1], split='train'); print(len(d), d[7])"
    streamed = "import sys, datasets; d = datasets.load_dataset(sys.argv[1], split='train', streaming=True); print(next(iter(d)))"

    assert machine.python("newest", script, name).strip() == f"50 {ROWS[7]}"
    assert machine.python("newest", streamed, name).strip() == str(ROWS[0])


def test_transformers(machine: Any) -> None:
    name, _ = fill(machine)
    script = "import sys, transformers; c = transformers.AutoConfig.from_pretrained(sys.argv[1]); print(c.hidden_size, type(c).__name__)"

    assert machine.python("newest", script, name).split()[-2:] == ["32", "BertConfig"]


def test_download_command(machine: Any) -> None:
    name, commits = fill(machine)
    machine.hf("download", name, "--revision", "v1", "--local-dir", str(machine.home / "out"), "--include", "*.bin")

    assert (machine.home / "out" / "big.bin").read_bytes() == LARGE
    assert commits[0] in machine.hf("models", "info", name)

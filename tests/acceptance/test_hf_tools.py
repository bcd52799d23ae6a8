"""The tools around the Hugging Face client: the command line, the file system, datasets, models; interrupted and repeated uploads."""

import dataclasses
import hashlib
import json
import random
import socket
import socketserver
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

MOSTLY_EMBEDDED = pytest.mark.parametrize("hub", ["embedded_hub", pytest.param("cluster_hub", marks=pytest.mark.long)], indirect=True)


def new_name(machine: Any) -> str:
    return f"{machine.hub.user}/x{uuid.uuid4().hex[:12]}"


def write(folder: Path, contents: dict[str, bytes]) -> Path:
    for path, data in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def shown(machine: Any, name: str, revision: str = "main", kind: str = "models") -> dict[str, bool]:
    """The files of a revision, and whether each is a large one."""
    rows = machine.hub.call("GET", f"/api/{kind}/{name}/tree/{revision}?recursive=true").json()
    return {row["path"]: "lfs" in row for row in rows if row["type"] == "file" and row["path"] != ".gitattributes"}


@MOSTLY_EMBEDDED
def test_command_line_sign_in_and_repositories(machine: Any) -> None:
    token = machine.environment.pop("HF_TOKEN")
    name = new_name(machine)
    before = machine.run(machine.tool("newest"), "auth", "whoami", may_fail=True)
    machine.hf("auth", "login", "--token", token)
    assert "alice" not in before
    assert "alice" in machine.hf("auth", "whoami")

    machine.hf("repos", "create", name, "--private")
    machine.hf("repos", "create", name, "--exist-ok")
    assert machine.hub.call("GET", f"/api/models/{name}").json()["private"] is True
    machine.hf("repos", "settings", name, "--public")
    machine.hf("repos", "branch", "create", name, "dev/one")
    machine.hf("repos", "branch", "create", name, "gone")
    machine.hf("repos", "branch", "delete", name, "gone")
    machine.hf("repos", "tag", "create", name, "v1", "-m", "First")
    machine.hf("repos", "tag", "create", name, "gone")
    machine.hf("repos", "tag", "delete", name, "gone", "--yes")
    assert "v1" in machine.hf("repos", "tag", "list", name)
    assert set(machine.refs(name)) == {"HEAD", "refs/heads/main", "refs/heads/dev/one", "refs/tags/v1", "refs/tags/v1^{}"}
    assert machine.hub.call("GET", f"/api/models/{name}", token="").status == 200
    machine.hf("repos", "delete", name, "--yes")
    assert machine.hub.call("GET", f"/api/models/{name}").status == 404
    machine.hf("repos", "delete", name, "--yes", "--missing-ok")


@MOSTLY_EMBEDDED
def test_command_line_files(machine: Any, files_below: Any) -> None:
    name, dice = new_name(machine), random.Random(5)
    contents = {f"a/{n}.txt": b"text %d" % n for n in range(4)} | {"b/w.bin": dice.randbytes(2_000_000), "c.json": b"{}", "a/x/y.md": b"y"}
    folder = write(machine.home / "up", contents)
    machine.hf("upload", name, str(folder / "b" / "w.bin"), "single/w.bin")
    assert shown(machine, name) == {"single/w.bin": True}
    machine.hf("upload", name, str(folder), ".", "--include", "*.txt", "--include", "*.bin", "--exclude", "a/3.txt")
    assert shown(machine, name) == {"single/w.bin": True, "b/w.bin": True, "a/0.txt": False, "a/1.txt": False, "a/2.txt": False}
    url = machine.hf("upload", name, str(folder), ".", "--delete", "single/*", "--delete", "a/*.txt", "--commit-message", "All of it")
    assert f"{machine.hub.url}/{name}" in url
    machine.hf("download", name, "--local-dir", str(machine.home / "down"))
    down = files_below(machine.home / "down")
    assert down.pop(".gitattributes")
    assert down == contents

    machine.hf("repos", "branch", "create", name, "dev")
    machine.hf("upload", name, str(folder / "c.json"), "only-dev.json", "--revision", "dev")
    machine.hf("repos", "delete-files", name, "*.bin", "a/", "--commit-message", "Less")
    clone = machine.clone(name, "clone")
    machine.check_sound(clone, {"c.json": b"{}"}, set())
    assert machine.git(clone, "log", "-2", "--format=%s").splitlines() == ["Less", "All of it"]
    assert set(shown(machine, name, "dev")) == {*contents, "only-dev.json"}


@MOSTLY_EMBEDDED
def test_upload_large_folder_is_killed_and_finishes_when_run_again(machine: Any) -> None:
    name, dice = new_name(machine), random.Random(6)
    sizes = {f"d{n % 9}/{n}.{'bin' if n % 10 == 0 else 'txt'}": 400_000 if n % 10 == 0 else 2000 for n in range(700)}
    contents = {path: dice.randbytes(size) for path, size in sizes.items()}
    folder = write(machine.home / "large", contents)
    command = [machine.tool("1.29"), "upload-large-folder", name, str(folder), "--repo-type", "model", "--num-workers", "4", "--no-bars"]
    commits = f"/api/models/{name}/commits/main"
    with (machine.home / "log").open("wb") as log:
        process = subprocess.Popen(command, env=machine.environment, stdout=log, stderr=log)
        until = time.monotonic() + 120
        while (answer := machine.hub.call("GET", commits)).status != 200 or len(answer.json()) < 2:
            assert (process.poll(), time.monotonic() < until) == (None, True), (machine.home / "log").read_text()
            time.sleep(0.01)
        process.kill()
        assert process.wait(30) == -9
    assert 20 <= len(shown(machine, name)) < len(contents)

    machine.run(*command)
    machine.check_sound(machine.clone(name, "clone"), contents, {path for path in contents if path.endswith("bin")})
    before = machine.refs(name)
    machine.run(*command)
    assert machine.refs(name) == before


FILE_SYSTEM = """
import json, sys
from huggingface_hub import HfApi, HfFileSystem
name, data = sys.argv[1], bytes(range(256)) * 8192
HfApi().create_repo(name)
fs = HfFileSystem()
for path in ("a/one.txt", "a/deep/two.txt", "gone/x.txt", "gone/y.txt", "gone.txt"):
    with fs.open(f"{name}/{path}", "w") as file:
        file.write(path)
for path in ("a/large.bin", "a/deep/large.dat"):
    with fs.open(f"{name}/{path}", "wb") as file:
        file.write(data[:1_000_000])
        file.write(data[1_000_000:])
fs.mv(f"{name}/a/one.txt", f"{name}/b/1.txt")
for path in fs.find(f"{name}/a/deep"):  # the client copies no folders
    fs.mv(path, path.replace("/a/deep/", "/c/"))
fs.cp(f"{name}/a/large.bin", f"{name}/copy.bin")
fs.rm(f"{name}/gone.txt")
fs.rm(f"{name}/gone", recursive=True)
found = sorted(path.removeprefix(name + "/") for path in fs.find(name))
same = fs.cat(f"{name}/copy.bin") == data
left = [fs.exists(f"{name}/{path}") for path in ("gone", "gone.txt", "a/deep", "a", "c/large.dat")]
print(json.dumps({"found": found, "same": same, "left": left, "size": fs.info(f"{name}/c/large.dat")["size"]}))
"""


def test_file_system(machine: Any) -> None:
    name, data = new_name(machine), bytes(range(256)) * 8192
    got = json.loads(machine.python("newest", FILE_SYSTEM, name))
    wanted = {"a/large.bin": data, "b/1.txt": b"a/one.txt", "c/large.dat": data, "c/two.txt": b"a/deep/two.txt", "copy.bin": data}

    assert got["found"] == sorted([".gitattributes", *wanted])
    assert (got["same"], got["left"], got["size"]) == (True, [False, False, False, True, True], len(data))
    machine.check_sound(machine.clone(name, "clone"), wanted, {"a/large.bin", "c/large.dat", "copy.bin"})


DATASETS = """
import json, sys, datasets
name = sys.argv[1]
def rows(start):
    return datasets.Dataset.from_list([{"n": n, "text": f"row {n}"} for n in range(start, start + 100)])
rows(0).push_to_hub(name)
datasets.DatasetDict({"train": rows(0), "test": rows(500)}).push_to_hub(name, "second", private=False)
rows(1000).push_to_hub(name, num_shards=3)
first, second = datasets.load_dataset(name, split="train"), datasets.load_dataset(name, "second", split="test")
configs = datasets.get_dataset_config_names(name)
print(json.dumps({"first": first[:]["n"], "second": second[:]["text"], "configs": configs}))
"""


def test_datasets_push_and_load(machine: Any) -> None:
    name = new_name(machine)
    got = json.loads(machine.python("newest", DATASETS, name).splitlines()[-1])
    assert got["first"] == list(range(1000, 1100))
    assert got["second"] == [f"row {n}" for n in range(500, 600)]
    assert got["configs"] == ["default", "second"]

    files = shown(machine, name, kind="datasets")
    assert {path for path, is_large in files.items() if not is_large} == {"README.md"}
    assert len(files) == 6  # 3 shards, 2 splits, the card
    assert all(path.endswith(".parquet") for path, is_large in files.items() if is_large)
    machine.git(machine.clone(f"datasets/{name}", "clone"), "lfs", "fsck")


MIXIN = """
import json, pathlib, sys
from huggingface_hub import ModelHubMixin, hf_hub_download
class Model(ModelHubMixin, library_name="of-mine", tags=["made-here"], license="mit"):
    def __init__(self, size: int = 3, word: str = "x"):
        self.size, self.word, self.weights = size, word, bytes(size)
    def _save_pretrained(self, save_directory):
        (pathlib.Path(save_directory) / "weights.bin").write_bytes(self.weights)
    @classmethod
    def _from_pretrained(cls, *, model_id, revision, token, size, word, **rest):
        made = cls(size, word)
        made.weights = pathlib.Path(hf_hub_download(model_id, "weights.bin", revision=revision, token=token)).read_bytes()
        return made
model = Model(2_000_000, "hello")
model.weights = b"\\1" * model.size
model.push_to_hub(sys.argv[1], private=True)
again = Model.from_pretrained(sys.argv[1])
print(json.dumps({"size": again.size, "word": again.word, "same": again.weights == model.weights}))
"""


def test_model_mixin(machine: Any) -> None:
    name = new_name(machine)
    got = json.loads(machine.python("newest", MIXIN, name))
    info = machine.hub.call("GET", f"/api/models/{name}").json()

    assert got == {"size": 2_000_000, "word": "hello", "same": True}
    assert shown(machine, name) == {"README.md": False, "config.json": False, "weights.bin": True}
    assert (info["private"], info["library_name"], info["cardData"]["license"]) == (True, "of-mine", "mit")
    assert {"made-here", "license:mit"} <= set(info["tags"])


class CountingProxy(socketserver.ThreadingTCPServer):
    """Passes everything on to the hub and counts the bytes that clients send."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self.port = port
        self.sent = 0
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), PassOn)

    def count(self, number: int) -> None:
        with self.lock:
            self.sent += number


class PassOn(socketserver.BaseRequestHandler):
    server: CountingProxy

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port)) as hub:
            back = threading.Thread(target=pass_on, args=(hub, self.request, lambda number: None), daemon=True)
            back.start()
            pass_on(self.request, hub, self.server.count)
            back.join(60)


def pass_on(source: socket.socket, target: socket.socket, count: Callable[[int], None]) -> None:
    try:
        while data := source.recv(1 << 16):
            count(len(data))
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        target.close()  # one side is gone: the other hears of it


@pytest.fixture
def proxy(hub: Any) -> Iterator[CountingProxy]:
    server = CountingProxy(int(hub.url.rsplit(":", 1)[1]))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


SEND = """
import sys
from huggingface_hub import HfApi
HfApi().create_repo(sys.argv[1], exist_ok=True)
HfApi().upload_file(path_or_fileobj=sys.argv[2], path_in_repo="a.bin", repo_id=sys.argv[1])
"""


def test_a_small_edit_of_a_large_file_sends_little(hub: Any, proxy: CountingProxy, make_machine: Callable[[Any], Any]) -> None:
    behind = dataclasses.replace(hub, url=f"http://127.0.0.1:{proxy.server_address[1]}")
    first, second = make_machine(behind), make_machine(behind)
    name, dice, data = new_name(first), random.Random(7), bytearray(random.Random(8).randbytes(30_000_000))

    def send(machine: Any) -> int:
        before = proxy.sent
        (machine.home / "a.bin").write_bytes(data)
        machine.python("newest", SEND, name, str(machine.home / "a.bin"))
        answer = hub.call("GET", f"/{name}/resolve/main/a.bin")
        assert hashlib.sha256(answer.body).hexdigest() == hashlib.sha256(data).hexdigest()
        return proxy.sent - before

    assert send(first) > len(data)
    data[15_000_000:15_100_000] = dice.randbytes(100_000)
    assert 100_000 < send(first) < 1_000_000
    data[7_000_000:7_000_000] = dice.randbytes(100_000)  # everything behind it moves; another computer has sent nothing before
    assert 100_000 < send(second) < 1_000_000

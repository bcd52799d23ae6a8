"""SIGKILL at random moments of a stock client's uploads and commits: what it was told is there after a restart, and its next try finishes.

The moments come from a fixed seed. KOHAKU_CRASH_ROUNDS=100 runs more rounds by hand.
"""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".venv" / "clients" / "newest" / "bin" / "python"
ROUNDS = int(os.environ.get("KOHAKU_CRASH_ROUNDS", "3"))

# Uploads until it is told to stop; each step is tried again, by the same call, until the client says that it is done.
CLIENT = """
import hashlib, json, os, pathlib, random, sys
from huggingface_hub import CommitOperationAdd, HfApi
name, stop, dice = sys.argv[1], pathlib.Path("stop"), random.Random(7)
api, number = HfApi(), 0
while not stop.exists():
    number += 1
    large, small = dice.randbytes(12_000_000), dice.randbytes(2_000).hex().encode()
    pathlib.Path("large.bin").write_bytes(large)
    files = {f"large-{number % 5}.bin": large, f"small-{number}.txt": small}
    adds = [CommitOperationAdd(f"large-{number % 5}.bin", "large.bin"), CommitOperationAdd(f"small-{number}.txt", small)]
    tries = 0
    while True:
        tries += 1
        try:
            done = api.create_commit(name, adds, commit_message=f"step {number}")
            break
        except Exception as error:
            if tries > 100:
                raise
            adds = [CommitOperationAdd(f"large-{number % 5}.bin", "large.bin"), CommitOperationAdd(f"small-{number}.txt", small)]
    sums = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    print(json.dumps({"commit": done.oid, "files": sums, "tries": tries}), flush=True)
"""

CHECK = """
import hashlib, json, sys
from huggingface_hub import HfApi, hf_hub_download
name, wanted = sys.argv[1], json.load(open("told.json"))
commits = [commit.commit_id for commit in HfApi().list_repo_commits(name)]
for step in wanted:
    assert step["commit"] in commits, step
    for path, digest in step["files"].items():
        with open(hf_hub_download(name, path, revision=step["commit"]), "rb") as file:
            assert hashlib.sha256(file.read()).hexdigest() == digest, (step, path)
print(len(commits))
"""


class Client:
    """The stock client in a process of its own, with Xet or without."""

    def __init__(self, folder: Path, hub: Any, name: str, *, xet: bool) -> None:
        folder.mkdir()
        self.folder = folder
        self.name = name
        self.told = folder / "told.jsonl"
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "HF_ENDPOINT": hub.url,
            "HF_TOKEN": hub.token,
            "HF_HUB_DISABLE_XET": "0" if xet else "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_XET_CLIENT_RETRY_BASE_DELAY": "200ms",
        }

    def start(self) -> None:
        with self.told.open("wb") as out, (self.folder / "errors.txt").open("wb") as errors:
            command = [str(PYTHON), "-c", CLIENT, self.name]
            self.process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=out, stderr=errors)

    def steps(self) -> list[Any]:
        return [json.loads(line) for line in self.told.read_text().splitlines()]

    def finish(self) -> list[Any]:
        (self.folder / "stop").touch()
        assert self.process.wait(200) == 0, (self.folder / "errors.txt").read_text()[-3000:]
        return self.steps()

    def check(self, steps: list[Any]) -> int:
        """How many commits there are, after every one that was told of was found with its files."""
        (self.folder / "told.json").write_text(json.dumps(steps))
        command = [str(PYTHON), "-c", CHECK, self.name]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=250, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return int(done.stdout)


@pytest.mark.usefixtures("newest_client")
@pytest.mark.parametrize("xet", [True, False], ids=["xet", "lfs"])
def test_kill_while_a_client_uploads(launcher: Any, tmp_path: Path, xet: bool) -> None:
    launcher.users()
    hub = launcher.start()
    port = hub.url.rsplit(":", 1)[1]
    client = Client(tmp_path / "client", hub, hub.repo(), xet=xet)
    client.start()
    moments = random.Random(20261124)
    for _ in range(ROUNDS):
        wait_for_work(client, hub)
        time.sleep(moments.uniform(0.0, 0.5))
        hub.process.send_signal(signal.SIGKILL)
        hub.process.wait(30)
        found = launcher.admin("check")
        assert (found.returncode, found.stdout) == (0, "")
        hub = launcher.start("--port", port)
    steps = client.finish()

    assert len(steps) >= 1
    commits = client.check(steps)
    assert commits >= len(steps) + 1
    # A commit whose answer was lost may have been made and then made again, never more often than there were kills.
    assert commits <= len(steps) + 1 + ROUNDS
    assert hub.stop() == 0


def wait_for_work(client: Client, hub: Any) -> None:
    """Until the client has asked this hub at least once for leave to upload."""
    until = time.monotonic() + 120
    while client.process.poll() is None and "/preupload/" not in hub.log.read_text("utf-8"):
        assert time.monotonic() < until
        time.sleep(0.01)

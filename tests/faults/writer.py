"""A client that pushes and uploads while the faults tests break things, and then asks for everything that it was told is there."""

import hashlib
import json
import os
import random
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

LFS_JSON = "application/vnd.git-lfs+json"


class Writer:
    """Writes in a loop until the server dies under it; remembers what was acknowledged, and how it was refused."""

    def __init__(self, hub: Any, name: str, folder: Path) -> None:
        self.hub = hub
        self.name = name
        self.folder = folder
        folder.mkdir()
        self.git("init", "-q", "-b", "main")
        self.objects: dict[str, bytes] = {}
        self.branches: dict[str, str] = {}
        self.refusals: list[str] = []
        self.dice = random.Random(99)

    def push_loop(self) -> None:
        while self.push():
            pass

    def upload_loop(self) -> None:
        while self.upload():
            pass

    def git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "gc.auto=0")
        command = ["git", *identity, *arguments]
        environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "HOME": str(self.folder)}
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False, env=environment)

    def push(self) -> bool:
        """One commit on a branch of its own and on main; True when git was told that both moved."""
        number = len(self.branches)
        (self.folder / f"file{number % 7}").write_bytes(self.dice.randbytes(20_000))
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"commit {number}")
        oid = self.git("rev-parse", "HEAD").stdout.strip()
        refs = ("HEAD:refs/heads/main", f"HEAD:refs/heads/b{self.dice.randrange(10**9)}")
        pushed = self.git("push", "-q", "--force", self.hub.git_url(self.name), *refs)
        if pushed.returncode != 0:
            self.refusals.append(pushed.stderr)
            return False
        self.branches[refs[1].removeprefix("HEAD:")] = oid
        return True

    def upload(self) -> bool:
        data = self.dice.randbytes(300_000)
        oid = hashlib.sha256(data).hexdigest()
        try:
            href = self.action("upload", oid, len(data))
            with urllib.request.urlopen(urllib.request.Request(href, data, method="PUT"), timeout=30) as response:
                if response.status == 200:
                    self.objects[oid] = data
        except urllib.error.HTTPError as error:
            with error:
                self.refusals.append(f"{error.code} {error.read().decode()}")
            return False
        except OSError as error:
            self.refusals.append(str(error))
            return False
        return True

    def action(self, operation: str, oid: str, size: int) -> str:
        body = json.dumps({"operation": operation, "objects": [{"oid": oid, "size": size}]}).encode()
        headers = {"Authorization": f"Bearer {self.hub.token}", "Content-Type": LFS_JSON}
        url = f"{self.hub.url}/{self.name}.git/info/lfs/objects/batch"
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as response:
            return str(json.load(response)["objects"][0]["actions"][operation]["href"])

    def check_acknowledged(self) -> None:
        listed = self.git("ls-remote", self.hub.git_url(self.name)).stdout.splitlines()
        refs = {ref: oid for oid, ref in (line.split("\t") for line in listed)}
        assert {ref: refs.get(ref) for ref in self.branches} == self.branches
        for oid, data in self.objects.items():
            with urllib.request.urlopen(self.action("download", oid, len(data)), timeout=30) as response:
                assert response.read() == data

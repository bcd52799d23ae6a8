"""One client of the hub and one of C git's server, to whom the same is done; and what must be the same afterwards.

The rule. Equal after every step: whether git succeeded, every ref and HEAD, where history ends (`shallow`), the verdict of fsck,
the objects reachable from the refs, and which of them are here. Neither may have an object that no ref of the server led to at any time.
Only in a partial clone may the two differ in what is here beyond what was asked for: the pack of a server may hold more than the
filter leaves, so the hub's client may lack nothing that C git's has, unless it has it by a lazy fetch of its own.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.gitserver.conftest import Git


@dataclass(frozen=True)
class State:
    refs: tuple[str, ...]
    head: str
    shallow: tuple[str, ...]
    sound: bool
    reachable: frozenset[str]
    missing: frozenset[str]


class Pair:
    """`urls` are the hub's and C git's."""

    def __init__(self, folder: Path, urls: tuple[str, str], secrets: tuple[str, str]) -> None:
        self.folder = folder
        self.urls = urls
        self.secrets = secrets
        self.clients = (Git(folder / "hub"), Git(folder / "git"))
        self.is_partial = False
        self.is_combined = False

    def both(self, *args: str, version: int = 2, time: int = 0, config: tuple[str, ...] = (), data: bytes | None = None) -> bool:
        """Run the same in both; `URL` stands for each one's server. Raises AssertionError when only one succeeds."""
        codes, said = [], []
        for client, url in zip(self.clients, self.urls, strict=True):
            client.version = version
            client.time = time or client.time
            done = client.run(*(url if word == "URL" else word for word in args), data=data, config=config)
            codes.append(done.returncode == 0)
            said.append(done.stderr.decode(errors="replace")[-1500:])
        assert codes[0] == codes[1], f"{args} v{version} {config}: hub {codes[0]}\n{said[0]}\nC git {codes[1]}\n{said[1]}"
        return codes[0]

    def texts(self, *args: str) -> tuple[str, str]:
        first, second = (client.run(*args).stdout.decode(errors="replace") for client in self.clients)
        return first, second

    def check(self, allowed: frozenset[str]) -> None:
        """`allowed` is every object that the server may show."""
        ours, theirs = (self._state(client) for client in self.clients)
        for part in ("refs", "head", "shallow", "sound", "reachable", "missing"):
            one, other = getattr(ours, part), getattr(theirs, part)
            if self.is_combined and part in ("reachable", "missing"):
                one, other = theirs.reachable - ours.reachable, frozenset()
            assert one == other, f"{self.folder.name}: {part} differs\n{_apart(one, other)}"
        for client in self.clients:
            foreign = _all_objects(client) - allowed
            assert not foreign, f"objects of nowhere: {sorted(foreign)[:5]}"

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _state(self, client: Git) -> State:
        refs = client("for-each-ref", "--format=%(objectname) %(refname) %(symref)").splitlines()
        head = client.run("rev-parse", "--verify", "-q", "HEAD").stdout.decode() + client.run("symbolic-ref", "-q", "HEAD").stdout.decode()
        file = client.path / (".git/shallow" if (client.path / ".git").exists() else "shallow")
        shallow = sorted(file.read_text().split()) if file.exists() else []
        checked = client.run("fsck", "--connectivity-only", "--no-dangling", "--no-progress")
        listed = client.run("rev-list", "--objects", "--all", "--missing=print", "--no-object-names").stdout.decode().split()
        missing = frozenset(word[1:] for word in listed if word.startswith("?"))
        return State(
            tuple(sorted(refs)), head, tuple(shallow), checked.returncode == 0, frozenset(listed) - {"?" + oid for oid in missing}, missing
        )


def _all_objects(client: Git) -> frozenset[str]:
    lines = client("cat-file", "--batch-all-objects", "--batch-check=%(objectname)", "--unordered")
    return frozenset(lines.split())


def _apart(ours: Any, theirs: Any) -> str:
    if not isinstance(ours, frozenset | tuple):
        return f"with the hub: {ours}, with C git: {theirs}"
    return f"only with the hub: {sorted(set(ours) - set(theirs))[:8]}\nonly with C git: {sorted(set(theirs) - set(ours))[:8]}"

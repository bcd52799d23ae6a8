"""One client of the hub and one of C git's server, to whom the same is done; and what must be the same afterwards.

The rule. Equal after every step: whether git succeeded, every ref and HEAD, where history ends (`shallow`), the verdict of fsck,
the objects reachable from the refs. Neither may have an object that no ref of the server led to at any time.
In a partial clone the two may differ in what is here of objects that the filter leaves out: both servers send some of them now and then.
What the filter keeps and C git's client has, the hub's must have.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.gitserver.conftest import Git

_OWN_FAILURE = "remote did not send all necessary objects"  # C git's server with tree:0 and a tag of a tree


@dataclass(frozen=True)
class State:
    refs: tuple[str, ...]
    head: str
    shallow: tuple[str, ...]
    sound: bool
    reachable: frozenset[str]
    missing: frozenset[str]


class Pair:
    """`urls` are the hub's and C git's; `source` has every object."""

    def __init__(self, folder: Path, urls: tuple[str, str], source: Git) -> None:
        self.folder = folder
        self.urls = urls
        self.clients = (Git(folder / "hub"), Git(folder / "git"))
        self.source = source
        self.filter = ""
        self.is_spoiled = False

    def both(self, *args: str, version: int = 2, time: int = 0, config: tuple[str, ...] = (), data: bytes | None = None) -> bool:
        """Run the same in both; `URL` stands for each one's server. Raises AssertionError when only one succeeds."""
        codes, said = [], []
        for client, url in zip(self.clients, self.urls, strict=True):
            client.version = version
            client.time = time or client.time
            done = client.run(*(url if word == "URL" else word for word in args), data=data, config=config)
            codes.append(done.returncode == 0)
            said.append(done.stderr.decode(errors="replace")[-1500:])
        if codes == [True, False] and _OWN_FAILURE in said[1]:
            self.is_spoiled = True
            return False
        assert codes[0] == codes[1], f"{args} v{version} {config}: hub {codes[0]}\n{said[0]}\nC git {codes[1]}\n{said[1]}"
        return codes[0]

    def texts(self, *args: str) -> tuple[str, str]:
        first, second = (client.run(*args).stdout.decode(errors="replace") for client in self.clients)
        return first, second

    def check(self, allowed: frozenset[str]) -> None:
        """`allowed` is every object that the server may show."""
        if self.is_spoiled:
            return
        ours, theirs = (self._state(client) for client in self.clients)
        for part in ("refs", "head", "shallow", "sound") if self.filter else ("refs", "head", "shallow", "sound", "reachable", "missing"):
            one, other = getattr(ours, part), getattr(theirs, part)
            assert one == other, f"{self.folder.name}: {part} differs\n{_apart(one, other)}"
        lacking = theirs.reachable - ours.reachable if self.filter else frozenset[str]()
        lacking = lacking & self._kept(ours) if lacking else lacking
        assert not lacking, f"{self.folder.name}: the filter keeps {sorted(lacking)[:8]}, and the hub did not send them"
        for client in self.clients:
            foreign = _all_objects(client) - allowed
            assert not foreign, f"objects of nowhere: {sorted(foreign)[:5]}"

    def remove(self) -> None:
        shutil.rmtree(self.folder)

    def _kept(self, state: State) -> frozenset[str]:
        """What the filter keeps of all that the refs lead to, by C git's own reading; but where a tag leads to a tree C git counts
        depths from one below it.
        """
        shallow = self.folder / "shallow"
        shallow.write_text("".join(oid + "\n" for oid in state.shallow))
        named = "".join(line.split()[0] + "^{commit}\n" for line in state.refs)
        found = self.source("cat-file", "--batch-check=%(objectname)", data=named.encode()).splitlines()
        tips = "".join(line + "\n" for line in found if not line.endswith(" missing"))
        command = ("rev-list", "--objects", "--no-object-names", f"--filter={self.filter}", "--stdin")
        return frozenset(self.source("--shallow-file", str(shallow), *command, data=tips.encode()).split())

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

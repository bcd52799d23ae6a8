"""Histories by dice: merges, octopuses, renames, gitlinks, symbolic links, odd names, wrong clocks, empty trees, tags of tags, notes."""

import random
from dataclasses import dataclass, field
from pathlib import Path

from tests.gitserver.conftest import Git

NAMES = (
    b"a", b"A", b"b/c", b"b/d/e", b"b.c", b"b-", b"deep/1/2/3/4/5", b"with space", "\u00fcml\u00e4ut".encode(), b"\xff\xfe", b"tab\there",
    b'quo"te', b"-dash", b".gitx", b"back\\slash", b"new\nline", b"x" * 200, b"lib/x.py", b"lib/y.py", b"lib0", b"README",
)  # fmt: skip
_BASE_TIME = 1_600_000_000


@dataclass
class Made:
    """A commit: how it is named (its id), when it was made, and its paths."""

    oid: str
    time: int
    files: frozenset[bytes]


@dataclass
class Source:
    """The repository that everything is pushed from; `made` holds every commit there ever was."""

    git: Git
    dice: random.Random
    made: list[Made] = field(default_factory=list)
    clock: int = _BASE_TIME
    has_wrong_clocks: bool = False

    def start(self, commits: int) -> None:
        self.git("init", "-q", "--bare", "-b", "main")
        self.grow(commits)
        while "refs/heads/main" not in self.refs():
            self.grow(2)

    def refs(self) -> dict[str, str]:
        lines = self.git("for-each-ref", "--format=%(objectname) %(refname)").splitlines()
        return {name: oid for oid, name in (line.split(" ", 1) for line in lines)}

    def tips(self) -> list[str]:
        return [name for name in self.refs() if name.startswith("refs/heads/")]

    def grow(self, commits: int) -> None:
        """More commits on branches old and new, and now and then a tag or a note."""
        for _ in range(commits):
            self._commit()
        if self.dice.random() < 0.6:
            self._tag()
        if self.dice.random() < 0.3:
            self.git("notes", "add", "-f", "-m", f"note {self.dice.random()}", self.dice.choice(self.made).oid)

    def _commit(self) -> None:
        dice, refs = self.dice, self.refs()
        branch = dice.choice(
            ["refs/heads/main", "refs/heads/main", "refs/heads/dev", "refs/heads/topic/x", f"refs/heads/n{dice.randrange(6)}"]
        )
        parents = [refs[branch]] if branch in refs and dice.random() < 0.95 else []
        if self.made and (dice.random() < 0.3 or not parents):
            parents += [made.oid for made in dice.sample(self.made, min(len(self.made), dice.choice((1, 1, 1, 2, 4))))]
        if dice.random() < 0.03:
            parents = []
        self.clock += dice.choice((1, 60, 3600))
        time = dice.randrange(1, self.clock + 100_000) if self.has_wrong_clocks and dice.random() < 0.15 else self.clock
        known = {made.oid: made for made in self.made}
        parents = list(dict.fromkeys(parents))
        files = set(known[parents[0]].files) if parents and parents[0] in known else set()
        if dice.random() < 0.06:
            oid, files = self._odd(branch, parents, time), set()
        else:
            oid = self._import(branch, parents, time, files)
        self.made.append(Made(oid, time, frozenset(files)))

    def _import(self, branch: str, parents: list[str], time: int, files: set[bytes]) -> str:
        """One commit by fast-import; `files` becomes what it has."""
        dice = self.dice
        out = [f"reset {branch}\n".encode()] if not parents else []
        out.append(f"commit {branch}\nmark :1\ncommitter C <c@example.com> {time} +0000\n".encode() + _data(b"m%d" % dice.randrange(1000)))
        for number, parent in enumerate(parents):
            out.append(f"{'merge' if number else 'from'} {parent}\n".encode())
        for _ in range(dice.choice((0, 1, 1, 2, 3))):
            out.append(self._change(files))
        self.git("fast-import", "--quiet", "--force", "--done", "--date-format=raw-permissive", data=b"".join(out) + b"\ndone\n")
        return self.git("rev-parse", branch)

    def _odd(self, branch: str, parents: list[str], time: int) -> str:
        """A commit that fast-import does not make: with an empty tree, or with one below its root."""
        empty = self.git("mktree", data=b"")
        tree = self.dice.choice((empty, self.git("mktree", data=f"040000 tree {empty}\tempty\n".encode())))
        flags = [word for parent in parents for word in ("-p", parent)]
        self.git.time = time
        oid = self.git("commit-tree", tree, *flags, "-m", "odd")
        self.git("update-ref", branch, oid)
        return oid

    def _change(self, files: set[bytes]) -> bytes:
        dice = self.dice
        kind = dice.random()
        if files and kind < 0.1:
            gone = dice.choice(sorted(files))
            files.discard(gone)
            return b"D %s\n" % _quoted(gone)
        if files and kind < 0.2:
            old = dice.choice(sorted(files))
            new = b"moved%d/%s" % (dice.randrange(3), old.split(b"/")[-1])
            files.discard(old)
            files.add(new)
            return b"R %s %s\n" % (_quoted(old), _quoted(new))
        if kind < 0.23:
            files.clear()
            return b"deleteall\n"
        name = dice.choice(NAMES)
        files.add(name)
        if kind < 0.28:
            return b"M 160000 %s %s\n" % (dice.randbytes(20).hex().encode(), _quoted(name))
        mode = b"120000" if kind < 0.32 else b"100755" if kind < 0.4 else b"100644"
        return b"M %s inline %s\n" % (mode, _quoted(name)) + _data(self._content(mode))

    def _content(self, mode: bytes) -> bytes:
        dice = self.dice
        if mode == b"120000" or dice.random() < 0.1:
            return dice.choice((b"", b"same", b"else"))
        lines = [b"line %d of a file that changes slowly" % n for n in range(dice.choice((3, 30, 300)))]
        for _ in range(3):
            lines[dice.randrange(len(lines))] = dice.randbytes(8).hex().encode()
        return b"\n".join(lines)

    def _tag(self) -> None:
        dice = self.dice
        name = f"t{dice.randrange(8)}"
        tags = [ref for ref in self.refs() if ref.startswith("refs/tags/")]
        target = dice.choice(tags) if tags and dice.random() < 0.3 else dice.choice(self.made).oid
        if dice.random() < 0.1:
            target += "^{tree}"
        if self.git.run("rev-parse", "-q", "--verify", target).returncode:
            return  # a tag that leads to no commit has no tree
        self.git.time += 10
        flags = ["-a", "-m", "tagged"] if dice.random() < 0.6 else []
        self.git("tag", "-f", *flags, name, target)


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def _quoted(name: bytes) -> bytes:
    return b'"' + b"".join(bytes((c,)) if 32 < c < 127 and c not in b'"\\' else b"\\%03o" % c for c in name) + b'"'


def new_source(folder: Path, seed: int) -> Source:
    return Source(Git(folder), random.Random(seed), has_wrong_clocks=seed % 3 == 0)

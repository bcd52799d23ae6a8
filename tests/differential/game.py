"""A seeded run: what happens to one repository on the hub and on C git's server, and to clients of both, step by step."""

import random
from collections.abc import Callable
from pathlib import Path

from tests.differential.pair import Pair
from tests.differential.source import Source, new_source

_MOST_PAIRS = 4
_OBJECTS_OF_REFS = ("rev-list", "--objects", "--all", "--no-object-names")


class Game:
    """`urls` are those of two empty repositories: the hub's first."""

    def __init__(self, folder: Path, seed: int, urls: tuple[str, str]) -> None:
        self.folder = folder
        self.dice = random.Random(seed)
        self.urls = urls
        self.source: Source = new_source(folder / "source", seed)
        self.pairs: list[Pair] = []
        self.allowed: frozenset[str] = frozenset()
        self.log: list[str] = []
        self._made = 0

    def start(self) -> None:
        self.source.start(self.dice.choice((3, 10, 25)))
        self._push(["refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*", "refs/notes/*:refs/notes/*"])

    def step(self) -> None:
        weighted: list[tuple[Callable[[], None], int]] = [
            (self._clone, 4 if len(self.pairs) < _MOST_PAIRS else 1),
            (self._fetch, 8 if self.pairs else 0),
            (self._look, 2 if self.pairs else 0),
            (self._push_from_client, 2 if self.pairs else 0),
            (self._change, 3),
        ]
        (action,) = self.dice.choices([action for action, _ in weighted], [weight for _, weight in weighted])
        action()

    # What happens on the servers.

    def _change(self) -> None:
        """The source grows or goes back, and pushes to both."""
        dice, source = self.dice, self.source
        for _ in range(dice.choice((0, 0, 1))):
            branch, made = dice.choice(source.tips()), dice.choice(source.made)
            source.git("update-ref", branch, made.oid)  # a rewrite
        source.grow(dice.choice((0, 1, 1, 4)))
        names = [*source.refs()]
        chosen = dice.sample(names, min(len(names), dice.choice((1, 2, 5, 50))))
        gone = [name for name in dice.sample(names, 1) if dice.random() < 0.2 and name != "refs/heads/main"]
        specs = [f"{dice.choice(('', '+', '+'))}{name}:{name}" for name in chosen if name not in gone] + [f":{name}" for name in gone]
        if specs:
            self._push(specs, *(flag for flag in ("--atomic", "--force", "--follow-tags") if dice.random() < 0.25))

    def _push(self, specs: list[str], *flags: str) -> None:
        git = self.source.git
        git.version = self.dice.choice((0, 1, 2))
        codes = []
        self.log.append(f"push {flags} {specs}")
        for url in self.urls:
            codes.append(git.run("push", "-q", *flags, url, *specs).returncode)
        assert codes[0] == codes[1], f"push {flags} {specs}: hub {codes[0]}, C git {codes[1]}"
        self._compare_servers()

    def _compare_servers(self) -> None:
        git = self.source.git
        git.version = self.dice.choice((0, 1, 2))
        ours, theirs = (git("ls-remote", *self.dice.choice(((), ("--symref",))), url) for url in self.urls)
        lines = [sorted(line for line in text.splitlines() if not line.startswith("ref:")) for text in (ours, theirs)]
        assert lines[0] == lines[1], f"refs differ:\n{ours}\n\n{theirs}"
        self.allowed |= frozenset(git(*_OBJECTS_OF_REFS).split())

    # What clients do.

    def _clone(self) -> None:
        if len(self.pairs) >= _MOST_PAIRS:
            self.pairs.pop(self.dice.randrange(len(self.pairs))).remove()
        self._made += 1
        pair = Pair(self.folder / f"pair{self._made}", self.urls, self.source.git)
        flags = ["--bare"] if self.dice.random() < 0.5 else ["--no-checkout"]
        flags += self._depth(is_new=True) + self._filter(pair)
        flags += [flag for flag in ("--single-branch", "--no-tags", "--no-single-branch") if self.dice.random() < 0.2]
        if "--bare" not in flags and self.dice.random() < 0.3:
            flags += ["--branch", self.dice.choice(self._names("refs/heads/"))]
        if self._run(pair, "clone", "-q", *flags, "URL", "."):
            self.pairs.append(pair)
            pair.check(self.allowed)
        else:
            pair.remove()

    def _fetch(self) -> None:
        dice, pair = self.dice, self.dice.choice(self.pairs)
        flags = self._depth(is_new=False)
        if not pair.filter and dice.random() < 0.1 and not flags:
            flags += self._filter(pair)
        flags += dice.choice(([], [], ["--tags"], ["--no-tags"], ["--prune"], ["--force"], ["--refetch"] if dice.random() < 0.3 else []))
        specs: list[str] = dice.choice(([], ["+refs/heads/*:refs/heads/*"], ["+refs/*:refs/all/*"], self._some()))
        if specs == ["+refs/heads/*:refs/heads/*"]:
            flags.append("--update-head-ok")
        config = dice.choice(((), (), ("fetch.negotiationAlgorithm=skipping",), ("fetch.negotiationAlgorithm=noop",)))
        self._run(pair, "fetch", "-q", *flags, "origin" if not specs or pair.filter else "URL", *specs, config=config)
        pair.check(self.allowed)

    def _some(self) -> list[str]:
        """A branch, a tag, or a commit by its id."""
        dice = self.dice
        name = dice.choice(self._names("refs/"))
        if dice.random() < 0.5:
            return [f"+{name}:refs/some/{name.split('/')[-1]}"]
        commits = self.source.git("rev-list", self.urls_tip()).split()
        return [f"+{dice.choice(commits)}:refs/some/id"]

    def urls_tip(self) -> str:
        """A branch as it stands on the servers."""
        lines = self.source.git("ls-remote", "--heads", self.urls[1]).splitlines()
        return self.dice.choice(lines).split()[0]

    def _is_shown(self, oid: str) -> bool:
        """Whether a branch of the servers leads there."""
        tips = [line.split()[0] for line in self.source.git("ls-remote", "--heads", self.urls[1]).splitlines()]
        return any(self.source.git.run("merge-base", "--is-ancestor", oid, tip).returncode == 0 for tip in tips)

    def _look(self) -> None:
        """Everything of a tree: in a partial clone its objects are fetched now."""
        pair = self.dice.choice(self.pairs)
        refs = pair.clients[0]("for-each-ref", "--format=%(refname)").splitlines()
        if not refs:
            return
        ref = self.dice.choice(refs)
        self.log.append(f"look {pair.folder.name} {ref}")
        for client in pair.clients:
            client.version = self.dice.choice((2, 0))
        ours, theirs = pair.texts("archive", "--format=tar", f"{ref}")
        assert ours == theirs, f"{ref} reads differently"
        pair.check(self.allowed)

    def _push_from_client(self) -> None:
        dice, pair = self.dice, self.dice.choice(self.pairs)
        branch = dice.choice(["refs/heads/main", "refs/heads/dev", "refs/heads/mine"])
        base = (
            pair.clients[0]
            .run("rev-parse", "-q", "--verify", dice.choice(("HEAD", "refs/remotes/origin/dev", "HEAD~1")))
            .stdout.decode()
            .strip()
        )
        if not base or not self._is_shown(base):
            return  # C git takes no shallow push onto what no ref leads to any more; the hub does, as long as it has the objects
        self.source.clock += 60
        time, content = self.source.clock, dice.randbytes(30)
        for client in (*pair.clients, self.source.git):
            client.time = time
            blob = client("hash-object", "-w", "--stdin", data=content)
            tree = client("mktree", data=f"100644 blob {blob}\tmine\n".encode())
            commit = client("commit-tree", tree, "-p", base, "-m", "mine")
            if client is not self.source.git:
                client("update-ref", "refs/mine", commit)
        self._run(pair, "push", "-q", *dice.choice(([], ["--force"], ["--atomic"])), "URL", f"refs/mine:{branch}")
        for url in self.urls:  # the source learns it, so that histories meet
            self.source.git.run("fetch", "-q", url, f"+{branch}:{branch}", "--update-head-ok")
        self._compare_servers()
        self.allowed |= frozenset(pair.clients[0]("rev-list", "--objects", "--no-object-names", "refs/mine", "--missing=allow-any").split())
        pair.check(self.allowed)

    def _depth(self, *, is_new: bool) -> list[str]:
        dice, kind = self.dice, self.dice.random()
        by_walk = not self.source.has_wrong_clocks  # else C git's own answer is a guess: its walks stop after five steps without news
        if kind < 0.5:
            return []
        if kind < 0.65:
            return [f"--depth={dice.choice((1, 1, 2, 3, 7))}"]
        if kind < 0.75 and not is_new and by_walk:
            return [f"--deepen={dice.choice((1, 2, 5))}"]
        if kind < 0.85:
            return [f"--shallow-since={dice.choice(self.source.made).time + dice.choice((0, 1))}"]
        if kind < 0.95 and by_walk:
            names = self._names("refs/")
            flags = [f"--shallow-exclude={name.split('/', 2)[2]}" for name in dice.sample(names, min(len(names), dice.choice((1, 1, 2))))]
            return flags + [f"--shallow-since={dice.choice(self.source.made).time}" for _ in range(dice.choice((0, 0, 1)))]
        return [] if is_new else ["--unshallow"]

    def _filter(self, pair: Pair) -> list[str]:
        dice = self.dice
        if dice.random() < 0.6:
            return []
        plain = ["blob:none", f"blob:limit={dice.choice((0, 10, 1000))}", f"tree:{dice.choice((0, 1, 2, 3))}"]
        pair.filter = dice.choice([*plain, f"combine:{plain[1]}+{plain[2]}"])
        return [f"--filter={pair.filter}"]

    def _names(self, prefix: str) -> list[str]:
        return [name for name in self.source.refs() if name.startswith(prefix) and "/notes/" not in name]

    def _run(self, pair: Pair, *args: str, config: tuple[str, ...] = ()) -> bool:
        version = self.dice.choice((0, 1, 2, 2))
        self.log.append(f"{pair.folder.name} v{version} {' '.join(args)} {' '.join(config)}")
        is_done = pair.both(*args, version=version, config=config)
        if pair.is_spoiled and pair in self.pairs:
            self.pairs.remove(pair)
        return is_done

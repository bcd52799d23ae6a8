"""Packs that are good, a little off or broken: the receiving side says of each what `git index-pack --strict` says, with the
hub's table of severities.

By hand: FUZZ_PACKS=1-20000 .venv/bin/python -m pytest tests/differential/test_packs.py
"""

import os
import random
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitserver.objects.store import Kind, RawObject
from gitserver.receive.ingest import Ingest, IngestOptions
from gitserver.receive.severities import TABLE, Severity
from hub.services import Services
from storage.errors import BadPack, TooLarge
from storage.limits import Limits
from storage.records import ZERO_OID, RefUpdate
from tests.differential.oddities import ATTRIBUTES, MODULES
from tests.differential.packmaker import Maker, Packer
from tests.gitserver.conftest import Shelf

FIRST, _, LAST = os.environ.get("FUZZ_PACKS", "1-600").partition("-")
# A fault that C git is told to ignore hides for it what is behind in the line; behind the last `>` the hub looks all the same.
PERSON = rb"(?:author|committer|tagger) "
# Where the hub is stricter: words of its refusal, what stands in one of the objects then, and why.
STRICTER = (
    ("is the mode of nothing", rb""),  # modes of no kind that git knows, which it reads as gitlinks; programs do not agree on them
    ("largePathname", rb"[^\0]{1025}"),  # a limit of the hub; git has one of 4096 from 2.43 on
    ("badDate", PERSON),  # git reads the date with strtoumax, which takes a sign, and see above
    ("missingEmail", PERSON + rb"(?:[^\n>]*<[^\n>]*|[^\n<]*)\n"),  # badEmail and badName for git, which say other things too
)
# Where it is more lenient: words of git's refusal, and what stands in the object.
LENIENT = (("badDate", PERSON + rb"[^\n]*>[ \t\r\v\f]*[0-9]+(?:[ +-][^\n]*)?\n"),)  # behind another address, or without a zone
IGNORED = [fault for fault, row in TABLE.items() if row.severity is not Severity.ERROR]


@dataclass(frozen=True)
class Verdict:
    is_good: bool
    words: str


class Judges:
    """The hub's receiving side and C git's, with the same objects stored."""

    def __init__(self, shelf: Shelf, folder: Path) -> None:
        self._objects = shelf.services.objects.of(shelf.repo.id)
        self._folder = folder
        self._base = folder / "base.git"
        subprocess.run(["git", "init", "-q", "--bare", str(self._base)], check=True, capture_output=True)
        (pack,) = shelf.folder.glob("*.pack")
        subprocess.run(["git", "-C", str(self._base), "index-pack", "--stdin"], input=pack.read_bytes(), check=True, capture_output=True)

    def ours(self, data: bytes) -> Verdict:
        pack = self._folder / "pushed.pack"
        pack.write_bytes(data)
        try:
            Ingest(self._objects, Limits(), lambda text: None, IngestOptions()).run(pack)
        except (BadPack, TooLarge) as error:
            return Verdict(False, error.message)
        return Verdict(True, "")

    def theirs(self, data: bytes) -> Verdict:
        """Each in an object store of its own beside the common one, so that no case sees another's objects."""
        store = self._folder / "store"
        (store / "pack").mkdir(parents=True)
        environment = {**os.environ, "GIT_OBJECT_DIRECTORY": str(store), "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(self._base / "objects")}
        severities = ",".join([*(f"{fault}=ignore" for fault in IGNORED), "gitattributesSymlink=error"])
        command = ["git", "-C", str(self._base), "index-pack", f"--strict={severities}", "--stdin", "--fix-thin"]
        done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=60, env=environment)
        shutil.rmtree(store)
        return Verdict(done.returncode == 0, done.stderr.decode(errors="replace"))


@pytest.fixture
def shelf(services: Services) -> Shelf:
    return Shelf(services)


def stored_objects(shelf: Shelf) -> dict[bytes, RawObject]:
    """What both repositories have before: good objects of every kind."""
    maker = Maker(random.Random(1), is_plain=True)
    maker.fill(15)
    for data in (*MODULES, *ATTRIBUTES):  # harmless under the names that they have here
        maker.add(Kind.BLOB, data)
    tip = next(oid for oid, raw in maker.made.items() if raw.kind is Kind.COMMIT)
    shelf.store([*maker.made.values()], RefUpdate(b"refs/heads/main", ZERO_OID, tip))
    return maker.made


def make_case(number: int, stored: dict[bytes, RawObject]) -> Packer:
    """A third with objects that are off, a third with packs that are, a few with both or neither."""
    dice = random.Random(number)
    wrong, broken = dice.choice(((0.0, 0.0), (0.15, 0.0), (0.15, 0.0), (0.4, 0.0), (0.0, 0.02), (0.0, 0.05), (0.0, 0.05), (0.1, 0.03)))
    maker = Maker(dice, stored=stored, wrong=wrong)
    maker.fill(dice.choice((1, 4, 12)))
    return Packer(maker, broken)


def test_same_verdict_as_git(shelf: Shelf, tmp_path: Path) -> None:
    stored = stored_objects(shelf)
    judges = Judges(shelf, tmp_path)
    apart, good = [], 0
    numbers = range(int(FIRST), int(LAST or FIRST) + 1)
    for number in numbers:
        packer = make_case(number, stored)
        data = packer.pack()
        ours, theirs = judges.ours(data), judges.theirs(data)
        good += theirs.is_good
        if ours.is_good != theirs.is_good and not is_allowed(packer, ours, theirs):
            apart.append(f"case {number}, faults {packer.faults}\n  hub: {ours}\n  C git: {theirs}")
    assert not apart, f"{len(apart)} of {len(numbers)}\n" + "\n".join(apart[:40])
    assert len(numbers) < 100 or len(numbers) * 0.2 < good < len(numbers) * 0.8  # both verdicts are there to be compared


def is_allowed(packer: Packer, ours: Verdict, theirs: Verdict) -> bool:
    """Whether the hub is stricter or more lenient here, for a reason of the lists."""
    data = [raw.data for raw in packer.maker.made.values()]
    rows, words = (LENIENT, theirs.words) if ours.is_good else (STRICTER, ours.words)
    return any(word in words and any(re.search(sign, one) for one in data) for word, sign in rows)

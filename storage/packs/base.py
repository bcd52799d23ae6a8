"""The port to the files of packs: two for each pack, named by its id, never changed. Which packs a repository has is in the rows."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, TypeAlias

from storage.records import PackInfo

Ending: TypeAlias = Literal["pack", "idx"]
ENDINGS: tuple[Ending, Ending] = ("idx", "pack")


class PackFiles(Protocol):
    @property
    def place(self) -> str:
        """What a message calls the place where the files lie."""

    @property
    def at_once(self) -> int:
        """How many packs are worth opening at the same time."""

    def add(self, repo_id: str, info: PackInfo, pack: Path, index: Path) -> None:
        """Take both files, which are the caller's own; durable, and open to every machine, when it returns. Raises Unavailable."""

    def open(self, repo_id: str, info: PackInfo, ending: Ending) -> BinaryIO:
        """A local file, which stays readable whatever becomes of its name.

        Raises FileNotFoundError when it is not there, Unavailable when nobody can tell or when it is damaged.
        """

    def has(self, repo_id: str, info: PackInfo) -> bool:
        """Whether both files are stored in their right sizes, whatever is cached. Raises Unavailable."""

    def touch(self, repo_id: str, infos: Sequence[PackInfo]) -> None:
        """These are in use though nobody opens them: whoever has them opened them before."""

    def older(self, repo_id: str, seconds: float) -> set[str]:
        """Ids of which no file came within that time."""

    def stored(self, repo_id: str) -> Iterator[PackInfo]:
        """What lies there whole, named in rows or not. Raises Unavailable."""

    def remove(self, repo_id: str, ids: Iterable[str]) -> None:
        """Also where nothing is. Who has a file open may read on."""

    def remove_repo(self, repo_id: str) -> None:
        """All packs of one repository."""

    def folder(self, repo_id: str) -> Path:
        """A folder of the repository's own on this machine, to be locked. It may be missing when no file of the repository is here."""


def file_name(pack_id: str, ending: Ending) -> str:
    return f"pack-{pack_id}.{ending}"


COUNT_AT, COUNT_END = 1028, 1032  # of an index: how many objects, the last number of its fan-out table (gitformat-pack)


def count_of(data: bytes) -> int:
    return int.from_bytes(data, "big")


def whole_packs(sizes: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """(id, size of the pack) of each pack among the file names to sizes that has its index beside it."""
    for name, size in sorted(sizes.items()):
        pack_id, _, ending = name.removeprefix("pack-").partition(".")
        if ending == "pack" and file_name(pack_id, "idx") in sizes:
            yield pack_id, size


def old_ids(found: Iterable[tuple[str, float]], seconds: float) -> set[str]:
    """Ids of the packs among `found` (file names, and when each last changed) whose newest file is older."""
    limit = time.time() - seconds
    newest: dict[str, float] = {}
    for name, changed in found:
        pack_id = name.removeprefix("pack-").partition(".")[0]
        newest[pack_id] = max(changed, newest.get(pack_id, 0.0))
    return {pack_id for pack_id, changed in newest.items() if changed < limit}

"""A whole repack as plain data: what is handed to the process that does the work, and what comes back."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Self

from storage.records import PackInfo


class Role(StrEnum):
    KEPT = "kept"  # too large to be copied again: it stays, or is set aside as it is
    SOURCE = "source"  # its objects go into the new packs, and the pack goes
    DEAD = "dead"  # it was set aside: what leads somewhere again is copied


@dataclass(frozen=True, slots=True)
class RepackInput:
    """A pack by its two open files."""

    info: PackInfo
    role: Role
    pack_fd: int
    index_fd: int


@dataclass(frozen=True, slots=True)
class RepackOrder:
    """`folder` is for the new packs. `roots` are ids in hex: what leads from them is kept."""

    folder: str
    packs: tuple[RepackInput, ...]
    roots: tuple[str, ...]
    delta_object_bytes: int
    delta_repack_bytes: int

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        told = json.loads(text)
        packs = tuple(RepackInput(PackInfo(**one.pop("info")), Role(one.pop("role")), **one) for one in told.pop("packs"))
        return cls(packs=packs, roots=tuple(told.pop("roots")), **told)


@dataclass(frozen=True, slots=True)
class RepackResult:
    """`main` is the pack of all that is reached, `dead` that of the rest of the sources; None where it would be empty. `dead_kept` are the
    ids of kept packs with nothing that is reached. `error` is why there is nothing of all that.
    """

    main: PackInfo | None = None
    dead: PackInfo | None = None
    dead_kept: tuple[str, ...] = ()
    error: str = ""

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Self:
        told = json.loads(text)
        main, dead = (PackInfo(**one) if one else None for one in (told["main"], told["dead"]))
        return cls(main, dead, tuple(told["dead_kept"]), told["error"])


MAIN, DEAD = "main.pack", "dead.pack"  # in the folder of the job
RESULT = "made.json"

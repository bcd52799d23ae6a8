"""What fsck says of objects: what they name, and how a fault is told or taken."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gitserver.objects.store import Kind
from gitserver.receive.people import Fault
from gitserver.receive.severities import DEFAULT, Severities, Severity
from storage.errors import BadPack
from storage.records import Oid

_MOST_WARNINGS = 20
_MOST_SHOWN = 200


@dataclass(slots=True)
class References:
    """What the objects of a pack name, by the kind that it must have."""

    commits: set[Oid] = field(default_factory=set)
    trees: set[Oid] = field(default_factory=set)
    blobs: set[Oid] = field(default_factory=set)
    tags: set[Oid] = field(default_factory=set)
    gitmodules: set[Oid] = field(default_factory=set)  # these two are looked into, wherever they are stored
    gitattributes: set[Oid] = field(default_factory=set)

    def of(self, kind: Kind) -> set[Oid]:
        return {Kind.COMMIT: self.commits, Kind.TREE: self.trees, Kind.BLOB: self.blobs, Kind.TAG: self.tags}[kind]


class Judge:
    """Takes each fault as the table of severities says: raises BadPack for an error, keeps a line for a warning."""

    def __init__(self, severities: Severities = DEFAULT) -> None:
        self._severities = severities
        self._lines: dict[str, None] = {}
        self._more = 0

    def fault(self, kind: Kind, oid: Oid, fault: str, text: str = "") -> None:
        severity = self._severities.of(fault)
        if severity is Severity.ERROR:
            raise bad(kind, oid, fault, text)
        if severity is Severity.WARN:
            self._warn(_told(kind, oid, fault, text))

    def line(self, kind: Kind, oid: Oid, line: bytes, faults: Iterable[Fault]) -> None:
        """Faults of one line of a header."""
        for fault in faults:
            self.fault(kind, oid, fault.id, f"{fault.text}, in the line {shown(line)}")

    @property
    def warnings(self) -> list[str]:
        """A line each, as many as are told."""
        more = [f"and {self._more} more of such faults"] if self._more else []
        return [*self._lines, *more]

    def _warn(self, text: str) -> None:
        if text in self._lines:
            return
        if len(self._lines) < _MOST_WARNINGS:
            self._lines[text] = None
        else:
            self._more += 1


def bad(kind: Kind, oid: Oid, fault: str, text: str = "") -> BadPack:
    return BadPack(f"fsck error in {_told(kind, oid, fault, text)}")


def _told(kind: Kind, oid: Oid, fault: str, text: str) -> str:
    return f"{kind.text.decode()} {oid.hex()}: {fault}{': ' + text if text else ''}"


def shown(name: bytes) -> str:
    """Bytes as text in quotation marks, with escapes for what a terminal would take for something else."""
    cut = name[:_MOST_SHOWN]
    return repr(cut)[1:] + ("…" if len(name) > len(cut) else "")

"""What is done about each fault that fsck can find in an object: one table by git's own message ids (git-fsck(1), "FSCK MESSAGES"); and
about files that belong in Git LFS.

Histories that exist must come in by a push, so a fault is an error only where it endangers whoever reads the object.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    ERROR = "error"  # the push is refused
    WARN = "warn"  # it is taken, and the client is told
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True)
class Row:
    """`is_fixed`: the hub's own readers rest on it, so that no operator changes it."""

    severity: Severity
    reason: str
    is_fixed: bool = False


@dataclass(frozen=True, slots=True)
class Severities:
    """The table with an operator's changes."""

    changes: Mapping[str, Severity]

    def of(self, fault: str) -> Severity:
        return self.changes.get(fault, TABLE[fault].severity)

    @property
    def of_imports(self) -> "Severities":
        """For imports, which their owner asked for: lines about people are taken whatever is wrong with them."""
        return Severities(dict.fromkeys(_PEOPLE, Severity.IGNORE) | dict(self.changes))


_STRUCTURE = "every reader, the hub's too, finds its way by it"
_NAMES = "a checkout would write outside of its folder, or into git's own"
_MODULES = "a clone with submodules would run it, or read it as an option"
_ATTRIBUTES = "git does not read such a file, so nobody knows what is in force"
_HARMLESS = "older programs wrote it, and no reader minds"

TABLE: Mapping[str, Row] = {
    # headers
    "nulInHeader": Row(Severity.ERROR, _STRUCTURE, is_fixed=True),
    "unterminatedHeader": Row(Severity.ERROR, _STRUCTURE, is_fixed=True),
    "nulInCommit": Row(Severity.ERROR, "programs end the message there, so that people see different ones"),
    "missingTree": Row(Severity.ERROR, _STRUCTURE, is_fixed=True),
    "badTreeSha1": Row(Severity.ERROR, _STRUCTURE, is_fixed=True),
    "badParentSha1": Row(Severity.ERROR, _STRUCTURE, is_fixed=True),
    "missingAuthor": Row(Severity.ERROR, "nobody could say whose commit it is"),
    "multipleAuthors": Row(Severity.ERROR, "programs take the first or the last of them"),
    "missingCommitter": Row(Severity.ERROR, "walks go by the committer's date"),
    "missingObject": Row(Severity.ERROR, _STRUCTURE, is_fixed=True),
    "badObjectSha1": Row(Severity.ERROR, _STRUCTURE, is_fixed=True),
    "missingTypeEntry": Row(Severity.ERROR, _STRUCTURE, is_fixed=True),
    "badType": Row(Severity.ERROR, _STRUCTURE, is_fixed=True),
    "missingTagEntry": Row(Severity.ERROR, _STRUCTURE, is_fixed=True),
    "missingTaggerEntry": Row(Severity.IGNORE, "the first versions of git wrote none"),
    # lines about people
    "missingEmail": Row(Severity.ERROR, "without < and > no program knows where the name ends and the date begins"),
    "badDate": Row(Severity.ERROR, "without a date nobody can put the commit in order"),
    "missingNameBeforeEmail": Row(Severity.IGNORE, _HARMLESS),
    "missingSpaceBeforeEmail": Row(Severity.IGNORE, _HARMLESS),
    "missingSpaceBeforeDate": Row(Severity.IGNORE, _HARMLESS),
    "badName": Row(Severity.IGNORE, "the name ends at the first <, whatever is in it"),
    "badEmail": Row(Severity.IGNORE, "of several addresses the first counts, and the date stands behind the last"),
    "zeroPaddedDate": Row(Severity.IGNORE, _HARMLESS),
    "badDateOverflow": Row(Severity.IGNORE, "readers show it as 1970"),
    "badTimezone": Row(Severity.IGNORE, "it changes how a date is shown and nothing else"),
    # trees
    "badTree": Row(Severity.ERROR, _STRUCTURE, is_fixed=True),
    "emptyName": Row(Severity.ERROR, _STRUCTURE, is_fixed=True),
    "fullPathname": Row(Severity.ERROR, _NAMES, is_fixed=True),
    "hasDot": Row(Severity.ERROR, _NAMES, is_fixed=True),
    "hasDotdot": Row(Severity.ERROR, _NAMES, is_fixed=True),
    "hasDotgit": Row(Severity.ERROR, _NAMES),
    "nullSha1": Row(Severity.ERROR, "it names an object that cannot be", is_fixed=True),
    "duplicateEntries": Row(Severity.ERROR, "of two files of a name programs take different ones", is_fixed=True),
    "treeNotSorted": Row(Severity.ERROR, "programs that search in order miss files", is_fixed=True),
    "largePathname": Row(Severity.ERROR, "no file system holds it"),
    "zeroPaddedFilemode": Row(Severity.IGNORE, "it means the same without the zeros, and the tree keeps its id"),
    "badFilemode": Row(Severity.IGNORE, "odd permissions of files; git reads 644 or 755"),
    # files that git itself reads
    "gitmodulesSymlink": Row(Severity.ERROR, "git would read what it leads to, which nobody checked"),
    "gitmodulesBlob": Row(Severity.ERROR, _MODULES),
    "gitmodulesLarge": Row(Severity.ERROR, _MODULES),
    "gitmodulesName": Row(Severity.ERROR, _MODULES),
    "gitmodulesPath": Row(Severity.ERROR, _MODULES),
    "gitmodulesUpdate": Row(Severity.ERROR, _MODULES),
    "gitmodulesUrl": Row(Severity.ERROR, _MODULES),
    "gitattributesSymlink": Row(Severity.ERROR, "older programs read what it leads to, newer ones nothing"),
    "gitattributesBlob": Row(Severity.ERROR, _ATTRIBUTES),
    "gitattributesLarge": Row(Severity.ERROR, _ATTRIBUTES),
    "gitattributesLineLength": Row(Severity.ERROR, _ATTRIBUTES),
    "gitignoreSymlink": Row(Severity.WARN, "git does not follow it, so that it ignores nothing"),
    "mailmapSymlink": Row(Severity.WARN, "git does not follow it, so that it maps nobody"),
}
_PEOPLE = (
    "missingEmail",
    "badDate",
    "missingNameBeforeEmail",
    "missingSpaceBeforeEmail",
    "missingSpaceBeforeDate",
    "badName",
    "badEmail",
    "zeroPaddedDate",
    "badDateOverflow",
    "badTimezone",
)
DEFAULT = Severities({})


class LargeBlobs(Enum):
    """What is done about files that Git LFS should hold but that came as blobs."""

    IGNORE = "ignore"
    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Strictness:
    """How pushes are judged."""

    severities: Severities = DEFAULT
    large: LargeBlobs = LargeBlobs.IGNORE


USUAL = Strictness()
# For what is stored already: it is looked at for damage, not judged again.
STORED = Severities({fault: Severity.IGNORE for fault, row in TABLE.items() if not row.is_fixed})


def check_changes(changes: Mapping[str, str]) -> Severities:
    """An operator's changes. Raises ValueError that says what is wrong with them."""
    known = [fault for fault, row in TABLE.items() if not row.is_fixed]
    if unknown := sorted(set(changes) - set(TABLE)):
        raise ValueError(f"unknown faults {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    if fixed := sorted(fault for fault in changes if TABLE[fault].is_fixed):
        raise ValueError(f"always an error: {', '.join(fixed)}")
    words = {severity.value: severity for severity in Severity}
    if wrong := sorted({word for word in changes.values() if word not in words}):
        raise ValueError(f"{', '.join(wrong)} is no severity; write error, warn or ignore")
    return Severities({fault: words[word] for fault, word in changes.items()})

"""Lines of author, committer and tagger that are not as git writes them: what is wrong with each, by git's message ids.

The date is looked for where every reader of git looks for it, behind the last `>`; so a fault before it hides none behind it.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from gitserver.objects.parse import read_seconds

_DATE = re.compile(rb"([ \t\r\v\f]*)([0-9]+)(.*)", re.DOTALL)
_ZONE = re.compile(rb" [+-][0-9]{4}")
_NO_DATE = "no date in seconds stands behind the address"


class Fault(NamedTuple):
    """`id` is git's; `text` goes on after it."""

    id: str
    text: str


def person_faults(line: bytes) -> Iterator[Fault]:
    """`line` is what follows the keyword, without its line feed."""
    name, start, rest = line.partition(b"<")
    address, end, _ = rest.partition(b">")
    if not start or not end:
        yield Fault("missingEmail", "no e-mail address in < and >")
        yield from _date_faults(line[line.rfind(b">") + 1 :] if b">" in line else b"")
        return
    if b">" in name:
        yield Fault("badName", "a > stands in the name")
    if not name:
        yield Fault("missingNameBeforeEmail", "no name")
    elif not name.endswith(b" "):
        yield Fault("missingSpaceBeforeEmail", "no space before the e-mail address")
    behind = line[line.rfind(b">") + 1 :]
    if b"<" in address or len(behind) < len(rest) - len(address) - 1:
        yield Fault("badEmail", "more than one e-mail address")
    yield from _date_faults(behind)


def _date_faults(behind: bytes) -> Iterator[Fault]:
    """Of what stands behind the last `>`."""
    if behind and not behind.startswith(b" "):
        yield Fault("missingSpaceBeforeDate", "no space before the date")
    match = _DATE.fullmatch(behind)
    if match is None:
        yield Fault("badDate", _NO_DATE)
        return
    _, digits, zone = match.groups()
    if zone and zone[0] not in b" +-":
        yield Fault("badDate", "the date is no whole number")
        return
    if digits.startswith(b"0") and len(digits) > 1:
        yield Fault("zeroPaddedDate", "zeros in front of the date")
    if read_seconds(digits) is None:
        yield Fault("badDateOverflow", "the date is beyond 64 bits")
    if not _ZONE.fullmatch(zone):
        yield Fault("badTimezone", "the zone is not a sign and four digits")

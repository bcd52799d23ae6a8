"""The arguments of a fetch. v0 and v2 spell them alike, so one table reads both."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gitserver.fetch.filters import Filter, parse_filter
from storage.errors import Invalid, TooLarge
from storage.limits import Limits
from storage.records import Oid

FLAGS = frozenset(
    (b"thin-pack", b"no-progress", b"include-tag", b"ofs-delta", b"done", b"wait-for-done", b"sideband-all", b"deepen-relative")
)
_MOST_DEEPEN_NOT = 1000


@dataclass(slots=True)
class FetchRequest:
    """Filled line by line with `take`, then only read."""

    limits: Limits
    wants: list[Oid] = field(default_factory=list)
    want_refs: list[bytes] = field(default_factory=list)
    haves: list[Oid] = field(default_factory=list)
    shallows: list[Oid] = field(default_factory=list)
    flags: set[bytes] = field(default_factory=set)
    depth: int = 0
    deepen_since: int | None = None
    deepen_not: list[bytes] = field(default_factory=list)
    filter: Filter = field(default_factory=Filter)

    def has(self, flag: bytes) -> bool:
        return flag in self.flags

    @property
    def is_deepening(self) -> bool:
        return self.depth > 0 or self.deepen_since is not None or bool(self.deepen_not)

    def take(self, line: bytes) -> None:
        """One argument line. Raises Invalid for what is unknown or malformed, TooLarge for too much."""
        if line in FLAGS:
            self.flags.add(line)
            return
        word, _, value = line.partition(b" ")
        reader = _READERS.get(word)
        if reader is None or not value:
            raise Invalid(f"unexpected line: '{_shown(line)}'")
        reader(self, value)

    def want(self, value: bytes) -> None:
        _grow(self.wants, parse_oid(value, "want"), self.limits.wants, "want")

    def want_ref(self, value: bytes) -> None:
        _grow(self.want_refs, value, min(self.limits.wants, 10_000), "want-ref")

    def have(self, value: bytes) -> None:
        _grow(self.haves, parse_oid(value, "have"), self.limits.haves, "have")

    def shallow(self, value: bytes) -> None:
        _grow(self.shallows, parse_oid(value, "shallow"), self.limits.haves, "shallow")

    def deepen(self, value: bytes) -> None:
        if not value.isdigit() or len(value) > 10 or int(value) < 1:
            raise Invalid(f"Invalid deepen: {_shown(value)}")
        self.depth = int(value)

    def since(self, value: bytes) -> None:
        if not value.isdigit() or len(value) > 18:
            raise Invalid(f"Invalid deepen-since: {_shown(value)}")
        self.deepen_since = int(value)

    def excluding(self, value: bytes) -> None:
        _grow(self.deepen_not, value, _MOST_DEEPEN_NOT, "deepen-not")

    def filtered(self, value: bytes) -> None:
        self.filter = parse_filter(value)

    def check(self) -> None:
        if self.depth and (self.deepen_since is not None or self.deepen_not):
            raise Invalid("deepen and deepen-since (or deepen-not) cannot be used together")
        if len(set(self.want_refs)) != len(self.want_refs):
            raise Invalid("duplicate want-ref: name each ref once")


_READERS: dict[bytes, Callable[[FetchRequest, bytes], None]] = {
    b"want": FetchRequest.want,
    b"want-ref": FetchRequest.want_ref,
    b"have": FetchRequest.have,
    b"shallow": FetchRequest.shallow,
    b"deepen": FetchRequest.deepen,
    b"deepen-since": FetchRequest.since,
    b"deepen-not": FetchRequest.excluding,
    b"filter": FetchRequest.filtered,
}


def parse_oid(text: bytes, what: str) -> Oid:
    """40 hex digits. Raises Invalid."""
    if len(text) != 40 or not all(c in b"0123456789abcdefABCDEF" for c in text):
        raise Invalid(f"protocol error: expected the object id of a {what}, got '{_shown(text)}'")
    return bytes.fromhex(text.decode("ascii"))


def _grow(items: list[bytes], item: bytes, limit: int, what: str) -> None:
    if len(items) >= limit:
        raise TooLarge(f"The request holds more than {limit} {what} lines. Fetch fewer refs at once.")
    items.append(item)


def _shown(text: bytes) -> str:
    return text[:100].decode(errors="replace")

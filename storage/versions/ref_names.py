"""Ref names as files of one folder: git lets none be a folder of another."""

from bisect import bisect_left
from collections.abc import Mapping

from storage.records import ZERO_OID, Oid, RefUpdate


class Names:
    """Where each ref stands. Each question costs about the same, however many there are."""

    def __init__(self, refs: Mapping[bytes, Oid]) -> None:
        self._refs = dict(refs)
        self._sorted = sorted(refs)

    def get(self, name: bytes) -> Oid:
        return self._refs.get(name, ZERO_OID)

    def note(self, update: RefUpdate) -> None:
        """It has been made."""
        is_here, at = update.ref in self._refs, bisect_left(self._sorted, update.ref)
        if update.new != ZERO_OID:
            self._refs[update.ref] = update.new
            if not is_here:
                self._sorted.insert(at, update.ref)
        elif is_here:
            del self._refs[update.ref], self._sorted[at]

    def clash(self, name: bytes) -> bytes | None:
        """One that `name` cannot be beside: one of the two is a folder of the other."""
        end = name.find(b"/")
        while end >= 0:
            if name[:end] in self._refs:
                return name[:end]
            end = name.find(b"/", end + 1)
        below = name + b"/"
        at = bisect_left(self._sorted, below)
        return self._sorted[at] if at < len(self._sorted) and self._sorted[at].startswith(below) else None

"""Partial clone filters (rev-list --filter): which objects a client leaves out until it needs them."""

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from storage.errors import Invalid

_UNITS = {b"k": 1 << 10, b"m": 1 << 20, b"g": 1 << 30}
_MOST_PARTS = 16


@dataclass(frozen=True, slots=True)
class Filter:
    """Leave out blobs of `blob_limit` bytes and more, and trees and blobs at `tree_depth` and deeper (a root tree is at 0)."""

    blob_limit: int | None = None
    tree_depth: int | None = None

    @property
    def is_active(self) -> bool:
        return self.blob_limit is not None or self.tree_depth is not None


def parse_filter(spec: bytes) -> Filter:
    """A filter-spec of the wire. Raises Invalid for those that this server does not advertise."""
    if not spec.startswith(b"combine:"):
        return _single(spec)
    parts = spec[8:].split(b"+")
    if len(parts) > _MOST_PARTS:
        raise Invalid(f"invalid filter-spec: more than {_MOST_PARTS} filters are combined.")
    filters = [_single(unquote_to_bytes(part)) for part in parts]
    return Filter(_least([f.blob_limit for f in filters]), _least([f.tree_depth for f in filters]))


def _single(spec: bytes) -> Filter:
    if spec == b"blob:none":
        return Filter(blob_limit=0)
    if spec.startswith(b"blob:limit="):
        return Filter(blob_limit=_size(spec, spec[11:]))
    if spec.startswith(b"tree:"):
        return Filter(tree_depth=_number(spec, spec[5:]))
    shown = spec[:80].decode(errors="replace")
    raise Invalid(f"invalid filter-spec '{shown}': this server knows blob:none, blob:limit=<n>, tree:<depth> and combine:.")


def _size(spec: bytes, text: bytes) -> int:
    unit = _UNITS.get(text[-1:].lower())
    return _number(spec, text[:-1]) * unit if unit else _number(spec, text)


def _number(spec: bytes, text: bytes) -> int:
    if not text.isdigit() or len(text) > 18:
        raise Invalid(f"invalid filter-spec '{spec[:80].decode(errors='replace')}': a number is needed.")
    return int(text)


def _least(values: list[int | None]) -> int | None:
    given = [value for value in values if value is not None]
    return min(given) if given else None

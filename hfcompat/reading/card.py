"""The card of a repository: the front matter of README.md, as its info and lists show it."""

import json
import re
from collections.abc import Iterator
from typing import Any

from gitserver.history.browser import Browser, Snapshot
from hfcompat.reading.frontmatter import CardError, parse
from hfcompat.reading.licenses import LICENSES
from storage.errors import EntryNotFound
from storage.limits import Limits
from storage.lru import Recent
from storage.records import FileEntry, Oid

_MOST_TAGS = 200
_PIECE = 64 * 1024
_OVERLAP = 64  # a closing line may lie in two pieces
_CARD_BYTES = 400  # of one that is kept, besides its text
_BEGINS = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:-{0,2}\Z|---)")
_END = re.compile(rb"[\r\n]---[ \t]*[\r\n]")


class Cards:
    """Cards by the id of the README's blob, kept as JSON, of the last ones as much as two of the largest."""

    def __init__(self, browser: Browser, limits: Limits) -> None:
        self._browser = browser
        self._limits = limits
        self._kept: Recent[Oid, str] = Recent(2 * limits.card_expanded_bytes, lambda shown: _CARD_BYTES + len(shown))

    def of(self, snapshot: Snapshot) -> dict[str, Any]:
        """The card; empty when there is none that can be read."""
        try:
            entry = self._browser.entry(snapshot, b"README.md")
        except EntryNotFound:
            return {}
        if entry.lfs is not None or entry.is_symlink or not entry.is_file:
            return {}
        kept = self._kept.get(entry.oid)
        return dict(json.loads(kept or self._read(snapshot, entry)))

    def _read(self, snapshot: Snapshot, entry: FileEntry) -> str:
        pieces = snapshot.objects.stream(entry.oid, _PIECE)
        text = _head(pieces, self._limits.card_bytes + _PIECE).decode("utf-8", "replace")
        try:
            shown = json.dumps(parse(text, self._limits) or {}, allow_nan=False)
        except CardError:
            shown = "{}"
        self._kept.keep(entry.oid, shown)
        return shown


def tags_of(card: dict[str, Any]) -> list[str]:
    """The card's own tags, with licence and languages as huggingface.co spells them."""
    tags = [str(tag) for tag in _listed(card.get("tags"))]
    tags += [str(tag) for tag in _listed(card.get("language"))]
    tags += [f"license:{tag}" for tag in _listed(card.get("license"))]
    return list(dict.fromkeys(tags))[:_MOST_TAGS]


def problems(content: str, limits: Limits) -> tuple[list[str], list[str]]:
    """(errors, warnings) of a README's front matter."""
    try:
        card = parse(content, limits)
    except CardError as error:
        return [str(error)], []
    if card is None:
        return [], ["empty or missing yaml metadata in repo card"]
    errors = []
    if "model-index" in card and not isinstance(card["model-index"], list):
        errors.append('"model-index" must be an array')
    unknown = [str(name) for name in _listed(card.get("license")) if str(name) not in LICENSES]
    if unknown:
        errors.append(f'"license" must be one of {", ".join(sorted(LICENSES))}')
    return errors, []


def _head(pieces: Iterator[bytes], most: int) -> bytes:
    """A README up to the end of its front matter; only its first piece where it begins with none."""
    data = bytearray()
    for piece in pieces:
        searched = len(data) - _OVERLAP
        data += piece
        opening = _BEGINS.match(data)
        if opening is None or len(data) >= most or _END.search(data, max(opening.end(), searched)):
            break
    return bytes(data[:most])


def _listed(value: object) -> list[object]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]

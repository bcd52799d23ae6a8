"""The metadata block at the head of a README, as JSON values: YAML 1.2 as huggingface.co reads it, with limits and
never trusted. Only `true` and `false` are booleans there, and dates are text. What JSON cannot hold (NaN, infinity)
becomes null.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from storage.limits import Limits

_OPENING = re.compile(r"\ufeff?\s*---[ \t]*(?:\r\n|\n|\r)")
_CLOSING = re.compile(r"[\r\n]---[ \t]*(?=[\r\n]|\Z)")
_CORE = "tag:yaml.org,2002:"
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_DECIMAL = re.compile(r"[-+]?[0-9]{1,400}")
_OTHER_INTEGER = re.compile(r"0(?:o[0-7]{1,400}|x[0-9a-fA-F]{1,400})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (float, int, type(None)),
}
_TEXTS = frozenset(("str", "timestamp", "binary"))
_COLLECTIONS = frozenset(("seq", "map", "set", "omap", "pairs"))


class CardError(ValueError):
    """The front matter is no YAML mapping, or uses what is not read here."""


def cut(content: str) -> str | None:
    """The lines between the two `---`, or None when the text does not begin with such a block."""
    opening = _OPENING.match(content)
    closing = _CLOSING.search(content, opening.end() - 1) if opening else None
    return content[opening.end() : closing.start() + 1] if opening and closing else None


def parse(content: str, limits: Limits) -> dict[str, Any] | None:
    """The front matter of a README, or None when it has none. Raises CardError."""
    block = cut(content)
    if block is None:
        return None
    if len(block) > limits.card_bytes:
        raise CardError(f"the front matter has more than {limits.card_bytes} bytes")
    try:
        data = _Document(yaml.parse(block, Loader=yaml.CSafeLoader), limits).read()
    except (yaml.YAMLError, UnicodeError) as error:
        raise CardError(f"bad YAML: {str(error)[:300]}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise CardError("the front matter is not a mapping of names to values")
    return data


class _Document:
    """Builds values from the parser's events. Aliases share the value of their anchor; what they come to when they are
    written out is counted, so that a few lines cannot become gigabytes.
    """

    def __init__(self, events: Iterator[yaml.Event], limits: Limits) -> None:
        self._events = events
        self._limits = limits
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._spent = 0

    def read(self) -> Any:
        """The only document, or None when there is none."""
        value, documents = None, 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise CardError("the front matter holds more than one YAML document")
                value = self._value(next(self._events), 0)
        return value

    def _value(self, event: yaml.Event, depth: int) -> Any:
        if depth > self._limits.card_depth:
            raise CardError(f"the front matter is nested deeper than {self._limits.card_depth} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        before = self._spent
        self._spend(1)
        if isinstance(event, yaml.ScalarEvent):
            self._spend(len(event.value))
            value: Any = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(event, depth)
        else:
            value = self._mapping(event, depth)
        if anchor := getattr(event, "anchor", None):
            self._anchors[anchor] = (value, self._spent - before)
        return value

    def _alias(self, event: yaml.AliasEvent) -> Any:
        name = event.anchor or ""
        if name not in self._anchors:
            raise CardError(f"alias {name[:60]!r} names no value that stands before it")
        value, size = self._anchors[name]
        self._spend(size)
        return value

    def _sequence(self, event: yaml.SequenceStartEvent, depth: int) -> list[Any]:
        _check_collection(event)
        found = []
        while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
            found.append(self._value(item, depth + 1))
        return found

    def _mapping(self, event: yaml.Event, depth: int) -> dict[str, Any]:
        _check_collection(event)
        found: dict[str, Any] = {}
        merged: list[dict[str, Any]] = []
        while not isinstance(key := next(self._events), yaml.MappingEndEvent):
            name = self._key(key)
            value = self._value(next(self._events), depth + 1)
            if name is None:
                merged += _mappings(value)
            else:
                found[name] = value
        for other in merged:
            for name, value in other.items():
                found.setdefault(name, value)
        return found

    def _key(self, event: yaml.Event) -> str | None:
        """A key as text, as JSON has it; None for `<<`, which takes over the keys of other mappings."""
        if isinstance(event, yaml.AliasEvent):
            value = self._alias(event)
            if isinstance(value, str):
                return value
        if not isinstance(event, yaml.ScalarEvent):
            raise CardError("a key of the front matter is not text")
        self._spend(1 + len(event.value))
        if event.anchor:
            self._anchors[event.anchor] = (event.value, 1 + len(event.value))
        return None if event.value == "<<" and event.implicit[0] else str(event.value)

    def _spend(self, size: int) -> None:
        self._spent += size
        if self._spent > self._limits.card_expanded_bytes:
            most = self._limits.card_expanded_bytes
            raise CardError(f"the front matter comes to more than {most} bytes with its aliases")


def _mappings(value: object) -> list[dict[str, Any]]:
    listed = value if isinstance(value, list) else [value]
    found = [item for item in listed if isinstance(item, dict)]
    if len(found) < len(listed):
        raise CardError("'<<' merges something that is no mapping")
    return found


def _check_collection(event: yaml.Event) -> None:
    tag = getattr(event, "tag", None)
    if tag not in (None, "!") and tag.removeprefix(_CORE) not in _COLLECTIONS:
        raise CardError(f"the tag {tag[:60]!r} is not known")


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if event.tag in (None, "!"):
        return _resolved(text) if event.implicit[0] and event.tag is None else text
    name = event.tag.removeprefix(_CORE)
    if name in _TEXTS:
        return text
    if name not in _TYPES:
        raise CardError(f"the tag {event.tag[:60]!r} is not known")
    value = _resolved(text)
    if not isinstance(value, _TYPES[name]):
        raise CardError(f"{text[:60]!r} is no {name}")
    return value


def _resolved(text: str) -> Any:
    """A plain scalar by the core schema of YAML 1.2."""
    if text in _NULLS or _NO_NUMBER.fullmatch(text):
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _DECIMAL.fullmatch(text):
        return int(text)
    if _OTHER_INTEGER.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else None
    return text

"""Lines of .gitattributes (gitattributes(5)), read as git reads them: a line with anything wrong in it says nothing."""

import re
from typing import NamedTuple

MOST_LINE_BYTES = 2047  # git passes over longer lines
_BLANK = b" \t\r\n"
_MACRO = b"[attr]"
_NAME = re.compile(rb"(?!-)[-A-Za-z0-9_.]+")
_RESERVED = b"builtin_"
_QUOTED = re.compile(rb'"((?:[^"\\]|\\(?:[abfnrtv\\"]|[0-3][0-7]{2}))*)"', re.DOTALL)
_ESCAPE = re.compile(rb"\\([abfnrtv\\\"]|[0-7]{3})")
_ESCAPED = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"\\": b"\\", b'"': b'"'}


class AttributeState(NamedTuple):
    """`value` is True for an attribute that is set, False for `-name`, None for `!name`, and else what stands behind the `=`."""

    name: bytes
    value: bytes | bool | None


class Line(NamedTuple):
    """`name` is a pattern, or the name of a macro."""

    name: bytes
    is_macro: bool
    states: tuple[AttributeState, ...]


def parse_line(line: bytes) -> Line | None:
    line = line.lstrip(_BLANK)
    if not line or line.startswith(b"#") or len(line) > MOST_LINE_BYTES:
        return None
    name, rest = _first(line)
    is_macro = name.startswith(_MACRO) and len(name) > len(_MACRO)
    if is_macro:
        name = _words(name[len(_MACRO) :])[0] if _words(name[len(_MACRO) :]) else b""
        if not _is_name(name):
            return None
    states = [_state(word) for word in _words(rest)]
    if any(state is None for state in states):
        return None
    return Line(name, is_macro, tuple(state for state in states if state is not None))


def _first(line: bytes) -> tuple[bytes, bytes]:
    """The pattern, and what follows it."""
    if (quoted := _QUOTED.match(line)) is not None:
        return _ESCAPE.sub(_unescaped, quoted[1]), line[quoted.end() :]
    end = min((at for at in map(line.find, (b" ", b"\t", b"\r")) if at >= 0), default=len(line))
    return line[:end], line[end:]


def _unescaped(match: re.Match[bytes]) -> bytes:
    return _ESCAPED.get(match[1]) or bytes([int(match[1], 8)])


def _words(text: bytes) -> list[bytes]:
    return [word for word in re.split(rb"[ \t\r\n]+", text) if word]


def _state(word: bytes) -> AttributeState | None:
    sign, name = (word[:1], word[1:]) if word[:1] in (b"-", b"!") else (b"", word)
    name, equals, value = name.partition(b"=")
    if not _is_name(name):
        return None
    if sign:
        return AttributeState(name, False if sign == b"-" else None)
    return AttributeState(name, value if equals else True)


def _is_name(name: bytes) -> bool:
    return _NAME.fullmatch(name) is not None and not name.startswith(_RESERVED)

"""What stands in a .gitmodules file, read as git reads a configuration, and what of it may become an option, a command or another host.

Values count up to where the file cannot be parsed any more: git has acted on them by then (git's config.c, fsck.c, submodule-config.c).
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

MOST_BYTES = 1 << 20
_SPACE = b" \t\n\r"
_KEY = re.compile(rb"[A-Za-z0-9-]*")
_ESCAPES = {b"t": b"\t", b"b": b"\b", b"n": b"\n", b"\\": b"\\", b'"': b'"'}
_BOM = b"\xef\xbb\xbf"
_DOTDOT = re.compile(rb"(?:\A|[/\\])\.\.(?:[/\\]|\Z)")
_LEADING_DOTS = re.compile(rb"(?:\.\.?/)+")
_CURL = re.compile(rb"(?:https?|ftps?)(?:::|(?=://))")
_CURL_URL = re.compile(rb"(.+?)://(?:[^/?#@]*@)?([^/?#]*)", re.DOTALL)


class _Broken(Exception):
    """The file cannot be parsed from here on."""


def gitmodules_fault(data: bytes) -> str:
    """Git's name of what is wrong with it, with the value; empty for a file that harms nobody."""
    if len(data) > MOST_BYTES:
        return f"gitmodulesLarge: more than {MOST_BYTES} bytes"
    try:
        for variable, value in _Reader(data).variables():
            if fault := _fault(variable.partition(b"\0")[0], value.partition(b"\0")[0] if value is not None else None):
                return fault
    except _Broken:
        pass
    return ""


def _fault(variable: bytes, value: bytes | None) -> str:
    section, _, rest = variable.partition(b".")
    name, dot, key = rest.rpartition(b".")
    if section != b"submodule" or not dot:
        return ""
    if not name or _DOTDOT.search(name):
        return f"gitmodulesName: {_shown(name)} is no allowed submodule name"
    if value is None:
        return ""
    if key == b"url" and not _is_good_url(value):
        return f"gitmodulesUrl: {_shown(value)} is no allowed URL"
    if key == b"path" and value.startswith(b"-"):
        return f"gitmodulesPath: {_shown(value)} would be read as an option"
    if key == b"update" and value.startswith(b"!"):
        return "gitmodulesUpdate: a submodule's update may not be a command"
    return ""


def _is_good_url(url: bytes) -> bool:
    if url.startswith(b"-"):
        return False
    if dots := _LEADING_DOTS.match(url):
        escapes = b".." in dots[0] and url[dots.end() : dots.end() + 1] in (b":", b"/")
        return not escapes and b"\n" not in unquote_to_bytes(url)
    if (curl := _CURL.match(url)) is None:
        return True
    parts = _CURL_URL.match(url[curl.end() :] if curl[0].endswith(b"::") else url)
    return parts is not None and bool(unquote_to_bytes(parts[2])) and b"\n" not in unquote_to_bytes(url)


class _Reader:
    """One pass over the file. A carriage return before a line feed is none, and the end is a line's end too."""

    def __init__(self, data: bytes) -> None:
        data = data.removeprefix(_BOM)
        self._data = data.replace(b"\r\n", b"\n")
        self._at = 0

    def variables(self) -> Iterator[tuple[bytes, bytes | None]]:
        """`section.name.key` and its value, None without one. Raises _Broken."""
        section = b""
        while self._at < len(self._data):
            char = self._next()
            if char in b"#;":
                self._skip_line()
            elif char == b"[":
                section = self._section()
            elif char.isalpha():
                yield self._variable(section + char.lower())
            elif char not in _SPACE:
                raise _Broken

    def _next(self) -> bytes:
        """One byte; a line feed at the end, once and again."""
        char = self._data[self._at : self._at + 1] or b"\n"
        self._at += 1
        return char

    def _skip_line(self) -> None:
        end = self._data.find(b"\n", self._at)
        self._at = len(self._data) if end < 0 else end + 1

    def _section(self) -> bytes:
        """`[section]`, `[section "name"]` or, of old, `[section.name]`; with a full stop behind it."""
        name = bytearray()
        while (char := self._next()) != b"]":
            if self._at > len(self._data):
                raise _Broken
            if char in _SPACE:
                return bytes(name) + b"." + self._subsection(char) + b"."
            if not (char.isalnum() or char in b"-."):
                raise _Broken
            name += char.lower()
        if not name:
            raise _Broken
        return bytes(name) + b"."

    def _subsection(self, char: bytes) -> bytes:
        while char in _SPACE:
            if char == b"\n":
                raise _Broken
            char = self._next()
        name = bytearray()
        if char != b'"':
            raise _Broken
        while (char := self._next()) != b'"':
            if char == b"\\":
                char = self._next()
            if char == b"\n":
                raise _Broken
            name += char
        if self._next() != b"]":
            raise _Broken
        return bytes(name)

    def _variable(self, name: bytes) -> tuple[bytes, bytes | None]:
        match = _KEY.match(self._data, self._at)
        assert match is not None
        self._at = match.end()
        name += match[0].lower()
        while (char := self._next()) in b" \t":
            pass
        if char == b"\n":
            return name, None
        if char != b"=":
            raise _Broken
        return name, self._value()

    def _value(self) -> bytes:
        value = bytearray()
        spaces, is_quoted = 0, False
        while (char := self._next()) != b"\n":
            if not is_quoted and char in _SPACE:
                spaces += bool(value)
                continue
            if not is_quoted and char in b"#;":
                self._skip_line()
                return bytes(value)
            value += b" " * spaces
            spaces = 0
            if char == b'"':
                is_quoted = not is_quoted
            elif char == b"\\":
                value += self._escaped()
            else:
                value += char
        if is_quoted:
            raise _Broken
        return bytes(value)

    def _escaped(self) -> bytes:
        char = self._next()
        if char == b"\n":
            return b""  # the value goes on in the next line
        if char not in _ESCAPES:
            raise _Broken
        return _ESCAPES[char]


def _shown(name: bytes) -> str:
    return repr(name[:80])[1:]

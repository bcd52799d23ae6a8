"""Names that git holds as bytes, as text for JSON and URLs, and back.

A name in UTF-8 is spelled as it is. Of any other name each byte that is none, and each `%`, is percent-encoded. Where
a name in UTF-8 that stands beside it has just this text, each `%` is encoded once more, until the text is free: so the
spelling is reversible among the names of one folder, or the refs of one repository.
"""

from collections.abc import Container
from urllib.parse import unquote_to_bytes

_MOST_LEVELS = 8


def spelled(name: bytes, beside: Container[bytes]) -> str:
    """`name` as text; `beside` holds the names among which it stands."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        text = "".join(map(_escaped, name.replace(b"%", b"%25").decode("utf-8", "surrogateescape")))
    while text.encode() in beside:
        text = text.replace("%", "%25")
    return text


def named(asked: bytes, beside: Container[bytes]) -> bytes:
    """The one of the names `beside` that is `asked`, or is spelled so; `asked` itself where there is none."""
    if asked in beside or b"%" not in asked:
        return asked
    text = level = asked.decode("utf-8", "surrogateescape")
    for _ in range(_MOST_LEVELS):
        name = unquote_to_bytes(level)
        if name in beside and spelled(name, beside) == text:
            return name
        if (shorter := level.replace("%25", "%")) == level:
            break
        level = shorter
    return asked


def _escaped(char: str) -> str:
    return f"%{ord(char) - 0xDC00:02X}" if 0xDC80 <= ord(char) <= 0xDCFF else char

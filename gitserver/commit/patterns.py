"""Path patterns of .gitignore and .gitattributes (gitignore(5), gitattributes(5)), matched in bounded time.

They come from strangers. A star becomes an atomic group, so that no pattern makes the matcher try again what it tried before; the usual
translation to one regular expression takes exponential time on `*a*a*a…`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

_CLASSES = {
    b"alnum": b"0-9A-Za-z",
    b"alpha": b"A-Za-z",
    b"blank": rb" \t",
    b"cntrl": rb"\x00-\x1f\x7f",
    b"digit": b"0-9",
    b"graph": rb"\x21-\x7e",
    b"lower": b"a-z",
    b"print": rb"\x20-\x7e",
    b"punct": rb"!-/:-@\[-`{-~",
    b"space": rb"\s",
    b"upper": b"A-Z",
    b"xdigit": b"0-9A-Fa-f",
}


@dataclass(frozen=True, slots=True)
class Pattern:
    """`steps` are matched against the names of a path one by one; None stands for any number of them."""

    steps: tuple[re.Pattern[bytes] | None, ...]

    def matches(self, names: list[bytes], spend: Callable[[int], None] = lambda steps: None) -> bool:
        """Whether the whole path, given as its names, is meant. `spend` is told what it costs, and may raise."""
        reached = {0}
        for name in names:
            standing = self._skip(reached)
            spend(len(standing))
            reached = {after for step in standing for after in self._take(step, name)}
            if not reached:
                return False
        return len(self.steps) in self._skip(reached)

    def _skip(self, reached: set[int]) -> set[int]:
        """Where the match may stand without another name: any-depth steps may take none."""
        found = set(reached)
        for step in sorted(reached):
            while step < len(self.steps) and self.steps[step] is None:
                step += 1
                found.add(step)
        return found

    def _take(self, step: int, name: bytes) -> tuple[int, ...]:
        if step == len(self.steps):
            return ()
        pattern = self.steps[step]
        if pattern is None:
            return (step,)
        return (step + 1,) if pattern.fullmatch(name) else ()


def parse_pattern(text: bytes) -> Pattern | None:
    """A pattern without its leading `!` and trailing `/`; None when it can never match. Without a slash it matches at any depth."""
    is_anchored = b"/" in text
    names = text.removeprefix(b"/").split(b"/")
    steps: list[re.Pattern[bytes] | None] = [] if is_anchored else [None]
    for number, name in enumerate(names):
        if len(name) > 1 and not name.strip(b"*") and is_anchored:  # `**`; git takes more stars for the same
            if number == len(names) - 1:
                steps.append(re.compile(rb".*", re.DOTALL))  # `a/**` is what lies in a, not a itself
            if not steps or steps[-1] is not None or number == len(names) - 1:
                steps.append(None)
            continue
        translated = _translate(name)
        if translated is None or not name:
            return None
        steps.append(re.compile(translated, re.DOTALL))
    return Pattern(tuple(steps))


def _translate(name: bytes) -> bytes | None:
    """One name as a regular expression; None for a pattern that git takes for broken."""
    pieces: list[bytes] = [b""]
    position = 0
    while position < len(name):
        char = name[position : position + 1]
        position += 1
        if char == b"*":
            pieces.append(b"")
        elif char == b"?":
            pieces[-1] += b"."
        elif char == b"[":
            found = _bracket(name, position)
            if found is None:
                return None
            expression, position = found
            pieces[-1] += expression
        elif char == b"\\":
            if position == len(name):
                return None
            pieces[-1] += re.escape(name[position : position + 1])
            position += 1
        else:
            pieces[-1] += re.escape(char)
    # Between two stars the first place that fits is as good as any later one.
    middle = b"".join(b"(?>.*?%s)" % piece for piece in pieces[1:-1] if piece)
    return pieces[0] + (middle + b".*" + pieces[-1] if len(pieces) > 1 else b"")


def _bracket(name: bytes, position: int) -> tuple[bytes, int] | None:
    """The set behind a `[`, and where it ends."""
    is_not = name[position : position + 1] in (b"!", b"^")
    position += is_not
    members = b""
    first = True
    while True:
        char = name[position : position + 1]
        if not char:
            return None
        if char == b"]" and not first:
            return b"[" + (b"^" if is_not else b"") + members + b"]", position + 1
        first = False
        if name.startswith(b"[:", position):
            end = name.find(b":]", position)
            known = _CLASSES.get(name[position + 2 : end]) if end > 0 else None
            if known is None:
                return None
            members += known
            position = end + 2
            continue
        low, position = _member(name, position)
        if name[position : position + 1] == b"-" and name[position + 1 : position + 2] not in (b"]", b""):
            high, position = _member(name, position + 1)
            if high and low and low <= high:
                members += re.escape(low) + b"-" + re.escape(high)
                continue
            return None
        members += re.escape(low)


def _member(name: bytes, position: int) -> tuple[bytes, int]:
    if name[position : position + 1] == b"\\":
        position += 1
    return name[position : position + 1], position + 1

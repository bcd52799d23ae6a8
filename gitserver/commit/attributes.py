"""What .gitattributes and .gitignore of a revision say of a path: whether large storage holds it, and whether it is left out."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from gitserver.commit.lines import MOST_LINE_BYTES, AttributeState, parse_line
from gitserver.commit.patterns import Pattern, parse_pattern
from storage.errors import TooLarge
from storage.limits import Limits

# What huggingface.co tracks from the start; also used where a revision has no .gitattributes at all.
_MODEL_NAMES = (
    "*.7z *.arrow *.bin *.bz2 *.ckpt *.ftz *.gz *.h5 *.joblib *.lfs.* *.mlmodel *.model *.msgpack *.npy *.npz *.onnx *.ot *.parquet *.pb"
    " *.pickle *.pkl *.pt *.pth *.rar *.safetensors saved_model/**/* *.tar.* *.tar *.tflite *.tgz *.wasm *.xz *.zip *.zst *tfevents*"
)
_DATASET_NAMES = (
    "*.avro *.lz4 *.mds *.pcm *.sam *.raw *.aac *.flac *.mp3 *.ogg *.wav *.bmp *.gif *.png *.tiff *.jpg *.jpeg *.webp *.mp4 *.webm"
)
_TRACKED = b" filter=lfs diff=lfs merge=lfs -text\n"
_SPECIAL = frozenset(b"*?[\\")
_ODD = re.compile(rb"[*?\[\\ \t\r\n\v\f]")
_FILTER = b"filter"
_FILE = b".gitattributes"


@dataclass(frozen=True, slots=True)
class Rule:
    """A line that says something of the `filter` attribute, by itself or through macros; `states` are those that do, as written."""

    pattern: Pattern
    states: tuple[AttributeState, ...]


class _Work:
    """What matching may cost in one request: patterns and paths both come from strangers, and many of both take hours."""

    def __init__(self, limits: Limits) -> None:
        self._left = limits.attributes_steps

    def spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooLarge(
                "The patterns in .gitattributes or .gitignore take too long for these files. Simplify them, or send fewer files."
            )


class Attributes:
    """`read` gives the .gitattributes of a folder (b"" is the root), or None. Deeper files win, later lines win.

    Macros stand in the root's file only, as git has it. `has_macros` is False for what was decided before they were read here.
    """

    def __init__(self, read: Callable[[bytes], bytes | None], limits: Limits, *, has_macros: bool = True) -> None:
        self._read = read
        self._limits = limits
        self._has_macros = has_macros
        self._macros: Mapping[bytes, Sequence[AttributeState]] | None = None
        self._rules: dict[bytes, tuple[Rule, ...]] = {}
        self._work = _Work(limits)

    def is_lfs(self, path: bytes) -> bool:
        names = path.split(b"/")
        if self._macros is None:
            text = self._text(b"") if self._has_macros else b""
            self._macros = _macros(text, self._limits.attributes_rules)
        states: dict[bytes, bytes | bool | None] = {}
        for depth in range(len(names) - 1, -1, -1):
            below = names[depth:]
            for rule in reversed(self._of(b"/".join(names[:depth]), self._macros)):
                if rule.pattern.matches(below, self._work.spend):
                    _fill(states, rule.states, self._macros)
                    if _FILTER in states:
                        return states[_FILTER] == b"lfs"
        return False

    def _of(self, folder: bytes, macros: Mapping[bytes, Sequence[AttributeState]]) -> tuple[Rule, ...]:
        if folder not in self._rules:
            text = self._text(folder)
            self._rules[folder] = _rules(text, self._limits.attributes_rules, frozenset((_FILTER, *macros))) if text else ()
        return self._rules[folder]

    def _text(self, folder: bytes) -> bytes:
        text = self._read(folder) or b""
        return text[-self._limits.attributes_bytes :]


class Ignores:
    """One .gitignore at the root; the last pattern that matches decides, and nothing in a folder that is out comes in again."""

    def __init__(self, text: bytes, limits: Limits) -> None:
        self._work = _Work(limits)
        lines = text[-limits.attributes_bytes :].splitlines()[-limits.attributes_rules :]
        self._patterns = [found for line in lines if (found := _ignore_line(line)) is not None]

    def has(self, path: bytes) -> bool:
        names = path.split(b"/")
        return any(self._is_out(names[:depth], is_folder=depth < len(names)) for depth in range(1, len(names) + 1))

    def _is_out(self, names: list[bytes], *, is_folder: bool) -> bool:
        for line in reversed(self._patterns):
            if (is_folder or not line.only_folders) and line.pattern.matches(names, self._work.spend):
                return not line.is_negated
        return False


@dataclass(frozen=True, slots=True)
class _IgnoreLine:
    pattern: Pattern
    is_negated: bool
    only_folders: bool


def default_attributes(*, is_dataset: bool) -> bytes:
    """The .gitattributes of a new repository."""
    names = f"{_MODEL_NAMES} {_DATASET_NAMES}" if is_dataset else _MODEL_NAMES
    return b"".join(name.encode() + _TRACKED for name in names.split())


def track(text: bytes, paths: Iterable[bytes]) -> bytes:
    """`text` with a line for each of `paths`, so that git and git-lfs see them as large files."""
    head = text if not text or text.endswith(b"\n") else text + b"\n"
    return head + b"".join(map(_tracked, paths))


def track_nearest(read: Callable[[bytes], bytes | None], paths: Iterable[bytes]) -> dict[bytes, bytes]:
    """By their paths, the .gitattributes that get a line for one of `paths`: the nearest above each, since deeper files win, else the
    root's. `read` as in `Attributes`.
    """
    found: dict[bytes, list[bytes]] = {}
    for path in paths:
        folder = path.rpartition(b"/")[0]
        while folder and read(folder) is None:
            folder = folder.rpartition(b"/")[0]
        found.setdefault(folder, []).append(path[len(folder) + 1 :] if folder else path)
    files = {}
    for folder, names in found.items():
        text, nul, rest = (read(folder) or b"").partition(b"\0")  # git stops at the NUL
        files[attributes_path(folder)] = track(text, names) + nul + rest
    return files


def attributes_path(folder: bytes) -> bytes:
    return folder + b"/" + _FILE if folder else _FILE


def _tracked(path: bytes) -> bytes:
    """A line that git would pass over for its length has a `?` for every byte that needs more than itself."""
    line = b"/" + _quoted(path) + _TRACKED
    return line if len(line) <= MOST_LINE_BYTES else b"/" + _ODD.sub(b"?", path) + _TRACKED


def _quoted(path: bytes) -> bytes:
    """A path as a pattern that means only it; white space ends a pattern, so it is written as a class."""
    pieces = []
    for byte in path:
        if byte in b" \t\r\n\v\f":
            pieces.append(b"[[:space:]]")
        else:
            pieces.append(b"\\%c" % byte if byte in _SPECIAL else b"%c" % byte)
    return b"".join(pieces)


def _fill(
    states: dict[bytes, bytes | bool | None], new: Sequence[AttributeState], macros: Mapping[bytes, Sequence[AttributeState]]
) -> None:
    """What was said first stays; of one line the last word is the first. A macro that is set says what it stands for."""
    waiting = list(new)
    while waiting:
        name, value = waiting.pop()
        if name not in states:
            states[name] = value
            waiting += macros.get(name, ()) if value is True else ()


@lru_cache(maxsize=2)  # the largest of strangers' files takes 20 MB
def _rules(text: bytes, most: int, names: frozenset[bytes]) -> tuple[Rule, ...]:
    """The last of them, since later lines win; only of attributes that are among `names`."""
    found: list[Rule] = []
    for line in reversed(_lines(text)):
        if len(found) < most and (parsed := parse_line(line)) is not None and not parsed.is_macro:
            states = tuple(state for state in parsed.states if state.name in names)
            pattern = _file_pattern(parsed.name) if states else None
            if pattern is not None:
                found.append(Rule(pattern, states))
    return tuple(reversed(found))


@lru_cache(maxsize=2)
def _macros(text: bytes, most: int) -> Mapping[bytes, Sequence[AttributeState]]:
    """Those that say something of `filter`, be it through others; of two of one name the later counts."""
    lines = [line for line in _lines(text) if b"[attr]" in line][-most:]
    defined = {parsed.name: parsed.states for line in lines if (parsed := parse_line(line)) is not None and parsed.is_macro}
    users: dict[bytes, list[bytes]] = {}
    for name, states in defined.items():
        for state in states:
            users.setdefault(state.name, []).append(name)
    kept: dict[bytes, Sequence[AttributeState]] = {}
    waiting = [_FILTER]
    while waiting:
        for name in users.pop(waiting.pop(), ()):
            if name not in kept:
                kept[name] = defined[name]
                waiting.append(name)
    return kept


def _lines(text: bytes) -> list[bytes]:
    return text.removeprefix(b"\xef\xbb\xbf").partition(b"\0")[0].split(b"\n")


def _file_pattern(text: bytes) -> Pattern | None:
    """None for what means no file: a negation, which git ignores here, or a folder."""
    return parse_pattern(text) if text and not text.startswith(b"!") and not text.endswith(b"/") else None


def _ignore_line(line: bytes) -> _IgnoreLine | None:
    text = line.rstrip(b"\r")
    while text.endswith((b" ", b"\t")) and not text.endswith((b"\\ ", b"\\\t")):
        text = text[:-1]
    if not text or text.startswith(b"#"):
        return None
    is_negated = text.startswith(b"!")
    text = text[is_negated:]
    only_folders = text.endswith(b"/")
    pattern = parse_pattern(text[:-1] if only_folders else text) if text else None
    return _IgnoreLine(pattern, is_negated, only_folders) if pattern is not None else None

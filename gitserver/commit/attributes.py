"""What .gitattributes and .gitignore of a revision say of a path: whether large storage holds it, and whether it is left out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from gitserver.commit.patterns import Pattern, parse_pattern
from storage.errors import TooLarge
from storage.limits import Limits

# What huggingface.co tracks from the start; also used where a revision has no .gitattributes at all.
_MODEL_NAMES = (
    "*.7z *.arrow *.bin *.bz2 *.ckpt *.ftz *.gz *.h5 *.joblib *.lfs.* *.mlmodel *.model *.msgpack *.npy *.npz *.onnx *.ot *.parquet *.pb"
    " *.pickle *.pkl *.pt *.pth *.rar *.safetensors saved_model/**/* *.tar.* *.tar *.tflite *.tgz *.wasm *.xz *.zip *.zst *tfevents*"
)
_DATASET_NAMES = "*.lz4 *.mds *.pcm *.sam *.raw *.aac *.flac *.mp3 *.ogg *.wav *.bmp *.gif *.png *.tiff *.jpg *.jpeg *.webp *.mp4 *.webm"
_TRACKED = b" filter=lfs diff=lfs merge=lfs -text\n"
_SPECIAL = frozenset(b"*?[\\")


@dataclass(frozen=True, slots=True)
class Rule:
    """A line that speaks of the `filter` attribute: `is_lfs`, or something else."""

    pattern: Pattern
    is_lfs: bool


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
    """`read` gives the .gitattributes of a folder (b"" is the root), or None. Deeper files win, later lines win."""

    def __init__(self, read: Callable[[bytes], bytes | None], limits: Limits) -> None:
        self._read = read
        self._limits = limits
        self._rules: dict[bytes, tuple[Rule, ...]] = {}
        self._work = _Work(limits)

    def is_lfs(self, path: bytes) -> bool:
        names = path.split(b"/")
        for depth in range(len(names) - 1, -1, -1):
            below = names[depth:]
            for rule in reversed(self._of(b"/".join(names[:depth]))):
                if rule.pattern.matches(below, self._work.spend):
                    return rule.is_lfs
        return False

    def _of(self, folder: bytes) -> tuple[Rule, ...]:
        if folder not in self._rules:
            text = self._read(folder)
            self._rules[folder] = _rules(text[-self._limits.attributes_bytes :], self._limits.attributes_rules) if text else ()
        return self._rules[folder]


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
    return head + b"".join(b"/" + _quoted(path) + _TRACKED for path in paths)


def _quoted(path: bytes) -> bytes:
    """A path as a pattern that means only it; white space ends a pattern, so it is written as a class."""
    pieces = []
    for byte in path:
        if byte in b" \t\r\n\v\f":
            pieces.append(b"[[:space:]]")
        else:
            pieces.append(b"\\%c" % byte if byte in _SPECIAL else b"%c" % byte)
    return b"".join(pieces)


@lru_cache(maxsize=2)  # the largest of strangers' files takes 20 MB
def _rules(text: bytes, most: int) -> tuple[Rule, ...]:
    """The last of them, since later lines win."""
    lines = [line for line in text.splitlines() if b"filter" in line]
    return tuple(rule for line in lines[-most:] if (rule := _attribute_line(line)) is not None)


def _attribute_line(line: bytes) -> Rule | None:
    words = line.split()
    if len(words) < 2 or words[0].startswith((b"#", b"[attr]", b"!")):
        return None
    values = [word for word in words[1:] if word.lstrip(b"-!").partition(b"=")[0] == b"filter"]
    name = words[0]
    if name.startswith(b'"') and name.endswith(b'"') and len(name) > 1:
        name = name[1:-1]
    pattern = None if not values or name.endswith(b"/") else parse_pattern(name)
    return Rule(pattern, values[-1] == b"filter=lfs") if pattern is not None else None


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

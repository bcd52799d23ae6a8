"""Numbered SQL files, run in order and once each. A file is never changed after it was released."""

from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    statements: tuple[str, ...]


def load_migrations() -> list[Migration]:
    files = sorted(f.name for f in resources.files(__package__).iterdir() if f.name.endswith(".sql"))
    return [_parse(name, resources.files(__package__).joinpath(name).read_text("utf-8")) for name in files]


def _parse(name: str, text: str) -> Migration:
    lines = (line.split("--", 1)[0] for line in text.splitlines())
    statements = tuple(s.strip() for s in "\n".join(lines).split(";") if s.strip())
    return Migration(int(name.split("_", 1)[0]), name.removesuffix(".sql"), statements)

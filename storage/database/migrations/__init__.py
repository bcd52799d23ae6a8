"""Numbered SQL files, run in order and once each. A file is never changed after it was released."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import resources

from storage.database.base import Tx
from storage.errors import Unavailable

log = logging.getLogger(__name__)
_OURS = "schema_version"
_FIRST_KOHAKUHUB = frozenset({"user", "repository", "lfsobjecthistory"})
_MOST_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    statements: tuple[str, ...]


def load_migrations() -> list[Migration]:
    files = sorted(f.name for f in resources.files(__package__).iterdir() if f.name.endswith(".sql"))
    return [_parse(name, resources.files(__package__).joinpath(name).read_text("utf-8")) for name in files]


def refuse_foreign(tables: Collection[str]) -> None:
    """`tables` are those of the database before its first migration. Raises Unavailable when another program made them."""
    if not tables or _OURS in tables:
        return
    if set(tables) >= _FIRST_KOHAKUHUB:
        owner = "the first KohakuHub"
    else:
        shown = sorted(tables)
        owner = "it has the tables " + ", ".join(shown[:_MOST_SHOWN]) + (" …" if len(shown) > _MOST_SHOWN else "")
    raise Unavailable(
        f"This database belongs to another program ({owner}); give the hub a database of its own."
        " Bringing its data over is not possible yet."
    )


def migrate(tx: Tx, migrations: Sequence[Migration]) -> None:
    tx.run("CREATE TABLE IF NOT EXISTS schema_version (number BIGINT PRIMARY KEY, name TEXT NOT NULL)")
    row = tx.one("SELECT COALESCE(MAX(number), 0) AS number FROM schema_version")
    have = row["number"] if row else 0
    newest = migrations[-1].number
    if have > newest:
        raise Unavailable(f"The database has schema {have}, this program knows {newest}. Start the newer program, or restore a backup.")
    for migration in migrations:
        if migration.number <= have:
            continue
        for statement in migration.statements:
            tx.run(statement)
        tx.run("INSERT INTO schema_version (number, name) VALUES (:number, :name)", {"number": migration.number, "name": migration.name})
        log.info("database schema is now %s", migration.name)


def _parse(name: str, text: str) -> Migration:
    lines = (line.split("--", 1)[0] for line in text.splitlines())
    statements = tuple(s.strip() for s in "\n".join(lines).split(";") if s.strip())
    return Migration(int(name.split("_", 1)[0]), name.removesuffix(".sql"), statements)

"""A newer program changes the schema while this one serves: nobody notices, and this one does not start anew on it."""

from pathlib import Path
from typing import Any

import psycopg

NEWER = (
    "ALTER TABLE repos ADD COLUMN later TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE refs ADD COLUMN later BIGINT",
    "ALTER TABLE users ADD COLUMN later TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE packs ADD COLUMN later BIGINT NOT NULL DEFAULT 0",
    "CREATE TABLE later (id BIGINT PRIMARY KEY)",
    "INSERT INTO schema_version (number, name) VALUES (9999, 'later')",
)


def test_workers_go_on_while_the_schema_grows(postgres: Any, new_launcher: Any, tmp_path: Path) -> None:
    url = postgres.create()
    launcher = new_launcher(tmp_path / "data", {"KOHAKU_HUB_DATABASE_URL": url})
    launcher.users()
    hub = launcher.start("--workers", "2")
    name = hub.repo()
    commit = b'{"key":"header","value":{"summary":"s"}}\n{"key":"file","value":{"path":"%d","content":"YQ==","encoding":"base64"}}\n'

    def use(turn: int) -> None:
        for n in range(6):  # each worker, whatever it has prepared
            answer = hub.call("POST", f"/api/models/{name}/commit/main", commit % (turn * 10 + n), Content_Type="application/x-ndjson")
            assert answer.status == 200, answer
            assert hub.call("GET", f"/api/models/{name}/tree/main").status == 200
            assert hub.call("GET", f"/{name}.git/info/refs?service=git-upload-pack").status == 200
            assert hub.repo()

    use(0)
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in NEWER:
            connection.execute(statement)
    use(1)
    refused = launcher.admin("check")
    assert refused.returncode == 1
    assert "newer program" in refused.stderr
    assert hub.stop() == 0
    assert "unexpected error" not in hub.log.read_text()

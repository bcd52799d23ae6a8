"""What an operator meets in the first minutes: wrong settings, wrong folders, wrong names (contracts O2, O5, O6, O7, O10)."""

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import ValidationError

from hub.command import admin, line
from hub.services import build
from hub.serving.serve import listen
from hub.setting_names import unknown_settings
from hub.settings import Settings, problems
from storage.errors import Invalid, Unavailable
from tests.harness.hubs import COMMAND


def run(*arguments: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KOHAKU_HUB_")}
    command = [str(COMMAND), *arguments]
    return subprocess.run(
        command, cwd=cwd, env=clean | environment, capture_output=True, text=True, timeout=60, check=False, input="a password\n"
    )


def test_o2_a_verb_in_another_folder_refuses_and_makes_nothing(tmp_path: Path) -> None:
    user = ("admin", "create-user", "ann", "--email", "a@example.org")
    elsewhere = run(*user, cwd=tmp_path)
    before = list(tmp_path.iterdir())
    unbegun = run("admin", "create-token", "ann", "--name", "n", "--data", "new", cwd=tmp_path)
    begun = run(*user, cwd=tmp_path, KOHAKU_HUB_DATA="hub-data")
    here = run("admin", "create-token", "ann", "--name", "n", cwd=tmp_path)

    assert (elsewhere.returncode, before) == (1, [])
    assert (
        f"There is no hub in {tmp_path / 'hub-data'}. Go where it was started, or name its data directory with --data" in elsewhere.stderr
    )
    assert (unbegun.returncode, "Start it there first, with: kohakuhub serve --data new" in unbegun.stderr) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["hub-data"]
    assert (begun.returncode, here.returncode) == (0, 0), begun.stderr + here.stderr


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("base_url", "hub.example.org", "must be http:// or https:// with a host"),
        ("base_url", "https://hub.example.org/hub", "no path"),
        ("base_url", "https://hub.example.org:99999", "a port if need be"),
        ("limits", "{pack_bytes: 1}", "is not JSON"),
        ("limits", "[1]", "is not a JSON object"),
        ("limits", '{"pack_byte": 1}', "There is no limit pack_byte. Did you mean pack_bytes?"),
        ("limits", '{"pack_bytes": "2G"}', "whole numbers above zero: correct pack_bytes"),
    ],
)
def test_o5_a_wrong_setting_says_what_and_what_to_do(monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str) -> None:
    monkeypatch.setenv(f"KOHAKU_HUB_{name.upper()}", value)
    with pytest.raises(ValidationError) as raised:
        Settings()

    [shown] = problems(raised.value)
    assert shown.startswith(f"KOHAKU_HUB_{name.upper()}: ")
    assert expected in shown


def test_o5_limits_from_the_environment_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOHAKU_HUB_LIMITS", '{"pack_bytes": 7}')
    monkeypatch.setenv("KOHAKU_HUB_BASE_URL", "https://hub.example.org/")

    assert (Settings().make_limits().pack_bytes, Settings().base_url) == (7, "https://hub.example.org")


def test_o5_a_port_or_address_that_cannot_be_had() -> None:
    with closing(listen("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"Port {port} of 127.0.0.1 is in use by another program.*KOHAKU_HUB_SSH_PORT"):
            listen("127.0.0.1", port, "SSH_PORT")
    with pytest.raises(Unavailable, match=r"cannot listen on 203\.0\.113\.7 .*Set KOHAKU_HUB_HOST to an address of this machine"):
        listen("203.0.113.7", 0)


def test_o5_a_data_directory_or_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hub.sqlite3").write_text("no database, but a text that is long enough to be read as one" * 100)
    with pytest.raises(Unavailable, match=r"cannot be used .*There is a file of that name\. Choose a folder with --data"):
        build(Settings(data=tmp_path / "file"))
    with pytest.raises(Unavailable, match=r"hub\.sqlite3 is no SQLite database\. Move that file away"):
        build(Settings(data=tmp_path / "data"))


def test_o6_unknown_settings_are_named_with_the_nearest(tmp_path: Path) -> None:
    given = ["KOHAKU_HUB_BASEURL", "KOHAKU_HUB_SMTP_HOST", "KOHAKU_HUB_PORT", "kohaku_hub_port", "PATH", "KOHAKU_HUB_XYZZY"]
    told = dict(unknown_settings(given, Settings.model_fields))

    assert set(told) == {"KOHAKU_HUB_BASEURL", "KOHAKU_HUB_SMTP_HOST", "KOHAKU_HUB_XYZZY"}
    assert "Did you mean KOHAKU_HUB_BASE_URL?" in told["KOHAKU_HUB_BASEURL"]
    assert "first KohakuHub" in told["KOHAKU_HUB_SMTP_HOST"]
    assert "Did you mean" not in told["KOHAKU_HUB_XYZZY"]


def test_o6_they_are_warned_of_once_at_the_start(launcher: Any) -> None:
    running = launcher.start("--workers", "2", environment={"KOHAKU_HUB_WORKER": "2"})
    assert running.stop() == 0

    lines = [text for text in running.log.read_text().splitlines() if "KOHAKU_HUB_WORKER " in text]
    assert len(lines) == 1
    assert "WARNING KOHAKU_HUB_WORKER is ignored: there is no such setting. Did you mean KOHAKU_HUB_WORKERS?" in lines[0]


def test_o6_settings_of_a_repository_that_are_not_kept_are_refused(hub: Any) -> None:
    name = hub.repo()
    refused = hub.call("PUT", f"/api/models/{name}/settings", {"private": True, "lfs_threshold_bytes": 5_000_000})

    assert refused.status == 400
    assert "does not keep lfs_threshold_bytes for a repository, and changed nothing" in refused.json()["error"]
    assert hub.call("PUT", f"/api/models/{name}/settings", {"gated": False, "lfs_keep_versions": None}).json()["private"] is False


def test_o7_a_database_of_another_program_is_refused(postgres: Any, tmp_path: Path) -> None:
    url = postgres.create()
    with psycopg.connect(url, autocommit=True) as connection:
        for table in ('"user"', "repository", "lfsobjecthistory"):
            connection.execute(f"CREATE TABLE {table} (id INT)".encode())
        with pytest.raises(Unavailable, match=r"belongs to another program .the first KohakuHub.; give the hub a database of its own"):
            build(Settings(data=tmp_path / "data", database_url=url))
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()

    assert tables == (3,)


def test_o7_also_on_sqlite(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with closing(sqlite3.connect(tmp_path / "data" / "hub.sqlite3")) as connection:
        connection.execute("CREATE TABLE songs (id INT)")
    with pytest.raises(Unavailable, match=r"another program .it has the tables songs."):
        build(Settings(data=tmp_path / "data"))


def test_o10_without_arguments_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        line.run([])
    first = capsys.readouterr().out

    assert ended.value.code == 0
    assert "run the hub" in first
    assert line.run(["admin"]) == 0
    assert "make an account" in capsys.readouterr().out


def test_o10_a_terminal_is_asked_for_the_password(services: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["a long password", "a long passwort", "a long password", "a long password"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(admin, "getpass", lambda prompt: next(answers))
    with pytest.raises(Invalid, match="not the same"):
        admin.create_user(services, "ann", "a@example.org", is_admin=False)
    admin.create_user(services, "ann", "a@example.org", is_admin=False)

    assert services.users.check_password("ann", "a long password") is not None

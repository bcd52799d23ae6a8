"""Secrets that anybody can try are refused before anything starts."""

import secrets

import pytest
from pydantic import SecretStr, ValidationError

from hub.secret_rules import LEAST, refuse
from hub.services import signing_key
from hub.settings import Settings, problems

EXAMPLES = [
    "change-me-in-production",
    "change-this-secret-to-a-long-random-string-of-64",
    "ChangeMe_" + "a1b2c3d4" * 4,
    "minioadmin",
    "test-secret-key",
    "hubpass",
    "postgres",
    "wJal/SOMETHING/bPxRfiCYEXAMPLEKEY-0123456789",
    "THE-QUICKSTART-KEY-of-a-version-store",
    "some random secret string that is in a manual",
    "123",
    "a" * 64,
]


@pytest.mark.parametrize("value", EXAMPLES)
@pytest.mark.parametrize("name", [name for name in LEAST if name != "database_url"])
def test_examples_and_short_ones_are_refused(name: str, value: str) -> None:
    if name.endswith("access_key") and value in ("123", "a" * 64):
        refuse(name, value)  # a name, not a secret
        return
    with pytest.raises(ValueError, match="kohakuhub secrets"):
        refuse(name, value)


@pytest.mark.parametrize("value", EXAMPLES)
def test_the_password_in_the_address_of_the_database_is_looked_at(value: str) -> None:
    url = "postgresql://hub:{}@db:5432/hub"
    with pytest.raises(ValueError, match="its password"):
        refuse("database_url", url.format(value.replace("/", "%2F").replace(" ", "%20")))


def test_good_ones_pass() -> None:
    for name in LEAST:
        refuse(name, "" if name == "database_url" else secrets.token_hex(32))
    for url in ("", "postgresql://hub@db/hub", f"postgresql://hub:{secrets.token_hex(16)}@db:5432/hub", "postgresql://[bad/hub"):
        refuse("database_url", url)


def test_the_error_names_the_variable_and_the_way_out_but_not_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KOHAKU_HUB_SESSION_SECRET", "change-me-in-production")
    with pytest.raises(ValidationError) as caught:
        Settings()
    (line,) = problems(caught.value)

    assert line.startswith("KOHAKU_HUB_SESSION_SECRET: ")
    assert "openssl rand -hex 32" in line
    assert "change-me" not in line


def test_machines_with_one_session_secret_sign_alike(tmp_path_factory: pytest.TempPathFactory) -> None:
    def key(secret: str) -> bytes:
        return signing_key(Settings(session_secret=SecretStr(secret)), tmp_path_factory.mktemp("data"))

    one, other = secrets.token_hex(32), secrets.token_hex(32)

    assert key(one) == key(one)
    assert len(key(one)) == 32
    assert key(one) != key(other)
    assert key("") != key("")  # each machine its own


def test_names_of_the_first_kohakuhub(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "LFS_THRESHOLD_BYTES": 1000,
        "LFS_MULTIPART_THRESHOLD_BYTES": 2000,
        "LFS_MULTIPART_CHUNK_SIZE_BYTES": 3000,
        "SESSION_EXPIRE_HOURS": 2,
    }
    for name, value in values.items():
        monkeypatch.setenv(f"KOHAKU_HUB_{name}", str(value))
    monkeypatch.setenv("KOHAKU_HUB_INVITATION_ONLY", "true")
    limits = Settings(limits={"lfs_part_bytes": 4000}).make_limits()

    assert (limits.regular_bytes, limits.lfs_multipart_bytes, limits.session_seconds) == (1000, 2000, 7200)
    assert limits.lfs_part_bytes == 4000  # KOHAKU_HUB_LIMITS says it more exactly
    assert not Settings().may_register


def test_a_push_holds_fewer_refs_on_lakefs(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"LAKEFS_ENDPOINT": "http://lakefs:8000", "S3_ENDPOINT": "http://s3:9000", "S3_ACCESS_KEY": "key"}
    before = Settings().make_limits().ref_commands
    for name, value in (values | {"S3_SECRET_KEY": secrets.token_hex(32)}).items():
        monkeypatch.setenv(f"KOHAKU_HUB_{name}", value)

    assert (before, Settings().make_limits().ref_commands) == (100_000, 2000)
    assert Settings(limits={"ref_commands": 5000}).make_limits().ref_commands == 5000

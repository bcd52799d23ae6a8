"""Settings: `KOHAKU_HUB_*` in the environment, and the options of the command line above them. docs/settings.md describes each."""

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gitserver.receive.severities import LargeBlobs, Strictness, check_changes
from hub import secret_rules
from hub.setting_names import nearest
from storage.limits import GIB, Limits

# Names of the first KohakuHub for what is a limit here.
_LIMITS = {
    "lfs_threshold_bytes": ("regular_bytes", 1),
    "lfs_multipart_threshold_bytes": ("lfs_multipart_bytes", 1),
    "lfs_multipart_chunk_size_bytes": ("lfs_part_bytes", 1),
    "session_expire_hours": ("session_seconds", 3600),
}
_LAKEFS_REF_COMMANDS = 2000
_FSCK_EXAMPLE = 'Write for example KOHAKU_HUB_FSCK=\'{"zeroPaddedFilemode": "error"}\''
_LIMITS_EXAMPLE = "Write for example KOHAKU_HUB_LIMITS='{\"pack_bytes\": 4294967296}'"


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="KOHAKU_HUB_", extra="ignore", validate_default=True)

    host: str = "127.0.0.1"
    port: int = Field(default=28080, ge=0, le=65535)
    data: Path = Path("hub-data")
    database_url: SecretStr = SecretStr("")
    ssh_port: int | None = Field(default=None, ge=0, le=65535)
    ssh_host: str = ""
    ssh_host_key: Path | None = None
    workers: int = Field(default=1, ge=1, le=64)
    threads: int = Field(default=32, ge=2, le=512)
    workshop_processes: int = Field(default=min(4, os.cpu_count() or 1), ge=1, le=64)
    base_url: str = ""
    ui_origins: str = ""
    trust_proxy: bool = False
    session_secret: SecretStr = SecretStr("")
    registration: bool = True
    invitation_only: bool = False
    import_private: bool = False
    create_on_push: bool = True
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    s3_endpoint: str = ""
    s3_public_endpoint: str = ""
    s3_access_key: str = ""
    s3_secret_key: SecretStr = SecretStr("")
    s3_bucket: str = "hub-storage"
    s3_region: str = "us-east-1"
    s3_proxy: bool = False
    lakefs_endpoint: str = ""
    lakefs_access_key: str = ""
    lakefs_secret_key: SecretStr = SecretStr("")
    lfs_threshold_bytes: int | None = Field(default=None, gt=0)
    lfs_multipart_threshold_bytes: int | None = Field(default=None, gt=0)
    lfs_multipart_chunk_size_bytes: int | None = Field(default=None, gt=0)
    session_expire_hours: int | None = Field(default=None, gt=0)
    pack_cache_bytes: int = Field(default=10 * GIB, ge=0)
    prepared_bytes: int = Field(default=4 * GIB, ge=0)
    limits: Annotated[dict[str, int], NoDecode] = {}
    fsck: Annotated[dict[str, str], NoDecode] = {}
    refuse_large_blobs: bool = False

    @field_validator("limits", mode="before")
    @classmethod
    def _known_limits(cls, value: Any) -> Any:
        value = _json_object(value, _LIMITS_EXAMPLE)
        known = {field.name for field in dataclasses.fields(Limits)}
        if unknown := sorted(set(value) - known):
            shown = " ".join(f"There is no limit {name}.{nearest(name, known)}" for name in unknown)
            raise ValueError(f"{shown} docs/settings.md says where they stand")
        if wrong := sorted(name for name, number in value.items() if type(number) is not int or number <= 0):
            raise ValueError(f"limits are whole numbers above zero: correct {', '.join(wrong)}")
        return value

    @field_validator("fsck", mode="before")
    @classmethod
    def _known_faults(cls, value: Any) -> Any:
        changes = {fault: str(word) for fault, word in _json_object(value, _FSCK_EXAMPLE).items()}
        check_changes(changes)
        return changes

    @field_validator("base_url", "s3_endpoint", "s3_public_endpoint", "lakefs_endpoint")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and not _is_address(value):
            raise ValueError("must be http:// or https:// with a host, and a port if need be; no path. For example https://hub.example.org")
        return value.rstrip("/")

    @field_validator("ui_origins")
    @classmethod
    def _origins(cls, value: str) -> str:
        origins = [origin.strip().lower().rstrip("/") for origin in value.split(",") if origin.strip()]
        if wrong := [origin for origin in origins if not re.fullmatch(r"https?://[a-z0-9.:\[\]-]+", origin)]:
            raise ValueError(f"{wrong[0][:80]!r} is no origin; write http://HOST:PORT, several with commas between them")
        return ",".join(origins)

    @property
    def own_origins(self) -> frozenset[str]:
        return frozenset(filter(None, self.ui_origins.split(",")))

    @field_validator("s3_secret_key", mode="after")
    @classmethod
    def _s3_keys(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.data.get("s3_endpoint") and not (info.data.get("s3_access_key") and value.get_secret_value()):
            raise ValueError("S3 needs KOHAKU_HUB_S3_ACCESS_KEY and KOHAKU_HUB_S3_SECRET_KEY")
        return value

    @field_validator(*secret_rules.LEAST, check_fields=False)
    @classmethod
    def _no_example(cls, value: SecretStr | str, info: ValidationInfo) -> SecretStr | str:
        secret_rules.refuse(info.field_name or "", value if isinstance(value, str) else value.get_secret_value())
        return value

    @property
    def may_register(self) -> bool:
        return self.registration and not self.invitation_only

    @field_validator("lakefs_secret_key", mode="after")
    @classmethod
    def _lakefs_keys(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.data.get("lakefs_endpoint") and not info.data.get("s3_endpoint"):
            raise ValueError("LakeFS needs S3, where its objects lie: set KOHAKU_HUB_S3_ENDPOINT and the S3 keys")
        if bool(info.data.get("lakefs_access_key")) != bool(value.get_secret_value()):
            raise ValueError("set both KOHAKU_HUB_LAKEFS_ACCESS_KEY and KOHAKU_HUB_LAKEFS_SECRET_KEY, or none of them")
        return value

    @property
    def strictness(self) -> Strictness:
        """How pushes are judged."""
        return Strictness(check_changes(self.fsck), LargeBlobs.REFUSE if self.refuse_large_blobs else LargeBlobs.WARN)

    def make_limits(self) -> Limits:
        given = {limit: getattr(self, name) * unit for name, (limit, unit) in _LIMITS.items() if getattr(self, name) is not None}
        if self.lakefs_endpoint:
            given["ref_commands"] = _LAKEFS_REF_COMMANDS
        return Limits(**(given | self.limits))


def _json_object(value: Any, example: str) -> dict[str, Any]:
    """Text comes from the environment, where it is JSON. Raises ValueError."""
    if isinstance(value, str):
        try:
            value = json.loads(value or "{}")
        except ValueError as error:
            raise ValueError(f"is not JSON ({error}). {example}") from error
    if not isinstance(value, dict):
        raise ValueError(f"is not a JSON object. {example}")
    return value


def _is_address(value: str) -> bool:
    if not re.fullmatch(r"https?://[^/?#@\s]+/?", value):
        return False
    try:
        parts = urlsplit(value)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        return False


def problems(error: ValidationError) -> list[str]:
    """One line for each wrong setting, by the name of its variable, without its value."""
    return [
        f"{_variable(problem['loc'])}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in error.errors(include_url=False, include_input=False)
    ]


def _variable(place: tuple[int | str, ...]) -> str:
    return f"KOHAKU_HUB_{str(place[0]).upper()}" if place else "settings"

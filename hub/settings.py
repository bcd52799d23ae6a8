"""Settings: `KOHAKU_HUB_*` in the environment, and the options of the command line above them. docs/settings.md describes each."""

import dataclasses
import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from storage.limits import GIB, Limits


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="KOHAKU_HUB_", extra="ignore", validate_default=True)

    host: str = "127.0.0.1"
    port: int = Field(default=28080, ge=0, le=65535)
    data: Path = Path("hub-data")
    database_url: SecretStr = SecretStr("")
    workers: int = Field(default=1, ge=1, le=64)
    threads: int = Field(default=32, ge=2, le=512)
    base_url: str = ""
    trust_proxy: bool = False
    registration: bool = True
    log_format: Literal["text", "json"] = "text"
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
    pack_cache_bytes: int = Field(default=10 * GIB, ge=0)
    limits: dict[str, int] = {}

    @field_validator("limits")
    @classmethod
    def _known_limits(cls, value: dict[str, int]) -> dict[str, int]:
        known = {field.name for field in dataclasses.fields(Limits)}
        if unknown := sorted(set(value) - known):
            raise ValueError(f"unknown limits {', '.join(unknown)}; known are {', '.join(sorted(known))}")
        if wrong := sorted(name for name, number in value.items() if number <= 0):
            raise ValueError(f"limits must be above zero: {', '.join(wrong)}")
        return value

    @field_validator("s3_endpoint", "s3_public_endpoint", "lakefs_endpoint")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^/?#@\s]+/?", value):
            raise ValueError("must be http:// or https:// with a host, and a port if need be; no path")
        return value.rstrip("/")

    @field_validator("s3_secret_key", mode="after")
    @classmethod
    def _s3_keys(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.data.get("s3_endpoint") and not (info.data.get("s3_access_key") and value.get_secret_value()):
            raise ValueError("S3 needs KOHAKU_HUB_S3_ACCESS_KEY and KOHAKU_HUB_S3_SECRET_KEY")
        return value

    @field_validator("lakefs_secret_key", mode="after")
    @classmethod
    def _lakefs_keys(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if info.data.get("lakefs_endpoint") and not info.data.get("s3_endpoint"):
            raise ValueError("LakeFS needs S3, where its objects lie: set KOHAKU_HUB_S3_ENDPOINT and the S3 keys")
        if bool(info.data.get("lakefs_access_key")) != bool(value.get_secret_value()):
            raise ValueError("set both KOHAKU_HUB_LAKEFS_ACCESS_KEY and KOHAKU_HUB_LAKEFS_SECRET_KEY, or none of them")
        return value

    def make_limits(self) -> Limits:
        return Limits(**self.limits)

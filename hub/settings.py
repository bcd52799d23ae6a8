"""Settings: `KOHAKU_HUB_*` in the environment, and the options of the command line above them. docs/settings.md describes each."""

import dataclasses
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from storage.limits import Limits


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="KOHAKU_HUB_", extra="ignore")

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

    def make_limits(self) -> Limits:
        return Limits(**self.limits)

"""The example compose file as compose reads it: merged, and with the variables of an env file put in."""

import re
from pathlib import Path
from typing import Any

import yaml

EXAMPLE = Path(__file__).parent.parent.parent / "docker-compose.example.yml"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


class Missing(Exception):
    """A variable that must be there."""


def read_env(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


def document(variables: dict[str, str]) -> dict[str, Any]:
    """All of it; raises Missing with compose's message."""
    filled = _fill(yaml.safe_load(EXAMPLE.read_text("utf-8")), variables)
    assert isinstance(filled, dict)
    return filled


def services(variables: dict[str, str]) -> dict[str, Any]:
    return dict(document(variables)["services"])


def _fill(value: object, variables: dict[str, str]) -> object:
    if isinstance(value, dict):
        return {key: _fill(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, variables) for item in value]
    return _VARIABLE.sub(lambda found: _value(found, variables), value) if isinstance(value, str) else value


def _value(found: re.Match[str], variables: dict[str, str]) -> str:
    name, sign, rest = found.groups()
    if variables.get(name):
        return variables[name]
    if sign == "?":
        raise Missing(f"{name}: {rest}")
    return rest or ""

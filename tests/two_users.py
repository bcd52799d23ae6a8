"""Services with passwords that are quick to check, and alice and bob, made as `kohakuhub admin create-user` and `create-token` do."""

import os
from pathlib import Path
from unittest import mock

from accounts.identity.passwords import Passwords
from hub.services import Services, build
from hub.settings import Settings
from storage.records import Scope

PASSWORD = "correct horse battery"


QUICK = {"time_cost": 1, "memory_kib": 8}  # a password as the hub keeps it takes a quarter of a second


def quick_build(settings: Settings) -> Services:
    with mock.patch("hub.services.Passwords", return_value=Passwords(**QUICK)):
        return build(settings)


def make_users(data: Path, environment: dict[str, str]) -> dict[str, str]:
    """Their tokens by name. Not by the command, which starts four times for it."""
    with mock.patch.dict(os.environ, environment):
        services = quick_build(Settings(data=data))
    try:
        return {name: _make(services, name) for name in ("alice", "bob")}
    finally:
        services.close()


def _make(services: Services, name: str) -> str:
    user = services.users.create(name, f"{name}@example.org", PASSWORD, is_admin=False)
    return services.tokens.create(user.id, "tests", Scope.WRITE).text

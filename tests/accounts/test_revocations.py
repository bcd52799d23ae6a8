"""H14: what was taken back is over at once, also for a worker that remembers it."""

import base64
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hub.services import Services, build
from storage.errors import Unauthenticated
from storage.records import Principal, Scope

PASSWORD = "long enough"


@pytest.fixture
def other(services: Services) -> Iterator[Services]:
    """Another worker on the same rows."""
    built = build(services.settings)
    yield built
    built.close()


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass on the clock that credentials are remembered by."""
    real, shift = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + shift[0])

    def pass_by(seconds: float) -> None:
        shift[0] += seconds

    return pass_by


def admit(services: Services, authorization: str) -> Principal:
    return services.authenticator.admit({"Authorization": authorization}, {}, "192.0.2.1")


def basic(name: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()


def take_token(services: Services, ann: Any) -> None:
    services.tokens.delete(ann.id, services.tokens.list(ann.id)[0].id)


def change_password(services: Services, ann: Any) -> None:
    services.users.set_password("Ann", "another password")


def disable(services: Services, ann: Any) -> None:
    services.users.set_active("ann", is_active=False)


@pytest.mark.parametrize(
    ("change", "bearer"),
    [(take_token, True), (change_password, False), (disable, True), (disable, False)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_h14_a_credential_that_is_taken_back_ends_at_once(
    services: Services, other: Services, later: Callable[[float], None], change: Callable[[Services, Any], None], bearer: bool
) -> None:
    ann = services.users.create("ann", "ann@example.org", PASSWORD)
    token = services.tokens.create(ann.id, "t", Scope.READ)
    shown = f"Bearer {token.text}" if bearer else basic("ann", PASSWORD)
    assert [admit(worker, shown).name for worker in (services, other)] == ["ann", "ann"]

    change(services, ann)
    with pytest.raises(Unauthenticated):
        admit(services, shown)
    later(0.9)
    with pytest.raises(Unauthenticated):
        admit(other, shown)


def test_h14_a_remembered_token_ends_in_time(services: Services, later: Callable[[float], None], monkeypatch: pytest.MonkeyPatch) -> None:
    ann = services.users.create("ann", "ann@example.org", PASSWORD)
    now = time.time_ns()
    token = services.tokens.create(ann.id, "t", Scope.READ, now // 1000 + 2_000_000)
    assert admit(services, f"Bearer {token.text}").name == "ann"
    monkeypatch.setattr(time, "time_ns", lambda: now + 3 * 10**9)
    later(2.5)

    with pytest.raises(Unauthenticated):
        admit(services, f"Bearer {token.text}")


def test_h14_a_new_password_ends_the_sessions_of_the_old_one(services: Services) -> None:
    ann = services.users.create("ann", "ann@example.org", PASSWORD)
    cookie = services.accounts.sessions.start(ann.id)
    services.users.set_password("ann", "another password")

    assert services.authenticator.admit({}, {"session_id": cookie}, "192.0.2.1").is_anonymous

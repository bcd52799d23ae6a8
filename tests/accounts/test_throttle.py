"""Guesses are counted, by account and by address."""

from typing import Any

import pytest

from storage.errors import Throttled, Unauthenticated
from storage.records import Scope


def test_ten_wrong_passwords_close_an_account_for_a_while(services: Any) -> None:
    user = services.users.create("ann", "ann@example.org", "long enough")
    services.users.create("ben", "ben@example.org", "long enough")
    token = services.tokens.create(user.id, "t", Scope.READ)
    for number in range(services.limits.guesses_account):
        with pytest.raises(Unauthenticated):
            services.authenticator.sign_in("Ann", "wrong guess", f"192.0.2.{number}")

    with pytest.raises(Throttled) as refused:
        services.authenticator.sign_in("ann", "long enough", "192.0.2.99")
    assert refused.value.retry_after == services.limits.guess_window_seconds
    assert services.authenticator.sign_in("ben", "long enough", "192.0.2.99").name == "ben"
    admitted = services.authenticator.admit({"Authorization": f"Bearer {token.text}"}, {}, "192.0.2.1")
    assert admitted.name == "ann"


def test_an_address_that_guesses_tokens_is_slowed_down_but_a_right_token_still_works(services: Any) -> None:
    user = services.users.create("ann", "ann@example.org", "long enough")
    token = services.tokens.create(user.id, "t", Scope.READ)
    for number in range(services.limits.guesses_address):
        with pytest.raises(Unauthenticated):
            services.authenticator.admit({"Authorization": f"Bearer hf_{number}"}, {}, "192.0.2.7")

    with pytest.raises(Throttled):
        services.authenticator.admit({"Authorization": "Bearer hf_more"}, {}, "192.0.2.7")
    assert services.authenticator.admit({"Authorization": f"Bearer {token.text}"}, {}, "192.0.2.7").name == "ann"

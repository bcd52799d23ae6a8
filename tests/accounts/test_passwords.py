"""Passwords: what a check says, and that it costs the same where there is no such user."""

from argon2 import extract_parameters

from accounts.identity.passwords import Passwords


def test_who_is_not_there_takes_as_long() -> None:
    passwords = Passwords(time_cost=2, memory_kib=1024)
    stored = passwords.hash("long enough")

    assert extract_parameters(passwords._decoy) == extract_parameters(stored)
    assert passwords.verify("long enough", stored)
    assert not passwords.verify("long enough!", stored)
    assert not passwords.verify("long enough", None)

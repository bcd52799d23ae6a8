"""Passwords, hashed with argon2id (RFC 9106, the library's low-memory profile)."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from storage.errors import Invalid

_SHORTEST, _LONGEST = 8, 256


class Passwords:
    def __init__(self, *, time_cost: int = 3, memory_kib: int = 65536) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        # Salt and digest of a name that does not exist, all zeros: the time that a check takes does not tell it.
        self._decoy = f"$argon2id$v=19$m={memory_kib},t={time_cost},p=1${'A' * 22}${'A' * 43}"

    def hash(self, password: str) -> str:
        """Raises Invalid for a password that is too short or too long."""
        if not _SHORTEST <= len(password) <= _LONGEST:
            raise Invalid(f"The password has {len(password)} characters; {_SHORTEST} to {_LONGEST} are allowed.")
        return self._hasher.hash(password)

    def verify(self, password: str, stored: str | None) -> bool:
        """Whether it is the password; `stored` None (no such user) takes as long and is never right."""
        try:
            return self._hasher.verify(stored or self._decoy, password[: _LONGEST + 1]) and stored is not None
        except (VerificationError, InvalidHashError):
            return False

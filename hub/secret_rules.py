"""What is refused as a secret: what is too short, and what stands in examples and documentation, which anybody can try."""

import re
from urllib.parse import unquote, urlsplit

# By the name of the setting: the least length. Access keys are names rather than secrets, but examples are refused there too.
LEAST = {
    "session_secret": 32,
    "s3_access_key": 3,
    "s3_secret_key": 16,
    "lakefs_access_key": 3,
    "lakefs_secret_key": 16,
    "database_url": 8,
    "s3_console_password": 16,
    "postgres_password": 16,
    "hub_database_password": 16,
    "lakefs_database_password": 16,
    "lakefs_auth_encrypt_secret_key": 32,
    "lakefs_blockstore_signing_secret_key": 32,
}
_EXAMPLE = re.compile(
    r"""(change|replace)[\W_]?(me|this|it)|your[\W_]?(own|secret|key|password)|example|quickstart|placeholder|some[\W_]random|in[\W_]production
    |^test[\W_]|^(minio|rustfs)?admin\d*$|^(hub|kohaku|kohakuhub|lakefs|minio|postgres|root|user)?[\W_]?(pass|password|secret|passwd)\d*$
    |^(hub|kohaku|kohakuhub|lakefs|minio|postgres|root)$|^(1234|qwerty)""",
    re.IGNORECASE | re.VERBOSE,
)
_FEW = 4  # different characters


def refuse(setting: str, value: str) -> None:
    """Raises ValueError, without the value. An empty one is no secret: whether one is needed is asked elsewhere."""
    secret = _password(value) if setting == "database_url" else value
    if not secret:
        return
    if _EXAMPLE.search(secret):
        reason = "is an example that anybody can try"
    elif len(secret) < LEAST[setting]:
        reason = f"is shorter than {LEAST[setting]} characters"
    elif len(set(secret)) < _FEW and LEAST[setting] > _FEW:
        reason = "is one that is easily guessed"
    else:
        return
    what = "its password" if setting == "database_url" else "the value"
    raise ValueError(f"{what} {reason}. Make a new one with: openssl rand -hex 32 (or all of them with: kohakuhub secrets)")


def _password(url: str) -> str:
    """Empty where the address has none, or is none: the database says so."""
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return ""

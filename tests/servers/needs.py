"""What happens to a test whose server is not here."""

import os

import pytest


def need(missing: str) -> None:
    """Skips visibly, or fails in CI, which must have all servers. `missing` says what there is to do; nothing happens when it is empty."""
    if missing and os.environ.get("CI"):
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)

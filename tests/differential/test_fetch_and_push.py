"""The hub against C git: random histories, random fetches and pushes, the same outcome.

By hand: FUZZ_SEEDS=1000-1100 FUZZ_STEPS=60 .venv/bin/python -m pytest tests/differential
"""

import os
from pathlib import Path

import pytest

from tests.differential.backend import Backend
from tests.differential.game import Game
from tests.harness.hubs import Hub

FIRST, _, LAST = os.environ.get("FUZZ_SEEDS", "1-6").partition("-")
STEPS = int(os.environ.get("FUZZ_STEPS", "25"))


@pytest.mark.parametrize("seed", range(int(FIRST), int(LAST or FIRST) + 1))
def test_same_as_git(hub: Hub, backend: Backend, tmp_path: Path, seed: int) -> None:
    name = hub.repo()
    game = Game(tmp_path, seed, (hub.git_url(name), backend.make(name.replace("/", "-"))))
    try:
        game.start()
        for _ in range(STEPS):
            game.step()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}\n\nsteps:\n" + "\n".join(game.log)) from error

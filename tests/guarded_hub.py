"""The `kohakuhub` command with a guard: whatever blocks the event loop raises, the view answers 500, and the test that called it fails."""

import sys

from blockbuster import BlockBuster

from hub import cli

if __name__ == "__main__":
    guard = BlockBuster()
    guard.activate()
    sys.exit(cli.run(sys.argv[1:]))

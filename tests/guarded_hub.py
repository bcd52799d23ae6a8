"""The `kohakuhub` command with a guard: whatever blocks the event loop raises, the view answers 500, and the test that called it fails."""

import sys

from blockbuster import BlockBuster

from hub import cli


def main() -> int:
    guard = BlockBuster()
    guard.activate()
    try:
        return cli.run(sys.argv[1:])
    finally:
        guard.deactivate()


if __name__ == "__main__":
    sys.exit(main())

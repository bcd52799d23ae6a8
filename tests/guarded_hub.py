"""The `kohakuhub` command with a guard: whatever blocks the event loop raises, the view answers 500, and the test that called it fails."""

import sys

from hub.command import line


def main() -> int:
    from blockbuster import BlockBuster  # not for the processes of the process pool, which import this module too

    guard = BlockBuster()
    guard.activate()
    try:
        return line.run(sys.argv[1:])
    finally:
        guard.deactivate()


if __name__ == "__main__":
    sys.exit(main())

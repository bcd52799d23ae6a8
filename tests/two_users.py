"""Makes alice and bob in one process and prints a token of each: python -m tests.two_users DATA. The command would start four times."""

import sys
from pathlib import Path

from hub.services import build
from hub.settings import Settings
from storage.records import Scope

PASSWORD = "correct horse battery"


def main(data: Path) -> None:
    services = build(Settings(data=data))
    try:
        for name in ("alice", "bob"):
            user = services.users.create(name, f"{name}@example.org", PASSWORD, is_admin=False)
            token = services.tokens.create(user.id, "tests", Scope.WRITE).text
            sys.stdout.write(f"{name} {token}\n")
    finally:
        services.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

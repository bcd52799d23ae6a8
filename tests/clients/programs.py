"""The clients that are no Hugging Face ones: where their programs lie, and what there is to do before they run."""

import shutil
from collections.abc import Callable
from pathlib import Path

_HERE = Path(__file__).parent
_INSTALLED = _HERE.parent.parent / ".venv"
PYGIT2 = _INSTALLED / "clients" / "pygit2" / "bin" / "python"
NODE_CLIENTS = _INSTALLED / "clients" / "node"
GOGIT = _INSTALLED / "bin" / "gogit"
_NODE_MAJOR = 20


def without_node() -> str:
    """Why this machine cannot have them; empty when it can."""
    found = shutil.which("node") and shutil.which("npm")
    return "" if found else f"there is no Node.js {_NODE_MAJOR} on this machine: the JavaScript clients are left out"


def without_go() -> str:
    has = shutil.which("go") or Path("/usr/local/go/bin/go").exists() or GOGIT.exists()
    return "" if has else "there is no Go 1.26 on this machine: the client on go-git is left out"


def missing_pygit2() -> str:
    return "" if PYGIT2.exists() else "pygit2 is not here for the tests: run sh tests/clients/install.sh pygit2"


def missing_node_clients() -> str:
    return (
        "" if (NODE_CLIENTS / "installed").exists() else "the JavaScript clients are not here for the tests: run sh tests/clients/node.sh"
    )


def missing_gogit() -> str:
    return "" if GOGIT.exists() else "the client on go-git is not here for the tests: run sh tests/clients/gogit.sh"


MISSING: dict[str, Callable[[], str]] = {"pygit2": missing_pygit2, "node": missing_node_clients, "gogit": missing_gogit}

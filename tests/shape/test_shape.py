"""How the code must look, as far as a machine can tell (CONTRIBUTING.md)."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from httpapi.endpoint import Endpoint
from hub.app import endpoints
from hub.command.line import make_parser
from hub.settings import Settings

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("accounts", "gitserver", "hfcompat", "httpapi", "hub", "hubapi", "lfs", "storage")
BANNED = {"utils", "util", "helpers", "helper", "common", "misc_utils", "manager"}
FUNCTION_LINES, FILE_LINES, FOLDER_MODULES, FOLDER_DEPTH = 40, 400, 14, 3


def modules(*roots: str) -> list[Path]:
    found = [path for root in roots for path in (ROOT / root).rglob("*.py")]
    return sorted(path for path in found if not {"git", "lfs"} & set(path.relative_to(ROOT).parts[2:3]) or "conformance" not in path.parts)


CODE = modules(*PACKAGES)


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", modules(*PACKAGES, "tests"), ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes(path: Path) -> None:
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions(path)}
    long = {name: length for name, length in lengths.items() if length > FUNCTION_LINES}

    assert long == {}
    assert len(path.read_text("utf-8").splitlines()) <= FILE_LINES


def test_folders_are_small_and_flat() -> None:
    folders: dict[Path, int] = {}
    for path in CODE:
        folders[path.parent] = folders.get(path.parent, 0) + (path.name != "__init__.py")

    assert {str(folder): count for folder, count in folders.items() if count > FOLDER_MODULES} == {}
    assert [str(folder) for folder in folders if len(folder.relative_to(ROOT).parts) > FOLDER_DEPTH] == []


def test_public_class_names_are_unique() -> None:
    places: dict[str, list[str]] = {}
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))

    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_drawers() -> None:
    assert [str(path) for path in CODE if path.stem in BANNED] == []


def test_modules_say_what_they_are() -> None:
    silent = [str(path) for path in CODE if path.stat().st_size and not ast.get_docstring(ast.parse(path.read_text("utf-8")))]

    assert silent == []


def test_the_paths_of_the_architecture_page_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    paths = set(re.findall(r"`((?:accounts|docs|gitserver|hfcompat|httpapi|hub|hubapi|lfs|storage|tests)/[\w/.]*)`", text))

    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert {"storage/limits.py", "hub/jobs.py", "hub/app.py", "gitserver/update/ref_policy.py"} <= paths


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")

    assert [name for name in Settings.model_fields if f"KOHAKU_HUB_{name.upper()}" not in text] == []


def test_every_verb_and_option_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    shown = make_parser().format_help()
    tasks = ("create-user", "create-token", "create-bucket", "add-ssh-key", "check")
    for verb in ("serve", "doctor", "secrets", *(f"admin {task}" for task in tasks)):
        assert f"kohakuhub {verb}" in text
    source = (ROOT / "hub" / "command" / "line.py").read_text("utf-8")
    options = set(re.findall(r"--[a-z-]+", source)) | set(re.findall(r"--[a-z]+", shown))

    assert sorted(option for option in options if option not in text and option != "--help") == []


def test_the_command_imports_little_before_it_is_called() -> None:
    """Each process of the process pool begins with the command's module."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, hub.command.line; print(*sys.modules)"], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout.split()

    assert {"aiohttp", "asyncio", "dulwich", "pydantic", "hub.services"} & set(loaded) == set()


def test_verbs_import_no_web_server() -> None:
    """An operator's verb starts in a third of a second."""
    code = "import sys, hub.command.verbs, hub.command.admin; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout.split()

    assert {"aiohttp", "asyncssh", "boto3", "lakefs_sdk", "psycopg"} & set(loaded) == set()


def test_no_machine_path_in_the_repository() -> None:
    pattern = re.compile(r"/(?:home|root|work)/[a-z]")
    found = [str(path) for path in [*CODE, ROOT / "README.md", ROOT / "Makefile"] if pattern.search(path.read_text("utf-8"))]

    assert found == []


def test_every_route_is_documented(services: Any) -> None:
    text = (ROOT / "docs" / "routes.md").read_text("utf-8").replace("&#124;", "|")
    lines = [line for line in text.splitlines() if line.startswith("| ")]

    def is_shown(row: Endpoint) -> bool:
        ending = f"| `{row.path}` | {row.needs.name.lower()} |"
        return any(line.endswith(ending) and row.method in line.split("|")[1] for line in lines)

    assert [f"{row.method} {row.path}" for row in endpoints(services) if not is_shown(row)] == []

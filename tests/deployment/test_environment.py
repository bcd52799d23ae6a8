"""`kohakuhub secrets`, and deploy.sh with a docker that only notes what it is asked."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from hub.command.line import run
from hub.deployment.environment import NAMES
from tests.deployment.compose import read_env
from tests.deployment.stack import ROOT

FAKE_DOCKER = """#!/bin/sh
echo "$@" >> "$NOTES"
case "$*" in
    info) exit ${ENGINE:-0} ;;
    *"secrets -") exec kohakuhub secrets - ;;
    *"--check -") exec kohakuhub secrets --check - ;;
    *wget*) exit ${READY:-0} ;;
esac
"""


def test_every_secret_is_made_once_for_its_owner_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "env"
    assert run(["secrets", str(path)]) == 0
    text = path.read_text()
    values = read_env(text)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(values) == {*NAMES, "COMPOSE_PROFILES"}
    assert len(set(values.values())) == len(values)
    assert run(["secrets", "--check", str(path)]) == 0
    assert run(["secrets", str(path)]) == 1
    assert path.read_text() == text
    shown = capsys.readouterr()
    assert "not overwritten" in shown.err
    assert not [name for name, value in values.items() if value in shown.out + shown.err]


@pytest.mark.parametrize("name", NAMES)
def test_bad_ones_are_found(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "env"
    run(["secrets", str(path)])
    good = path.read_text()
    for bad in ("", "changeme-changeme-changeme-changeme-changeme"):
        path.write_text("".join(f"{name}={bad}\n" if line.startswith(f"{name}=") else line for line in good.splitlines(keepends=True)))
        assert run(["secrets", "--check", str(path)]) == 1
        shown = capsys.readouterr().err
        assert f"{name}: " in shown
        assert "openssl rand -hex 32" in shown
        assert not bad or bad not in shown


class Place:
    """A checkout with a docker of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "hub"
        self.folder.mkdir()
        self.notes = folder / "notes"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("deploy.sh", "docker-compose.example.yml"):
            (self.folder / name).write_bytes((ROOT / name).read_bytes())
        docker = self.bin / "docker"
        docker.write_text(FAKE_DOCKER)
        docker.chmod(0o755)

    def deploy(self, **environment: str) -> "subprocess.CompletedProcess[str]":
        path = f"{self.bin}{os.pathsep}{ROOT / '.venv' / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"
        given = {"PATH": path, "NOTES": str(self.notes), "DEPLOY_WAIT_SECONDS": "0", **environment}
        return subprocess.run(["/bin/sh", "deploy.sh"], cwd=self.folder, env=given, capture_output=True, text=True, timeout=60, check=False)


def test_deploy_makes_what_is_missing_and_starts_everything(tmp_path: Path) -> None:
    place = Place(tmp_path)
    first = place.deploy()
    secrets, compose = (place.folder / ".env").read_text(), place.folder / "docker-compose.yml"
    compose.write_text(compose.read_text() + "# mine\n")
    second = place.deploy()

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "http://localhost:28080" in first.stdout
    assert stat.S_IMODE((place.folder / ".env").stat().st_mode) == 0o600
    assert set(read_env(secrets)) == {*NAMES, "COMPOSE_PROFILES"}
    assert (place.folder / ".env").read_text() == secrets
    assert compose.read_text().endswith("# mine\n")
    assert sorted(path.name for path in place.folder.iterdir()) == [".env", "deploy.sh", "docker-compose.example.yml", "docker-compose.yml"]
    assert place.notes.read_text().count("compose up -d --build") == 2


def test_deploy_says_what_is_wrong(tmp_path: Path) -> None:
    place = Place(tmp_path)
    engine = place.deploy(ENGINE="1")
    not_ready = place.deploy(READY="1")
    (place.folder / ".env").write_text("POSTGRES_PASSWORD=postgres\n")
    weak = place.deploy()
    older = (place.folder / ".env").read_text()
    (place.bin / "docker").unlink()
    for name in ("cp", "dirname"):
        (place.bin / name).symlink_to(f"/usr/bin/{name}")
    absent = place.deploy(PATH=str(place.bin)) if not Path("/bin/docker").exists() else None

    assert engine.returncode == not_ready.returncode == weak.returncode == 1
    assert older == "POSTGRES_PASSWORD=postgres\n\nCOMPOSE_PROFILES=seaweedfs\n"  # o12: a file from before stays with its S3 server
    assert "the docker engine does not answer" in engine.stderr
    assert "not ready after 0 seconds" in not_ready.stderr
    assert "POSTGRES_PASSWORD: the value is an example" in weak.stderr
    assert absent is None or "docker is not installed" in absent.stderr

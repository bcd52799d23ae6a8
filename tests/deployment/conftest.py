"""One hub by gunicorn with two workers, and nginx with the shipped configuration in front."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Machine
from tests.deployment.stack import SHIPPED, behind, start_gunicorn, start_nginx
from tests.harness.hubs import Launcher
from tests.servers.nginx import NginxServer


@pytest.fixture(scope="session")
def gunicorn_hub(tmp_path_factory: pytest.TempPathFactory, new_launcher: Any) -> Iterator[Any]:
    launcher = new_launcher(tmp_path_factory.mktemp("gunicorn") / "data")
    launcher.users()
    running = start_gunicorn(launcher)
    yield running
    assert running.stop() == 0
    unexpected = [line for line in running.log.read_text("utf-8").splitlines() if "unexpected error" in line]
    assert not unexpected, unexpected


@pytest.fixture(scope="session")
def nginx(tmp_path_factory: pytest.TempPathFactory, gunicorn_hub: Any, nginx_program: None) -> Iterator[NginxServer]:
    server = start_nginx(tmp_path_factory.mktemp("nginx") / "shipped", gunicorn_hub.url)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def hub(gunicorn_hub: Any, nginx: NginxServer) -> Any:
    return behind(gunicorn_hub, nginx)


@pytest.fixture
def make_nginx(tmp_path: Path, gunicorn_hub: Any, nginx_program: None) -> Iterator[Callable[..., NginxServer]]:
    """nginx in front of the same hub, with changed lines."""
    made: list[NginxServer] = []

    def make(text: str = SHIPPED, upstream: str = "") -> NginxServer:
        made.append(start_nginx(tmp_path / f"nginx{len(made)}", upstream or gunicorn_hub.url, text))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    """As the image starts it."""
    made = Launcher(tmp_path / "data", is_real=True)
    yield made
    made.close()


@pytest.fixture
def machine(hub: Any, tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine", hub)


@pytest.fixture
def by_gunicorn() -> Iterator[Callable[..., Any]]:
    """Starts hubs; those that the test did not stop are killed."""
    made: list[Any] = []

    def start(launcher: Any, **settings: str) -> Any:
        made.append(start_gunicorn(launcher, **settings))
        return made[-1]

    yield start
    for hub in made:
        if hub.process.poll() is None:
            hub.process.kill()
            hub.process.wait(30)

"""The example compose file: by the compose specification, by the rules of the deployment, and with its own processes, without docker."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from compose_spec import PyCompose

from hub.deployment import environment
from tests.acceptance.conftest import Machine
from tests.deployment.compose import Missing, document, read_env, services
from tests.deployment.stack import ROOT, behind, start_nginx
from tests.deployment.test_doctor import doctor, wrong
from tests.harness.hubs import COMMAND, Hub, Launcher
from tests.servers import postgres, s3
from tests.servers.lakefs import PROGRAM as LAKEFS
from tests.servers.needs import need
from tests.servers.postgres import INSTALLED, PostgresServer, free_port
from tests.two_users import PASSWORD

SECRETS = read_env(environment.make())
MIB = 1 << 20
S3_PORTS = ["29001", "29000"]


def test_it_follows_the_specification() -> None:
    compose = PyCompose.from_yaml(yaml.safe_dump(document(SECRETS)))
    compose.validate()

    with pytest.raises(ValueError, match="restarts"):
        PyCompose.from_yaml(yaml.safe_dump({"services": {"a": {"image": "b", "restarts": "always"}}}))
    assert set(compose.service_names()) == {"hub-ui", "hub-api", "hub-setup", "lakefs", "s3", "s3-console", "minio", "postgres"}


def test_one_port_is_published_and_no_secret_has_a_default() -> None:
    made = services(SECRETS)

    assert {name: service.get("ports") for name, service in made.items() if "ports" in service} == {"hub-ui": ["0.0.0.0:28080:80"]}
    exposed = {name: service["expose"] for name, service in made.items() if "expose" in service}
    assert exposed == {"hub-api": ["48888"], "lakefs": ["28000"], "s3": S3_PORTS, "minio": S3_PORTS, "postgres": ["25432"]}
    for name in environment.NAMES:
        with pytest.raises(Missing, match=f"{name}: make the file .env first"):
            services({**SECRETS, name: ""})


def test_every_service_is_watched_and_pinned_and_restarts() -> None:
    for name, service in services(SECRETS).items():
        assert service["restart"] == ("no" if name == "hub-setup" else "unless-stopped")
        assert "no-new-privileges:true" in service["security_opt"]
        assert (":" in service["image"] and not service["image"].endswith(":latest")) or service["image"] == "kohakuhub-api"
        for other, wanted in service.get("depends_on", {}).items():
            is_watched = "healthcheck" in services(SECRETS)[other] or other in ("hub-api", "hub-setup")  # by the image; by its end
            assert wanted["condition"] in ("service_healthy", "service_completed_successfully")
            assert is_watched


@pytest.mark.parametrize(("profile", "running", "resting"), [("seaweedfs", "s3", "minio"), ("minio", "minio", "s3")])
def test_o12_a_profile_chooses_the_s3_server(profile: str, running: str, resting: str) -> None:
    """Of the two one runs, reached by the same address, and nobody waits for the other."""
    made = services(SECRETS)
    enabled = {name for name, service in made.items() if profile in service.get("profiles", [profile])}

    assert SECRETS["COMPOSE_PROFILES"] == "seaweedfs"
    assert (running in enabled, resting in enabled) == (True, False)
    networks = made[running]["networks"]
    assert "s3" in {running, *(networks["hub-net"]["aliases"] if isinstance(networks, dict) else [])}
    for name in enabled:
        for other, wanted in made[name].get("depends_on", {}).items():
            assert other in enabled or wanted.get("required") is False, (name, other)


def test_o12_minio_has_the_secrets_of_the_hub_and_its_own_disk() -> None:
    made = services(SECRETS)
    keys = (SECRETS["KOHAKU_HUB_S3_ACCESS_KEY"], SECRETS["KOHAKU_HUB_S3_SECRET_KEY"])

    assert (made["minio"]["environment"]["MINIO_ROOT_USER"], made["minio"]["environment"]["MINIO_ROOT_PASSWORD"]) == keys
    assert len(keys[0]) >= 3
    assert len(keys[1]) >= 8  # MinIO's own rules
    assert {":29001", ":29000"} <= set(made["minio"]["command"])
    assert not set(made["minio"]["volumes"]) & set(made["s3"]["volumes"])


def test_what_is_private_is_not_in_git_nor_in_the_image() -> None:
    ignored = (ROOT / ".gitignore").read_text("utf-8").splitlines()

    assert {".env", "docker-compose.yml"} <= set(ignored)
    assert (ROOT / ".dockerignore").read_text("utf-8").splitlines()[1] == "*"


class Deployment:
    """The services of the file as processes; `ports` is where each address of the compose network lies here."""

    def __init__(self, folder: Path, started: ExitStack) -> None:
        self.folder = folder
        self.services = services(SECRETS)
        self.ports = {f"{name}:{port}": free_port() for name, port in (("s3", 29001), ("lakefs", 28000), ("hub-api", 48888))}
        self._started = started

    def here(self, text: str) -> str:
        for address, port in self.ports.items():
            text = text.replace(address, f"127.0.0.1:{port}")
        return text

    def environment(self, name: str) -> dict[str, str]:
        given = {key: self.here(str(value)) for key, value in self.services[name]["environment"].items()}
        return {"PATH": os.environ["PATH"], "HOME": str(self.folder), **given}

    def start(self, name: str, command: list[str], more: dict[str, str], health: str) -> "subprocess.Popen[bytes]":
        log = self.folder / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, cwd=self.folder, env=self.environment(name) | more)
        self._started.callback(_kill, process)
        until = time.monotonic() + 90
        while process.poll() is None and time.monotonic() < until:
            with suppress(OSError):
                urllib.request.urlopen(health, timeout=5).close()
                return process
            time.sleep(0.05)
        raise AssertionError(f"{name} did not start:\n{log.read_text('utf-8', 'replace')[-3000:]}")

    def postgres(self) -> None:
        """Its image makes the superuser and then runs docker/postgres; here another server does the first."""
        server = PostgresServer("max_connections = 300")
        self._started.callback(server.remove)
        server.start()
        self.ports["postgres:25432"] = server.port
        given = self.environment("postgres")
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE postgres SUPERUSER LOGIN PASSWORD '{given['POSTGRES_PASSWORD']}'".encode())
        given |= {"PGPASSWORD": given["POSTGRES_PASSWORD"], "PGHOST": "127.0.0.1", "PGPORT": str(server.port)}
        with psycopg.connect(
            f"postgresql://postgres:{given['PGPASSWORD']}@127.0.0.1:{server.port}/postgres", autocommit=True
        ) as connection:
            connection.execute(b"ALTER ROLE hub RENAME TO somebody")
        given["PATH"] = f"{INSTALLED / 'bin'}{os.pathsep}{given['PATH']}"
        script = ROOT / "docker" / "postgres" / "10-databases.sh"
        done = subprocess.run(["sh", str(script)], env=given, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    def s3(self, program: str) -> None:
        service = self.services["s3"]
        (self.folder / "s3").mkdir()
        port = self.ports["s3:29001"]
        moved = {
            "-dir=/data": f"-dir={self.folder / 's3'}",
            "-s3.ip.bind=0.0.0.0": "-s3.ip.bind=127.0.0.1",
            "-s3.port=29001": f"-s3.port={port}",
        }
        command = [moved.get(word, word) for word in service["command"]]
        assert set(moved) <= set(service["command"])
        inner = ("s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
        command += [f"-{name}={free_port()}" for name in inner]
        health = service["healthcheck"]["test"][-1].replace("29001", str(port))
        self.start("s3", [program, *command], {"GOMEMLIMIT": "400MiB"}, health)

    def lakefs(self) -> None:
        port = self.ports["lakefs:28000"]
        health = self.services["lakefs"]["healthcheck"]["test"][-1].replace("28000", str(port))
        self.start("lakefs", [str(LAKEFS), "run"], {"LAKEFS_LISTEN_ADDRESS": f"127.0.0.1:{port}"}, health)

    def hub(self) -> Any:
        data = self.folder / "data"
        port = self.ports["hub-api:48888"]
        given = self.environment("hub-api") | {"KOHAKU_HUB_DATA": str(data), "KOHAKU_HUB_HOST": "127.0.0.1", "KOHAKU_HUB_PORT": str(port)}
        given |= {"KOHAKU_HUB_WORKERS": "2"}
        setup = [str(COMMAND.parent / word) if word == "kohakuhub" else word for word in self.services["hub-setup"]["command"]]
        assert self.environment("hub-setup") == self.environment("hub-api")
        for _ in range(2):  # it runs at each start of compose
            done = subprocess.run(setup, env=given, capture_output=True, text=True, timeout=60, check=False)
            assert done.returncode == 0, done.stderr
        command = re.findall(r'^CMD \["(.*)"\]$', (ROOT / "docker" / "Dockerfile").read_text("utf-8"), re.MULTILINE)[-1].split('", "')
        command = [str(COMMAND.parent / "gunicorn"), *command[1:]]
        assert command[-1] == "/etc/hub/gunicorn.conf.py"
        command[-1] = str(ROOT / "docker" / "gunicorn.conf.py")
        process = self.start("hub-api", command, given, f"http://127.0.0.1:{port}/healthz")
        launcher = Launcher(data, given)
        launcher.users()
        log = self.folder / "hub-api.log"
        return Hub(f"http://127.0.0.1:{port}", data, log, process, launcher.tokens["alice"], launcher.tokens["bob"], launcher=launcher)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.wait(60)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory, lakefs_program: None, nginx_program: None) -> Iterator[Deployment]:
    need(postgres.missing() or s3.missing())
    with ExitStack() as started:
        made = Deployment(tmp_path_factory.mktemp("compose"), started)
        made.postgres()
        made.s3(s3.find_program() or "")
        made.lakefs()
        yield made


def test_the_same_processes_with_the_same_environment(deployment: Deployment, tmp_path: Path) -> None:
    hub = deployment.hub()
    nginx = start_nginx(tmp_path / "nginx", hub.url)
    try:
        seen = behind(hub, nginx)
        machine = Machine(tmp_path / "machine", seen)
        assert seen.call("GET", "/readyz", token="").status == 200
        name = seen.repo(private=True)
        work = machine.home / "work"
        machine.run("git", "clone", "-q", seen.git_url(name), str(work))
        machine.git(work, "lfs", "track", "*.bin")
        data = os.urandom(6 * MIB)
        (work / "big.bin").write_bytes(data)
        machine.git(work, "add", "-A")
        machine.git(work, "commit", "-q", "-m", "Large")
        machine.git(work, "push", "-q", "origin", "HEAD")
        machine.check_sound(machine.clone(name, "clone"), {"big.bin": data}, {"big.bin"})
        assert not list((deployment.folder / "data" / "pool").rglob("*.*"))

        settings = {
            name.removeprefix("KOHAKU_HUB_"): value for name, value in hub.launcher.environment.items() if name.startswith("KOHAKU_HUB_")
        }
        set_up_lakefs(settings)
        status, printed = doctor(nginx.url, **settings)
        assert (status, wrong(printed)) == (0, []), printed
        assert "ok    LakeFS lets the hub in" in printed
    finally:
        nginx.stop()
    assert hub.stop() == 0


def set_up_lakefs(settings: dict[str, str]) -> None:
    """With the generated keys, as the hub does."""
    key = {"access_key_id": settings["LAKEFS_ACCESS_KEY"], "secret_access_key": settings["LAKEFS_SECRET_KEY"]}
    body = json.dumps({"username": "hub", "key": key})
    url = f"{settings['LAKEFS_ENDPOINT']}/api/v1/setup_lakefs"
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"}, method="POST")
    with suppress(urllib.error.HTTPError):  # 409: the hub has done it
        urllib.request.urlopen(request, timeout=30).close()


def test_the_password_of_the_accounts_is_not_in_a_log(deployment: Deployment) -> None:
    secrets = {name: value for name, value in {**SECRETS, "password": PASSWORD}.items() if name != "COMPOSE_PROFILES"}
    logs = {path.name: path.read_text("utf-8", "replace") for path in deployment.folder.glob("*.log")}

    assert [
        (name, log) for name, value in secrets.items() for log, text in logs.items() if value in text and not name.endswith("ACCESS_KEY")
    ] == []

"""What compose starts, without docker: the hub by gunicorn, and nginx with the shipped configuration, on free ports of loopback."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from tests.harness.forked import Program
from tests.servers.needs import need_program
from tests.servers.nginx import NginxServer, missing

ROOT = Path(__file__).parent.parent.parent
SHIPPED = (ROOT / "docker" / "nginx" / "default.conf").read_text("utf-8")
SETTINGS = ("-c", str(ROOT / "docker" / "gunicorn.conf.py"))
GUNICORN = Program({"code": "from gunicorn.app.wsgiapp import run; run()"}, (str(Path(sys.executable).parent / "gunicorn"),))


def start_nginx(folder: Path, hub_url: str, text: str = SHIPPED) -> NginxServer:
    """With `text` as its default.conf, in which the two addresses are replaced and nothing else."""
    need_program("nginx", missing)
    server = shipped_nginx(folder, hub_url, text)
    server.start()
    return server


def shipped_nginx(folder: Path, hub_url: str, text: str = SHIPPED, port: int = 0) -> NginxServer:
    assert text.count("hub-api:48888") == text.count("listen 80;") == 1
    here = {"hub-api:48888": hub_url.removeprefix("http://"), "listen 80;": "listen 127.0.0.1:@PORT@;"}
    return NginxServer(folder, text, here, port, workers=2)


def start_gunicorn(launcher: Any, **settings: str) -> Any:
    """The hub, as the image starts it, once all its workers are there."""
    environment = {"HOST": "127.0.0.1", "PORT": "0", "DATA": str(launcher.data), "WORKERS": "2", "TRUST_PROXY": "true", **settings}
    running = launcher.run(GUNICORN, {f"KOHAKU_HUB_{name}": value for name, value in environment.items()}, *SETTINGS)
    until = time.monotonic() + 30
    while len(psutil.Process(running.process.pid).children()) < int(environment["WORKERS"]):  # one may answer before the next is there
        assert time.monotonic() < until, "gunicorn did not start all its workers"
        time.sleep(0.02)
    return running


def behind(hub: Any, nginx: NginxServer) -> Any:
    """The hub as clients see it."""
    return replace(hub, url=nginx.url)

"""What compose starts, without docker: the hub by gunicorn and nginx with the shipped configuration, on free ports of loopback."""

import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.servers.postgres import free_port

ROOT = Path(__file__).parent.parent.parent
SHIPPED = ROOT / "docker" / "nginx" / "default.conf"
GUNICORN = (str(Path(sys.executable).parent / "gunicorn"), "-c", str(ROOT / "docker" / "gunicorn.conf.py"))
_START_SECONDS = 60
_MAIN = """daemon off; worker_processes 2; {user}
pid {folder}/nginx.pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    default_type application/octet-stream;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    include {folder}/default.conf;
}}
"""


def missing_nginx() -> str:
    return "" if shutil.which("nginx") else "nginx is not installed: apt-get install nginx-light"


class Nginx:
    """nginx with `text` as its default.conf, in which the addresses are replaced; nothing else is."""

    def __init__(self, folder: Path, upstream: str, text: str = "") -> None:
        if reason := missing_nginx():
            assert "CI" not in os.environ, reason
            pytest.skip(reason)
        folder.mkdir(parents=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "log"
        shipped = text or SHIPPED.read_text("utf-8")
        assert shipped.count("hub-api:48888") == shipped.count("listen 80;") == 1
        replaced = shipped.replace("hub-api:48888", upstream.removeprefix("http://")).replace("listen 80;", f"listen 127.0.0.1:{port};")
        (folder / "default.conf").write_text(replaced, "utf-8")
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user), "utf-8")
        with self.log.open("wb") as out:
            command = ["nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + _START_SECONDS
        while self.process.poll() is None and time.monotonic() < until:
            with suppress(OSError):
                try:
                    urllib.request.urlopen(self.url + "/", timeout=5).close()
                except urllib.error.HTTPError as error:
                    error.close()
                return
            time.sleep(0.02)
        raise AssertionError(f"nginx did not start:\n{self.log.read_text('utf-8')}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def start_gunicorn(launcher: Any, **settings: str) -> Any:
    """The hub, as the image starts it."""
    environment = {"HOST": "127.0.0.1", "PORT": "0", "DATA": str(launcher.data), "WORKERS": "2", "TRUST_PROXY": "true", **settings}
    return launcher.run(GUNICORN, {f"KOHAKU_HUB_{name}": value for name, value in environment.items()})


def behind(hub: Any, nginx: Nginx) -> Any:
    """The hub as clients see it."""
    return replace(hub, url=nginx.url)
